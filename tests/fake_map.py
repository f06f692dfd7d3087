"""A map without an executor: a link that runs segments in this process, or when the test says."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from parsl_pcm.mapping.feed import Earlier
from parsl_pcm.mapping.keys import Keys
from parsl_pcm.mapping.run import MapPlan, MapRun
from parsl_pcm.mapping.sources import open_source
from parsl_pcm.mapping.state import MapState
from parsl_pcm.mapping.writer import Output
from parsl_pcm.pickling import dump_result, load_items
from parsl_pcm.types import TaskId


class FakeLink:
    """Keeps segments until the test has them run.

    Attributes
    ----------
    segments
        Items of those that are open, by number.
    """

    def __init__(self, receiver: MapRun) -> None:
        self.receiver = receiver
        self.segments: dict[TaskId, list[Any]] = {}
        self.all_sizes: list[list[int]] = []
        self.cancelled: list[TaskId] = []
        self.future: Future[Any] = Future()
        self._numbers = itertools.count(1)

    def submit(self, frames: Sequence[bytes], sizes: Sequence[int]) -> TaskId:
        task_id = TaskId(next(self._numbers))
        self.all_sizes.append(list(sizes))
        loaded = [load_items(frame) for frame in frames]
        assert list(map(len, loaded)) == list(sizes)
        self.segments[task_id] = list(itertools.chain(*loaded))
        self.submitted(task_id)
        return task_id

    def submitted(self, task_id: TaskId) -> None:
        """Do what is to be done at once."""

    def cancel(self, task_id: TaskId) -> None:
        self.segments.pop(task_id, None)
        self.cancelled.append(task_id)

    def end(self, result: Any) -> None:
        self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        self.future.set_exception(error)

    def deliver(
        self, task_id: int, start: int, stop: int, *, skip: int = 0, variant: str = ""
    ) -> None:
        """Tell the results of items: each the item itself, as a text."""
        items = self.segments[TaskId(task_id)][start - skip : stop]
        frame = dump_result([str(item) for item in items])
        self.receiver.on_range(TaskId(task_id), start, stop, frame, skip=skip, variant=variant)


class RunningLink(FakeLink):
    """Runs each segment while it is submitted, item by item, from the last to the first."""

    def __init__(self, receiver: MapRun, function: Callable[[Any], Any]) -> None:
        super().__init__(receiver)
        self._function = function

    def submitted(self, task_id: TaskId) -> None:
        items = self.segments[task_id]
        for number in reversed(range(len(items))):
            try:
                result = self._function(items[number])
            except Exception as error:  # noqa: BLE001 - the receiver gets it
                if not self.receiver.is_tolerant:
                    self.receiver.on_segment_failed(task_id, number, error)
                    return
                self.receiver.on_item_failed(task_id, number, error)
            else:
                frame = dump_result([result])
                self.receiver.on_range(task_id, number, number + 1, frame, skip=0, variant="")


def make_run(
    items: Any,
    *,
    ordered: bool = True,
    on_error: str = "raise",
    key: Any = None,
    output: Callable[[MapState, Keys], Output] | None = None,
    sink: str | None = None,
    earlier: Earlier | None = None,
) -> MapRun:
    """Return a map that was not started."""
    keys = Keys(key, is_resumable=earlier is not None)
    state = MapState(is_ordered=ordered and sink is None, has_writer=output is not None)
    plan = MapPlan(
        app="double",
        source=open_source(items),
        keys=keys,
        earlier=earlier,
        output=None if output is None else output(state, keys),
        sink=sink,
        is_ordered=ordered,
        is_tolerant=on_error == "return",
        has_bar=False,
    )
    run = MapRun(plan, state)
    run.attach(Future())
    return run


def run_map(items: Any, function: Callable[[Any], Any], **changes: Any) -> MapRun:
    """Return a map whose items are done by this function, in this process."""
    run = make_run(items, **changes)
    run.start(RunningLink(run, function))
    return run


def manual_map(items: Any, **changes: Any) -> tuple[MapRun, FakeLink]:
    """Return a started map, and the link through which the test does its items."""
    run = make_run(items, **changes)
    link = FakeLink(run)
    run.start(link)
    return run, link
