"""How maps end when they do not end by themselves: retries, shutdowns, Ctrl-C. None may hang."""

from __future__ import annotations

import itertools
import signal
import threading
import time
import traceback
from pathlib import Path

import parsl
import pytest
from parsl import python_app

from parsl_pcm.errors import PCMError, WrongResults
from parsl_pcm.mapping.api import pcm_map
from parsl_pcm.mapping.report import ItemError
from tests.running import PATIENCE_S, Script, config_of, running, small_executor


@python_app
def fragile(items):
    if 7 in items:
        raise ValueError("no seven, please")
    return items


@python_app
def slow(items):
    import time

    for item in items:
        time.sleep(0.05)
        yield item


def test_a_map_that_parsl_retries_fails_with_the_same_error(tmp_path: Path) -> None:
    with running(tmp_path, parsl_settings={"retries": 2}):
        run = pcm_map(fragile, range(20))
        with pytest.raises(ValueError, match="no seven"):
            run.result(PATIENCE_S)
        assert isinstance(run.future.exception(PATIENCE_S), ValueError)


def test_an_app_that_cannot_be_sent_fails_its_map(tmp_path: Path) -> None:
    lock = threading.Lock()
    with running(tmp_path):
        run = pcm_map(python_app(lambda items: [lock for _ in items]), [1])
        with pytest.raises(PCMError, match="cannot be sent"):
            run.result(PATIENCE_S)


def test_shutdown_of_the_executor_fails_the_map(tmp_path: Path) -> None:
    executor = small_executor()
    kernel = parsl.load(config_of(tmp_path, executor))
    try:
        run = pcm_map(slow, itertools.count())
        results = iter(run)
        assert next(results) == 0
    finally:
        kernel.cleanup()
        parsl.clear()
    with pytest.raises(PCMError, match="shut down"):
        for _ in results:
            pass
    assert run.done()
    with pytest.raises(PCMError, match="shut down"):
        run.future.result(PATIENCE_S)


CTRL_C = """
    import itertools, sys
    import parsl
    from parsl import python_app
    from tests.running import config_of, small_executor
    from parsl_pcm import pcm_map

    @python_app
    def slow(items):
        import time
        for item in items:
            time.sleep(0.05)
            yield item

    with parsl.load(config_of("runinfo", small_executor())):
        run = pcm_map(slow, itertools.count(){sink})
        {wait_for_first}
        try:
            print("under way", flush=True)
            run.result()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            run.cancel()
"""


def test_ctrl_c_interrupts_whoever_waits_for_results(tmp_path: Path) -> None:
    script = Script(tmp_path, CTRL_C.format(sink="", wait_for_first=""))
    assert script.read_line() == "under way"
    time.sleep(0.5)  # it waits by now; if not, this shows less, and passes all the same
    script.process.send_signal(signal.SIGINT)
    assert script.read_line() == "interrupted"
    assert script.end() == 0


def test_ctrl_c_leaves_a_sink_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    script = Script(
        tmp_path,
        CTRL_C.format(
            sink=f", sink={str(path)!r}",
            wait_for_first=f"while not open({str(path)!r}).read(): __import__('time').sleep(0.05)",
        ),
    )
    assert script.read_line() == "under way"
    script.process.send_signal(signal.SIGINT)
    assert script.read_line() == "interrupted"
    assert script.end() == 0
    lines = path.read_bytes().splitlines(keepends=True)
    assert lines
    assert all(line.endswith(b"}\n") for line in lines)


def test_an_app_that_yields_too_few_results_ends_the_map_whatever_it_tolerates(
    tmp_path: Path,
) -> None:
    @python_app
    def skip(items):
        for item in items:
            if item % 2 == 0:
                yield item

    with running(tmp_path / "run"):
        run = pcm_map(skip, range(1000), on_error="return", progress=False)
        error = run.future.exception(timeout=60)
    assert isinstance(error, WrongResults)
    assert "skip yielded" in str(error)
    assert "may be those of other items" in str(error)
    assert "items 0 to 999 of a map of app 'skip'" in told(error)


def test_an_app_that_returns_too_few_results_is_told_for_which_item(tmp_path: Path) -> None:
    @python_app
    def drop(items):
        return [item for item in items if item != 700]

    with running(tmp_path / "run"):
        run = pcm_map(drop, range(1000), on_error="return", progress=False)
        results = run.result(timeout=60)
    (bad,) = [result for result in results if isinstance(result, ItemError)]
    assert bad.index == 700
    assert isinstance(bad.exception, WrongResults)
    assert "drop returned 0 results for 1 item" in str(bad.exception)


def told(error: BaseException) -> str:
    """Return all that Python shows of an exception."""
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))
