"""How maps end when they do not end by themselves: retries, shutdowns, Ctrl-C. None may hang."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from pathlib import Path

import parsl
import pytest
from parsl import python_app

from parsl_pcm.errors import PCMError
from parsl_pcm.mapping.api import pcm_map
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
