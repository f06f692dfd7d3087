from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from parsl_pcm.mapping.bar import ProgressBar, is_watched
from parsl_pcm.mapping.report import MapProgress


def progress(**changes: Any) -> MapProgress:
    values: dict[str, Any] = {
        "num_total": 10,
        "num_fed": 10,
        "num_done": 0,
        "num_errors": 0,
        "num_skipped": 0,
        "items_per_s": 0.0,
        "eta_s": None,
        "waiting_for": "",
    }
    return MapProgress(**(values | changes))


def test_shows_what_is_done_and_how_many_errors(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar("verify", 10)
    bar.update(progress(num_done=3))
    bar.close(progress(num_done=8, num_skipped=2, num_errors=1))
    shown = capsys.readouterr().err
    assert "verify: 100%" in shown
    assert "10/10" in shown
    assert "errors=1" in shown


def test_shows_counts_where_the_total_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar("verify", None)
    bar.close(progress(num_done=8))
    assert "8item" in capsys.readouterr().err


def test_never_breaks_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = ProgressBar("verify", 10)
    monkeypatch.setattr(bar._bar, "update", lambda _: 1 / 0)
    monkeypatch.setattr(bar._bar, "close", lambda: 1 / 0)
    bar.close(progress(num_done=8))


def test_a_terminal_is_watched_and_a_file_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not is_watched()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert is_watched()


def test_a_notebook_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    class ZMQInteractiveShell:
        pass

    class IPython:
        @staticmethod
        def get_ipython() -> object:
            return ZMQInteractiveShell()

    monkeypatch.setitem(sys.modules, "IPython", IPython)  # type: ignore[arg-type]
    assert is_watched()
