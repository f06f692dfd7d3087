"""How the end of a process is told to a person."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from parsl_pcm.manager.exits import describe_exit, log_tail


@pytest.mark.parametrize(
    ("return_code", "description"),
    [
        (0, "exited with code 0"),
        (3, "exited with code 3"),
        (-signal.SIGKILL, "killed by SIGKILL (often: out of memory)"),
        (-signal.SIGSEGV, "segmentation fault (SIGSEGV)"),
        (-signal.SIGTERM, "killed by SIGTERM"),
        (-63, "killed by signal 63"),
    ],
)
def test_exit_is_described(return_code: int, description: str) -> None:
    assert describe_exit(return_code) == description


def test_tail_has_the_last_lines_only(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {i}" for i in range(1000)))
    lines = log_tail(log).splitlines()
    assert len(lines) == 40
    assert lines[-1] == "line 999"


def test_tail_is_bounded_even_without_line_ends(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\xff" * 100_000)
    assert 0 < len(log_tail(log)) <= 8192


def test_missing_log_has_an_empty_tail(tmp_path: Path) -> None:
    assert log_tail(tmp_path / "none") == ""
