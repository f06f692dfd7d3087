"""What an executor has been given and not answered yet: calls with their futures, and maps."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from parsl_pcm.mapped_tasks import MappedTasks
from parsl_pcm.outcomes import raise_failure, raise_given, settle
from parsl_pcm.pickling import load_result
from parsl_pcm.wire import messages
from parsl_pcm.wire.codec import Envelope


class OpenTasks:
    """Every future that somebody may wait for.

    Parameters
    ----------
    futures
        By task; the executor adds them. Those of maps are among them.
    maps
        Their segments.
    """

    def __init__(self, futures: dict[object, Future[Any]], maps: MappedTasks) -> None:
        self._futures = futures
        self.maps = maps

    def take(self, envelope: Envelope) -> bool:
        """Give a result to whom it belongs; say whether the message was about one."""
        if self.maps.take(envelope):
            return True
        match envelope.message:
            case messages.RangeDelivered(task_id=task_id):
                self._settle(task_id, load_result, envelope.payload[0])
            case messages.TaskFailed(task_id=task_id, failure=failure):
                self._settle(task_id, raise_failure, failure, envelope.payload)
            case messages.ItemFailed():  # of a map that wants no more
                pass
            case _:
                return False
        return True

    def fail_all(self, exception: BaseException) -> None:
        """Let everybody who waits have this exception."""
        self.maps.fail_all(exception)
        for task_id in list(self._futures):
            self._settle(task_id, raise_given, exception)

    def _settle(self, task_id: object, outcome: Callable[..., Any], *args: Any) -> None:
        """Put what a function returns or raises into the future of a task."""
        future = self._futures.pop(task_id, None)
        if future is not None:
            settle(future, outcome, *args)
