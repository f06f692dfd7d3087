"""What the message of a manager means to the scheduler."""

from __future__ import annotations

import msgspec

from parsl_pcm.core import events
from parsl_pcm.core.events import Event
from parsl_pcm.types import ManagerId, Variant
from parsl_pcm.wire import messages
from parsl_pcm.wire.codec import ProtocolError
from parsl_pcm.wire.messages import AnyMessage

_EVENT_OF: dict[type[AnyMessage], type[Event]] = {
    messages.HostReady: events.HostReady,
    messages.HostMeasured: events.HostMeasured,
    messages.HostAsleep: events.HostAsleep,
    messages.HostAwake: events.HostAwake,
}
"""Messages that have the fields of their events."""


def declaration_of(message: messages.DeclareContext) -> events.ContextDeclared:
    """Return the event of a declaration: without what the scheduler never sees."""
    return events.ContextDeclared(
        context_key=message.context_key,
        name=message.name,
        requirements=message.requirements,
        variants=tuple(
            Variant(name=each.name, requirements=each.requirements) for each in message.variants
        ),
    )


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
        case messages.SleepFailed():
            event = events.SleepFailed(host_id=message.host_id, message=message.failure.message)
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
        case _ if type(message) in _EVENT_OF:
            event = _EVENT_OF[type(message)](**msgspec.structs.asdict(message))
        case _:
            raise ProtocolError(f"unexpected message of manager {manager_id}: {message!r}")
    return event
