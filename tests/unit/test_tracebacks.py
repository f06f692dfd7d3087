"""Tracebacks begin in the user's code."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from parsl_pcm import context
from parsl_pcm.host.tracebacks import describe, format_remote


def caught(call: Callable[[], Any]) -> BaseException:
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - looked at
        return error
    raise AssertionError("nothing was raised")


def test_our_frames_before_the_users_are_cut_off() -> None:
    @context
    def broken() -> None:
        raise ValueError("inner")

    def open_it() -> None:
        with broken.open():
            pass

    error = caught(open_it)
    error.__traceback__ = error.__traceback__.tb_next.tb_next  # type: ignore[union-attr]
    text = format_remote(error)
    assert "in broken" in text
    assert "parsl_pcm" not in text
    assert "contextlib" not in text


def test_frames_behind_the_users_first_stay() -> None:
    @contextlib.contextmanager
    def manage() -> Any:
        yield
        raise ValueError("inside")

    def use() -> None:
        with manage():
            pass

    assert "contextlib" in format_remote(caught(use))


def test_causes_are_kept() -> None:
    def fail() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    assert "KeyError: 'first'" in format_remote(caught(fail))


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "description"),
    [
        (ValueError("a"), "ValueError: a"),
        (SystemExit(3), "SystemExit: 3"),
        (MemoryError(), "MemoryError"),
        (UnspeakableError(), "UnspeakableError: (its text cannot be made)"),
    ],
)
def test_exception_is_described(error: BaseException, description: str) -> None:
    assert describe(error) == description
