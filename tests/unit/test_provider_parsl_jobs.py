"""Jobs as the provider that submitted them sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from parsl.jobs.states import JobState, JobStatus

from parsl_pcm.provider.schedulers.observations import Ending, JobPhase, LookError
from parsl_pcm.provider.schedulers.parsl_jobs import ParslJobs


class Provider:
    """As much of a Parsl provider as is asked."""

    def __init__(self, answer: Sequence[Any] | Exception) -> None:
        self.answer = answer
        self.asked: list[list[str]] = []

    def status(self, job_ids: list[str]) -> Sequence[Any]:
        self.asked.append(job_ids)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def book(answer: Sequence[Any] | Exception) -> ParslJobs:
    return ParslJobs(Provider(answer))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "phase", "ending"),
    [
        (JobState.PENDING, JobPhase.PENDING, None),
        (JobState.HELD, JobPhase.PENDING, None),
        (JobState.RUNNING, JobPhase.RUNNING, None),
        (JobState.UNKNOWN, JobPhase.RUNNING, None),
        (JobState.COMPLETED, JobPhase.ENDED, Ending.FINISHED),
        (JobState.FAILED, JobPhase.ENDED, Ending.FAILED),
        (JobState.TIMEOUT, JobPhase.ENDED, Ending.TIMED_OUT),
        (JobState.CANCELLED, JobPhase.ENDED, Ending.CANCELLED),
        (JobState.SCALED_IN, JobPhase.ENDED, Ending.CANCELLED),
        (JobState.MISSING, JobPhase.ENDED, Ending.VANISHED),
    ],
)
def test_states(state: JobState, phase: JobPhase, ending: Ending | None) -> None:
    found = book([JobStatus(state)]).jobs(["1"])["1"]
    assert (found.phase, found.ending, found.words) == (phase, ending, state.name)


def test_every_state_of_parsl_is_known() -> None:
    for state in JobState:
        found = book([JobStatus(state)]).jobs(["1"])["1"]
        assert (found.ending is not None) == (found.phase is JobPhase.ENDED)
        assert (found.ending is not None) == JobStatus(state).terminal


def test_code_and_words_are_kept() -> None:
    found = book([JobStatus(JobState.FAILED, message="Killed", exit_code=3)]).jobs(["1"])["1"]
    assert (found.exit_code, found.words) == (3, "FAILED (Killed)")


@pytest.mark.parametrize("answer", [RuntimeError("squeue failed"), KeyError("1"), [], [None]])
def test_what_the_provider_cannot_tell_is_a_look_error(answer: Sequence[Any] | Exception) -> None:
    with pytest.raises(LookError, match=r"Provider\.status\(\)"):
        book(answer).jobs(["1"])


def test_provider_is_not_asked_for_nothing() -> None:
    provider = Provider([])
    assert ParslJobs(provider).jobs([]) == {}  # type: ignore[arg-type]
    assert provider.asked == []
