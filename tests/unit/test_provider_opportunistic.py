from __future__ import annotations

import itertools
import subprocess

import pytest
from parsl.jobs.states import JobState
from parsl.providers.errors import SubmitException

from parsl_pcm.core.actions import FailTask
from parsl_pcm.core.events import ContextDeclared, TaskSubmitted
from parsl_pcm.core.scheduler import Scheduler
from parsl_pcm.provider import Flavour, OpportunisticProvider
from parsl_pcm.provider import opportunistic as module
from parsl_pcm.provider.growth.demand import Demand
from parsl_pcm.provider.schedulers.observations import Ending, Job, JobPhase
from parsl_pcm.types import ContextKey, Requirements, TaskId
from tests.fake_site import FakeSite


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic_s", clock)
    monkeypatch.setattr("parsl_pcm.provider.looking.monotonic_s", clock)
    return clock


def flavour_of(site: FakeSite, **changes: object) -> Flavour:
    return Flavour("fake", site, probe=site, jobs=site, **changes)  # type: ignore[arg-type]


def provider_of(site: FakeSite, **settings: object) -> OpportunisticProvider:
    return OpportunisticProvider([flavour_of(site)], **settings)  # type: ignore[arg-type]


def wanting(num_hosts: int) -> list[Demand]:
    needs = Requirements(gpus=1, cores=1.0)
    return [Demand(name="llm", ways=(needs,), num_wanted=num_hosts, num_hosts=0)]


def test_nothing_is_wanted_without_demand() -> None:
    provider = provider_of(FakeSite(num_idle=4))
    provider.saw_demand([], [])
    provider.look()
    assert provider.room() == 0
    assert provider.max_blocks == 0


def test_room_is_what_is_idle_and_wanted() -> None:
    provider = provider_of(FakeSite(num_idle=2))
    provider.saw_demand(wanting(5), [])
    provider.look()
    assert provider.room() == 2
    provider.submit("true", 1)
    assert provider.room() == 1
    assert provider.max_blocks == 2


def test_under_an_executor_of_parsls_own_idle_gpus_alone_are_the_limit() -> None:
    site = FakeSite(num_idle=3)
    provider = provider_of(site)
    assert provider.max_blocks == 3
    assert site.num_looks == 1


def test_own_limit_holds_whatever_is_idle() -> None:
    assert provider_of(FakeSite(num_idle=50), max_blocks=2).max_blocks == 2


def test_site_is_looked_at_no_more_often_than_agreed(clock: Clock) -> None:
    site = FakeSite(num_idle=1)
    provider = provider_of(site, look_every_s=5)
    for _ in range(10):
        provider.status([])
        assert provider.max_blocks == 1
    assert site.num_looks == 1
    clock.now += 5
    provider.status([])
    assert site.num_looks == 2


def test_submission_without_room_is_refused_with_the_reason() -> None:
    provider = provider_of(FakeSite(num_idle=0))
    provider.saw_demand(wanting(1), [])
    with pytest.raises(SubmitException, match="idle"):
        provider.submit("true", 1)


def test_block_is_told_what_is_known_of_it() -> None:
    site = FakeSite(num_idle=1)
    provider = OpportunisticProvider([flavour_of(site, gpu_type="a10")])
    provider.submit("run-me", 1)
    (command,) = site.commands
    assert command.endswith("; run-me")
    assert '"compute_capability":8.6' in command


def test_refusal_reaches_the_user_in_the_schedulers_words() -> None:
    site = FakeSite(num_idle=1)
    site.refusal = SubmitException("x", "no id", stderr="sbatch: error: Invalid account", retcode=1)
    provider = provider_of(site)
    with pytest.raises(SubmitException, match="Invalid account"):
        provider.submit("true", 1)
    assert provider.max_blocks == 0, "held back after a refusal"


def test_refused_often_enough_gives_up_with_the_words(clock: Clock) -> None:
    site = FakeSite(num_idle=1)
    site.refusal = SubmitException("x", "no id", stderr="sbatch: error: Invalid account", retcode=1)
    provider = provider_of(site)
    for _ in range(3):
        assert provider.reason_to_give_up() is None
        with pytest.raises(SubmitException):
            provider.submit("true", 1)
        clock.now += 400
    assert "Invalid account" in (provider.reason_to_give_up() or "")


