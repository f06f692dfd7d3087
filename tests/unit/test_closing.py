"""What a manager does about the site's signals."""

from __future__ import annotations

import signal

import pytest

from parsl_pcm.manager.closing import NOTICES, Answer, Closing
from parsl_pcm.types import LeaseId
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import (
    AnyMessage,
    Failure,
    FailureKind,
    PieceFailed,
    PieceFinished,
    PieceRevoked,
)

FAILED = PieceFailed(lease_id=LeaseId(5), failure=Failure(kind=FailureKind.RAISED, message="no"))
FINISHED = PieceFinished(lease_id=LeaseId(5), start=0, stop=1, run_s=1.0)


def answers(*signals: tuple[int, float], has_work: bool = True) -> list[Answer]:
    closing = Closing()
    return [closing.answer(signum, now=now, has_work=has_work) for signum, now in signals]


@pytest.mark.parametrize("signum", NOTICES)
def test_first_notice_closes(signum: signal.Signals) -> None:
    closing = Closing()
    assert closing.answer(signum, now=10.0, has_work=True) is Answer.CLOSE
    assert closing.since_s == 10.0


@pytest.mark.parametrize("signum", NOTICES)
def test_notice_without_work_is_the_last_call(signum: signal.Signals) -> None:
    assert answers((signum, 10.0), has_work=False) == [Answer.LEAVE]


def test_interrupt_is_the_last_call() -> None:
    assert answers((signal.SIGINT, 10.0)) == [Answer.LEAVE]


@pytest.mark.parametrize("first", NOTICES)
def test_second_sigterm_is_the_last_call(first: signal.Signals) -> None:
    assert answers((first, 10.0), (signal.SIGTERM, 11.0)) == [Answer.CLOSE, Answer.LEAVE]


def test_notice_that_arrives_twice_counts_once() -> None:
    doubled = answers((signal.SIGTERM, 10.0), (signal.SIGTERM, 10.1), (signal.SIGTERM, 15.0))
    assert doubled == [Answer.CLOSE, Answer.GO_ON, Answer.LEAVE]


def test_second_user_signal_says_nothing_new() -> None:
    assert answers((signal.SIGTERM, 10.0), (signal.SIGUSR1, 15.0)) == [Answer.CLOSE, Answer.GO_ON]


def reported(message: AnyMessage, *, is_closing: bool) -> AnyMessage:
    closing = Closing()
    if is_closing:
        closing.answer(signal.SIGTERM, now=10.0, has_work=True)
    return closing.excuse(Envelope(message)).message


def test_call_that_fails_after_a_notice_is_run_elsewhere() -> None:
    assert reported(FAILED, is_closing=False) == FAILED
    assert reported(FAILED, is_closing=True) == PieceRevoked(lease_id=LeaseId(5))


def test_last_call_that_is_a_notice_excuses_too() -> None:
    closing = Closing()
    closing.answer(signal.SIGTERM, now=10.0, has_work=False)
    assert closing.excuse(Envelope(FAILED)).message == PieceRevoked(lease_id=LeaseId(5))


def test_results_are_reported_after_a_notice_too() -> None:
    assert reported(FINISHED, is_closing=True) == FINISHED


def test_death_of_a_host_after_a_notice_is_not_held_against_its_pieces() -> None:
    closing = Closing()
    assert closing.excuse_death([LeaseId(5)]) == []
    closing.answer(signal.SIGTERM, now=10.0, has_work=True)
    excused = [envelope.message for envelope in closing.excuse_death([LeaseId(5), LeaseId(6)])]
    assert excused == [PieceRevoked(lease_id=LeaseId(5)), PieceRevoked(lease_id=LeaseId(6))]
