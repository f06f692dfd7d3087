"""Every message that crosses a process boundary, by who sends it to whom.

Payload frames (named in each docstring) follow the head untouched; see :mod:`parsl_pcm.wire.codec`.
Durations cross the wire, never instants.
"""

from __future__ import annotations

from parsl_pcm.wire.base import (
    PROTOCOL_VERSION,
    Failure,
    FailureKind,
    Message,
)
from parsl_pcm.wire.executor_side import (
    BlockGone,
    BlockNotice,
    CancelTask,
    Command,
    CommandReply,
    ContextTrouble,
    DeclareContext,
    DeclaredVariant,
    InterchangeFailing,
    InterchangeStarted,
    ItemFailed,
    ManagerAdmitted,
    ManagerDeparted,
    ManagerRefused,
    RangeDelivered,
    RunSummary,
    Shutdown,
    StoreBlob,
    SubmitTask,
    TaskFailed,
)
from parsl_pcm.wire.manager_side import (
    HostAsleep,
    HostAwake,
    HostExited,
    HostMeasured,
    HostReady,
    ManagerAlive,
    ManagerClosing,
    ManagerLeaving,
    PieceFailed,
    PieceFinished,
    PieceRevoked,
    PrepareHost,
    RegisterManager,
    RegistrationAccepted,
    RegistrationRefused,
    RevokePiece,
    RunPiece,
    SetupFailed,
    SleepFailed,
    SleepHost,
    StartHost,
    StopHost,
    WakeHost,
)

__all__ = [
    "PROTOCOL_VERSION",
    "AnyMessage",
    "BlockGone",
    "BlockNotice",
    "CancelTask",
    "Command",
    "CommandReply",
    "ContextTrouble",
    "DeclareContext",
    "DeclaredVariant",
    "Failure",
    "FailureKind",
    "HostAsleep",
    "HostAwake",
    "HostExited",
    "HostMeasured",
    "HostReady",
    "InterchangeFailing",
    "InterchangeStarted",
    "ItemFailed",
    "ManagerAdmitted",
    "ManagerAlive",
    "ManagerClosing",
    "ManagerDeparted",
    "ManagerLeaving",
    "ManagerRefused",
    "Message",
    "PieceFailed",
    "PieceFinished",
    "PieceRevoked",
    "PrepareHost",
    "RangeDelivered",
    "RegisterManager",
    "RegistrationAccepted",
    "RegistrationRefused",
    "RevokePiece",
    "RunPiece",
    "RunSummary",
    "SetupFailed",
    "Shutdown",
    "SleepFailed",
    "SleepHost",
    "StartHost",
    "StopHost",
    "StoreBlob",
    "SubmitTask",
    "TaskFailed",
    "WakeHost",
]

AnyMessage = (
    StoreBlob
    | DeclareContext
    | SubmitTask
    | CancelTask
    | BlockNotice
    | BlockGone
    | Command
    | Shutdown
    | InterchangeStarted
    | ManagerAdmitted
    | ManagerDeparted
    | ManagerRefused
    | RunSummary
    | RangeDelivered
    | ItemFailed
    | TaskFailed
    | ContextTrouble
    | CommandReply
    | InterchangeFailing
    | RegisterManager
    | ManagerAlive
    | ManagerClosing
    | ManagerLeaving
    | HostReady
    | HostMeasured
    | HostAsleep
    | HostAwake
    | SleepFailed
    | SetupFailed
    | HostExited
    | PieceFinished
    | PieceFailed
    | PieceRevoked
    | RegistrationAccepted
    | RegistrationRefused
    | PrepareHost
    | StartHost
    | StopHost
    | SleepHost
    | WakeHost
    | RunPiece
    | RevokePiece
)