def test_scheduler_that_is_away_is_waited_for(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = FakeSite(num_idle=1)
    provider = provider_of(site)

    def hang(*_: object) -> str:
        raise subprocess.TimeoutExpired("sbatch", 10)

    monkeypatch.setattr(site, "submit", hang)
    for _ in range(6):
        with pytest.raises(SubmitException):
            provider.submit("true", 1)
        clock.now += 400
        provider.look()
    assert provider.reason_to_give_up() is None


def test_site_that_shows_nothing_of_a_kind_is_asked_for_one_block_at_a_time() -> None:
    site = FakeSite(num_idle=9)
    site.partition = "main"
    flavour = Flavour("wrong", site, probe=site, jobs=site, partition="no-such-partition")
    provider = OpportunisticProvider([flavour])
    provider.saw_demand(wanting(5), [])
    provider.look()
    assert provider.room() == 1


def test_changes_are_told_once_and_parsl_sees_them(clock: Clock) -> None:
    site = FakeSite(num_idle=1)
    provider = provider_of(site)
    job_id = provider.submit("true", 1)
    states = []
    changes = []
    for step in (
        lambda: None,
        lambda: site.run(job_id),
        lambda: site.change(job_id, notice_s=9.0),
        lambda: site.change(job_id, notice_s=8.0),
        lambda: site.change(job_id, phase=JobPhase.PENDING, notice_s=None, num_restarts=1),
        lambda: site.end(job_id, Ending.PREEMPTED),
    ):
        step()
        clock.now += 5
        changes.append([job.phase for job in provider.look()])
        states.append(provider.status([job_id])[0].state)
    pending, running, ended = JobPhase.PENDING, JobPhase.RUNNING, JobPhase.ENDED
    assert changes == [[pending], [running], [running], [], [pending], [ended]]
    assert states == [
        JobState.PENDING,
        *itertools.repeat(JobState.RUNNING, 3),
        JobState.PENDING,
        JobState.SCALED_IN,
    ]
    assert not provider.has_open_jobs()


def test_job_that_failed_shows_its_exit_code(clock: Clock) -> None:
    site = FakeSite(num_idle=1)
    provider = provider_of(site)
    job_id = provider.submit("true", 1)
    site.change(job_id, phase=JobPhase.ENDED, ending=Ending.FAILED, exit_code=127, words="FAILED")
    clock.now += 5
    (job,) = provider.look()
    assert job.ending is Ending.FAILED
    status = provider.status([job_id])[0]
    assert (status.state, status.exit_code, status.message) == (JobState.FAILED, 127, "FAILED")


def test_scheduler_that_does_not_answer_changes_nothing(clock: Clock) -> None:
    site = FakeSite(num_idle=3)
    provider = provider_of(site)
    job_id = provider.submit("true", 1)
    site.run(job_id)
    provider.look()
    site.is_unreachable = True
    for _ in range(20):
        clock.now += 60
        assert provider.look() == []
        assert provider.status([job_id])[0].state is JobState.RUNNING
        assert provider.max_blocks == 1, "nothing is asked for blindly"
    site.is_unreachable = False
    clock.now += 60
    provider.look()
    assert provider.max_blocks > 1


def test_cancel_answers_in_the_order_asked() -> None:
    sites = [FakeSite(num_idle=1), FakeSite(num_idle=1)]
    flavours = [
        Flavour(f"f{i}", site, probe=site, jobs=site, speed=-i) for i, site in enumerate(sites)
    ]
    provider = OpportunisticProvider(flavours)
    for site in sites:
        site.submit = renamed(site, f"site{sites.index(site)}-")  # type: ignore[method-assign]
    first, second = (provider.submit("true", 1) for _ in range(2))
    assert (first, second) == ("site0-1", "site1-1")
    sites[0].is_unreachable = True
    assert provider.cancel([second, first]) == [True, False]
    assert sites[1].cancelled == ["site1-1"]


def renamed(site: FakeSite, prefix: str):  # type: ignore[no-untyped-def]
    """Return a submit method whose job ids differ from those of other sites."""
    submit = site.submit

    def submit_renamed(*args: object) -> str:
        job_id = submit(*args)  # type: ignore[arg-type]
        new_id = prefix + job_id
        job = site.in_queue.pop(job_id)
        site.in_queue[new_id] = Job(job_id=new_id, phase=job.phase)
        site.resources[new_id] = site.resources.pop(job_id)
        return new_id

    return submit_renamed


def test_repr_shows_the_settings() -> None:
    text = repr(provider_of(FakeSite(), max_blocks=7, keep_free=1))
    assert "max_blocks=7" in text
    assert "keep_free=1" in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_blocks": 1, "min_blocks": 2}, "min_blocks=2"),
        ({"max_blocks": 1, "init_blocks": 2}, "init_blocks=2"),
        ({"look_every_s": 0.1}, "look_every_s=0.1"),
        ({"max_share": 0.0}, "max_share"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        provider_of(FakeSite(), **settings)


def test_flavours_must_be_there_and_differ() -> None:
    with pytest.raises(ValueError, match="at least one flavour"):
        OpportunisticProvider([])
    with pytest.raises(ValueError, match="different names"):
        OpportunisticProvider([flavour_of(FakeSite()), flavour_of(FakeSite())])


@pytest.mark.parametrize(
    ("gpu_type", "wanted", "has_hope"),
    [
        ("rtx2080ti", "rtx 2080 ti", True),
        ("rtx2080ti", "a100", False),
        (None, "a100", True),
    ],
)
def test_core_knows_the_types_of_gpus_that_may_come(
    gpu_type: str | None, wanted: str, has_hope: bool
) -> None:
    flavour = flavour_of(FakeSite(num_idle=1), gpu_type=gpu_type)
    scheduler = Scheduler(possible_nodes=OpportunisticProvider([flavour]).possible_nodes())
    needs = Requirements(gpus=1, cores=0.0, gpu_types=(wanted,))
    declared = ContextDeclared(context_key=ContextKey("c"), name="c", requirements=needs)
    scheduler.handle(declared, 0.0)
    submitted = TaskSubmitted(task_id=TaskId(0), context_key=ContextKey("c"))
    decided = scheduler.handle(submitted, 1.0)
    assert any(isinstance(each, FailTask) for each in decided) is not has_hope
