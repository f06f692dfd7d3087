"""What the message of a manager means to the scheduler."""

from __future__ import annotations

from parsl_pcm.core import events
from parsl_pcm.core.events import Event
from parsl_pcm.types import ManagerId
from parsl_pcm.wire import messages
from parsl_pcm.wire.codec import ProtocolError
from parsl_pcm.wire.messages import AnyMessage


def event_of(manager_id: ManagerId, message: AnyMessage) -> Event:
    """Return the event of a message.

    Raises
    ------
    ProtocolError
        If a manager has no business to send such a message.
    """
    event: Event
    match message:
        case messages.PieceFinished():
            event = events.PieceFinished(
                lease_id=message.lease_id,
                start=message.start,
                stop=message.stop,
                run_s=message.run_s,
            )
        case messages.PieceFailed():
            event = events.PieceFailed(
                lease_id=message.lease_id, is_misaligned=message.is_misaligned
            )
        case messages.ManagerAlive():
            event = events.ManagerHeard(manager_id=manager_id)
        case messages.HostReady():
            event = events.HostReady(host_id=message.host_id, setup_s=message.setup_s)
        case messages.SetupFailed():
            failure = message.failure
            event = events.SetupFailed(
                host_id=message.host_id,
                message=failure.message,
                remote_traceback=failure.remote_traceback,
                log_tail=failure.log_tail,
            )
        case messages.HostExited():
            event = events.HostExited(
                host_id=message.host_id,
                description=message.description,
                log_tail=message.log_tail,
            )
        case messages.PieceRevoked():
            event = events.LeaseRevoked(lease_id=message.lease_id)
        case _:
            raise ProtocolError(f"unexpected message of manager {manager_id}: {message!r}")
    return event
