from __future__ import annotations

from typing import Any

from parsl.jobs.states import JobState, JobStatus

from parsl_pcm.blocks import MAX_SILENT_ENDS, PATIENCE_WITHOUT_BLOCK_S, BlockErrorHandler
from parsl_pcm.errors import BlocksFailed
from parsl_pcm.provider import Flavour, OpportunisticProvider
from parsl_pcm.provider.growth.demand import BlockRequest
from tests.fake_site import FakeSite


class Executor:
    """What the handler sees of an executor."""

    def __init__(
        self, *, num_open: int = 1, has_seen_manager: bool = False, provider: Any = None
    ) -> None:
        self.num_open = num_open
        self.provider = provider
        self.has_seen_manager = has_seen_manager
        self.error: Exception | None = None

    @property
    def bad_state_is_set(self) -> bool:
        return self.error is not None

    @property
    def tasks(self) -> range:
        return range(self.num_open)

    def set_bad_state_and_fail_all(self, error: Exception) -> None:
        assert self.error is None, "failed twice"
        self.error = error


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def look(handler: BlockErrorHandler, executor: Any, *blocks: JobStatus) -> Exception | None:
    handler(executor, {str(i): block for i, block in enumerate(blocks)})
    return executor.error


FAILED = JobStatus(JobState.FAILED, exit_code=127, message="command not found")
CANCELLED = JobStatus(JobState.CANCELLED)
SCALED_IN = JobStatus(JobState.SCALED_IN)
RUNNING = JobStatus(JobState.RUNNING)
PENDING = JobStatus(JobState.PENDING)


def test_command_that_fails_before_any_manager_registered_fails_the_tasks_at_once() -> None:
    error = look(BlockErrorHandler(), Executor(), FAILED, PENDING)
    assert isinstance(error, BlocksFailed)
    for words in ("127", "command not found", "worker_init", "parsl-pcm-manager"):
        assert words in str(error)


def test_same_failure_after_a_manager_registered_is_no_reason() -> None:
    assert look(BlockErrorHandler(), Executor(has_seen_manager=True), FAILED, RUNNING) is None


def test_blocks_that_ended_without_a_word_count_only_together() -> None:
    handler, executor = BlockErrorHandler(), Executor(num_open=0)
    assert look(handler, executor, *[CANCELLED] * (MAX_SILENT_ENDS - 1)) is None
    assert look(handler, executor, *[CANCELLED] * MAX_SILENT_ENDS, RUNNING) is None
    assert look(handler, executor, *[CANCELLED] * MAX_SILENT_ENDS) is not None


def test_blocks_that_we_gave_back_are_no_failures() -> None:
    executor = Executor(num_open=0)
    assert look(BlockErrorHandler(), executor, *[SCALED_IN] * (MAX_SILENT_ENDS + 1)) is None


def test_tasks_that_wait_while_nobody_starts_a_block_fail() -> None:
    clock = Clock()
    handler, executor = BlockErrorHandler(clock=clock), Executor(has_seen_manager=True)
    assert look(handler, executor, CANCELLED) is None
    clock.now = PATIENCE_WITHOUT_BLOCK_S - 0.1
    assert look(handler, executor, CANCELLED) is None
    clock.now = PATIENCE_WITHOUT_BLOCK_S
    error = look(handler, executor, CANCELLED)
    assert "no block is left" in str(error)
    assert "strategy" in str(error)


def test_a_new_block_in_time_starts_the_count_anew() -> None:
    clock = Clock()
    handler, executor = BlockErrorHandler(clock=clock), Executor(has_seen_manager=True)
    for _ in range(3):
        assert look(handler, executor, CANCELLED) is None
        clock.now += PATIENCE_WITHOUT_BLOCK_S - 0.1
        assert look(handler, executor, CANCELLED) is None
        assert look(handler, executor, CANCELLED, PENDING) is None


def test_without_open_tasks_nothing_is_missed() -> None:
    clock = Clock()
    handler = BlockErrorHandler(clock=clock)
    for _ in range(3):
        assert look(handler, Executor(num_open=0, has_seen_manager=True), CANCELLED) is None
        clock.now += PATIENCE_WITHOUT_BLOCK_S


def test_provider_that_knows_its_blocks_is_asked_for_its_judgement() -> None:
    site = FakeSite(num_idle=1)
    provider = OpportunisticProvider([Flavour("fake", site, probe=site, jobs=site)])
    executor = Executor(provider=provider)
    assert look(BlockErrorHandler(), executor, *[FAILED] * 9) is None
    request = BlockRequest(flavour="fake", num_gpus=1)
    for now in (0.0, 400.0, 800.0):
        provider._growth.refused(request, "Invalid account", now, is_transient=False)
    assert "Invalid account" in str(look(BlockErrorHandler(), executor))
