"""Slurm's answers: real ones of 22.05.8, later ones after its sources, and broken ones."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from parsl_pcm.provider.schedulers import slurm, slurm_json, slurm_text
from parsl_pcm.provider.schedulers.commands import NoAnswerError
from parsl_pcm.provider.schedulers.observations import Ending, IdleGpus, Job, JobPhase, LookError
from parsl_pcm.provider.schedulers.slurm import SlurmJobs, SlurmProbe
from parsl_pcm.provider.schedulers.slurm_rows import ENDINGS, JobRow, NodeRow, idle_gpus, job

RECORDED = Path(__file__).parents[1] / "recorded" / "slurm"
REAL = RECORDED / "22.05.8"
NOW_S = {"before": 1795370974.0, "grace": 1795370975.0, "completing": 1795370989.0}


def recorded(name: str) -> str:
    return (RECORDED / name).read_text()


def real(name: str) -> str:
    return (REAL / name).read_text()


def gpus(found: Sequence[IdleGpus]) -> dict[tuple[str, str], tuple[int, int]]:
    return {(each.partition, each.gpu_type): (each.num_idle, each.num_total) for each in found}


def text_gpus(output: str) -> dict[tuple[str, str], tuple[int, int]]:
    return gpus(idle_gpus(slurm_text.node_rows(output, "gpu"), "gpu"))


def json_gpus(output: str) -> dict[tuple[str, str], tuple[int, int]]:
    return gpus(idle_gpus(slurm_json.node_rows(output, "gpu"), "gpu"))


def jobs_at(rows: Sequence[JobRow], now_s: float) -> dict[str, Job]:
    return {row.job_id: job(row, now_s) for row in rows}


def without_words(found: Mapping[str, Job]) -> dict[str, Job]:
    return {job_id: replace(each, words="") for job_id, each in found.items()}


# ----------------------------------------------------------------------------- nodes


def test_real_text_counts_idle_gpus_by_partition_and_type() -> None:
    found = text_gpus(real("sinfo-before.txt"))
    assert found["preempt", "a10"] == (1, 2)
    # All CPUs of that node are taken.
    assert found["preempt", "h100"] == (0, 1)
    # Drained: it takes no jobs at all.
    assert found["preempt", "titanx"] == (0, 0)
    assert {partition for partition, _ in found} == {"preempt", "dedicated"}


def test_node_that_is_being_cleaned_offers_nothing() -> None:
    found = text_gpus(real("sinfo-completing.txt"))
    assert found["preempt", "a10"] == (0, 2)
    assert found["preempt", "titanx"] == (1, 2)


@pytest.mark.parametrize("moment", ["grace", "completing"])
def test_text_and_json_of_the_same_moment_agree(moment: str) -> None:
    assert text_gpus(real(f"sinfo-{moment}.txt")) == json_gpus(real(f"sinfo-{moment}.json"))


@pytest.mark.parametrize("version", ["23.02", "25.05"])
def test_newer_json_is_understood(version: str) -> None:
    assert json_gpus(recorded(f"sources/sinfo-{version}.json")) == {
        ("preempt", "a100"): (3, 4),
        ("gpu", "a100"): (3, 4),
        # Eight on a free node; eight on a node that is planned for another job; none drained.
        ("preempt", "h100"): (8, 16),
        # All CPUs taken, and asleep.
        ("preempt", "l40s"): (0, 8),
        ("preempt", ""): (1, 2),
        ("closed", "v100"): (0, 0),
    }


def line(**changes: str) -> str:
    fields = {
        "node": "n1",
        "partition": "p*",
        "available": "up",
        "state": "idle",
        "cpus": "0/8/0/8",
        "gres": "gpu:a10:2",
        "gres_used": "gpu:a10:0(IDX:N/A)",
    }
    return "".join(f"{value}|" for value in {**fields, **changes}.values()) + "\n"


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        *((state, (2, 2)) for state in ("idle", "mixed")),
        *((state, (0, 2)) for state in ("allocated", "completing", "mixed+", "planned", "mixed-")),
        *((state, (0, 2)) for state in ("idle~", "idle#", "idle%", "powering_up")),
        *((state, (0, 0)) for state in ("down", "down*", "drained", "draining", "drng", "maint")),
        *((state, (0, 0)) for state in ("idle*", "reserved", "reboot^", "mixed@", "idle$", "fail")),
        *((state, (0, 0)) for state in ("unknown", "inval", "blocked", "future", "perfectly_new")),
    ],
)
def test_only_nodes_that_take_jobs_now_have_idle_gpus(state: str, counts: tuple[int, int]) -> None:
    assert text_gpus(line(state=state)) == {("p", "a10"): counts}


@pytest.mark.parametrize(
    ("gres", "used", "expected"),
    [
        ("gpu:a10:2(S:0-1)", "gpu:a10:1(IDX:0)", {"a10": 1}),
        ("gpu:8(S:0-3)", "gpu:3(IDX:0,4-5)", {"": 5}),
        ("gpu:8", "gpu:(null):3(IDX:0-2)", {"": 5}),
        ("gpu:4", "gpu:a10:1(IDX:0)", {"": 3}),
        (
            "gpu:A10:1,gpu:h100:2,shard:8",
            "gpu:a10:1(IDX:0),gpu:h100:0(IDX:N/A)",
            {"a10": 0, "h100": 2},
        ),
        ("gpu:1g.10gb:7(S:0)", "gpu:1g.10gb:2(IDX:0-1)", {"1g.10gb": 5}),
        ("mps:400,gpu:a10:2,mps:a10:200", "gpu:a10:2(IDX:0-1),mps:a10:0", {"a10": 0}),
        ("gpu", "gpu:0", {"": 1}),
        ("gpu:a10:2", "gpu:a10:5(IDX:0-4)", {"a10": 0}),
        ("(null)", "(null)", {}),
        ("craynetwork:4", "craynetwork:0", {}),
    ],
)
def test_generic_resources_are_read(gres: str, used: str, expected: dict[str, int]) -> None:
    found = text_gpus(line(gres=gres, gres_used=used))
    assert {gpu_type: num for (_, gpu_type), (num, _) in found.items()} == expected


def test_partition_that_is_closed_offers_nothing() -> None:
    assert text_gpus(line(available="inact")) == {("p", "a10"): (0, 0)}


def test_use_that_is_not_told_is_not_taken_for_idle() -> None:
    with pytest.raises(LookError, match="state and use"):
        slurm_text.node_rows(line(gres_used=""), "gpu")


def test_another_name_for_gpus_is_possible() -> None:
    rows = slurm_text.node_rows(line(gres="accel:2", gres_used="accel:1"), "accel")
    assert gpus(idle_gpus(rows, "accel")) == {("p", ""): (1, 2)}


def test_titles_of_clusters_blanks_and_extra_columns_do_no_harm() -> None:
    output = "CLUSTER: one\n" + line() + "\nCLUSTER: two\n" + line()[:-1] + "more|\n"
    assert text_gpus(output) == {("p", "a10"): (4, 4)}
    assert text_gpus("") == {}


def test_many_nodes_are_added_up() -> None:
    assert text_gpus(line() * 10_000) == {("p", "a10"): (20_000, 20_000)}


# ------------------------------------------------------------------------------ jobs


def test_real_grace_period_is_seen_as_notice() -> None:
    before = jobs_at(slurm_text.job_rows(real("squeue-before.txt")), NOW_S["before"])
    during = jobs_at(slurm_text.job_rows(real("squeue-grace.txt")), NOW_S["grace"])
    assert before["17"] == Job(job_id="17", phase=JobPhase.RUNNING, words="RUNNING")
    assert during["17"].notice_s == 9.0
    assert during["17"].phase is JobPhase.RUNNING
    assert during["20"].notice_s is None


def test_real_requeued_job_is_pending_while_its_node_is_cleaned() -> None:
    found = jobs_at(slurm_text.job_rows(real("squeue-completing.txt")), NOW_S["completing"])
    assert found["17"].phase is JobPhase.PENDING
    assert found["17"].num_restarts == 1
    assert found["17"].notice_s is None


def test_real_endings_tell_the_site_from_the_job() -> None:
    found = jobs_at(slurm_text.job_rows(real("squeue-after.txt")), NOW_S["completing"])
    assert (found["8"].ending, found["8"].exit_code) == (Ending.PREEMPTED, 128 + 15)
    # It left with code 7 when its grace period began: Slurm says FAILED.
    assert (found["7"].ending, found["7"].exit_code) == (Ending.PREEMPTED, 7)
    assert found["7"].words == "FAILED (NonZeroExitCode)"
    assert found["19"].words == "PENDING (JobHeldUser)"
    assert (found["17"].phase, found["17"].num_restarts) == (JobPhase.PENDING, 1)


@pytest.mark.parametrize("moment", ["grace", "completing"])
def test_jobs_in_text_and_json_of_the_same_moment_agree(moment: str) -> None:
    text = jobs_at(slurm_text.job_rows(real(f"squeue-{moment}.txt")), NOW_S[moment])
    as_json = jobs_at(slurm_json.job_rows(real(f"squeue-{moment}.json"), "0"), NOW_S[moment])
    # JSON holds the reason alone, the text the names of nodes besides.
    assert without_words(text) == without_words(as_json)


@pytest.mark.parametrize("version", ["23.02", "25.05"])
def test_jobs_in_newer_json_are_understood(version: str) -> None:
    now_s = 1750000000.0
    found = jobs_at(slurm_json.job_rows(recorded(f"sources/squeue-{version}.json"), "0"), now_s)
    assert set(found) == {str(number) for number in range(1, 9)}, "9 is another user's"
    assert (found["1"].phase, found["1"].num_restarts, found["1"].notice_s) == (
        JobPhase.RUNNING,
        1,
        None,
    )
    assert found["2"].notice_s == 28.0
    assert (found["3"].phase, found["3"].num_restarts) == (JobPhase.PENDING, 1)
    assert (found["4"].phase, found["4"].notice_s) == (JobPhase.RUNNING, 0.0)
    assert (found["5"].ending, found["5"].exit_code) == (Ending.FAILED, 3)
    assert (found["6"].ending, found["6"].exit_code) == (Ending.FAILED, 128 + 9)
    assert (found["7"].phase, found["7"].words) == (JobPhase.PENDING, "PENDING (Priority)")
    assert found["8"].phase is JobPhase.PENDING


def row(*states: str, **changes: object) -> JobRow:
    return JobRow(job_id="1", states=states, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("states", "phase"),
    [
        *(
            (state, JobPhase.PENDING)
            for state in ("PENDING", "PD", "CONFIGURING", "CF", "REQUEUED")
        ),
        *((state, JobPhase.PENDING) for state in ("REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")),
        *((state, JobPhase.RUNNING) for state in ("RUNNING", "R", "SIGNALING", "SI", "RESIZING")),
        *((state, JobPhase.SUSPENDED) for state in ("SUSPENDED", "S", "STOPPED", "ST")),
        ("A_STATE_OF_THE_FUTURE", JobPhase.RUNNING),
    ],
)
def test_states_of_jobs_that_have_not_ended(states: str, phase: JobPhase) -> None:
    found = job(row(states), 0.0)
    assert (found.phase, found.ending) == (phase, None)


@pytest.mark.parametrize("state", sorted(ENDINGS))
def test_every_ending_ends_the_job(state: str) -> None:
    found = job(row(state), 0.0)
    assert (found.phase, found.ending) == (JobPhase.ENDED, ENDINGS[state])


def test_job_that_leaves_its_node_for_good_has_no_time_left() -> None:
    found = job(row("COMPLETING", ends_at_s=100.0), now_s=101.0)
    assert (found.phase, found.notice_s) == (JobPhase.RUNNING, 0.0)


def test_job_that_leaves_its_node_to_be_started_again_is_pending() -> None:
    for ends_at_s in (None, 1e6):
        assert job(row("COMPLETING", ends_at_s=ends_at_s), 100.0).phase is JobPhase.PENDING


def test_preempted_job_without_a_time_limit_may_lose_its_node_at_any_moment() -> None:
    assert job(row("RUNNING", preempted_at_s=99.0), 100.0).notice_s == 0.0


def test_end_of_the_walltime_is_no_notice() -> None:
    assert job(row("RUNNING", ends_at_s=110.0), 100.0).notice_s is None


def test_notice_never_is_negative() -> None:
    assert job(row("RUNNING", preempted_at_s=80.0, ends_at_s=90.0), 100.0).notice_s == 0.0


@pytest.mark.parametrize(
    ("status", "code"),
    [("0", 0), ("256", 1), ("768", 3), ("9", 137), ("3:0", 3), ("0:15", 143), ("", None)],
)
def test_exit_codes_of_both_forms_are_read(status: str, code: int | None) -> None:
    rows = slurm_text.job_rows(f"1|FAILED|0|N/A|N/A|{status}|None|\n")
    assert job(rows[0], 0.0).exit_code == code


def test_reason_may_hold_the_sign_between_fields() -> None:
    (found,) = slurm_text.job_rows("1|PENDING|0|N/A|N/A|0|a|b|\n")
    assert found.reason == "a|b"


def test_job_in_a_line_that_is_cut_off_does_not_count_as_gone() -> None:
    with pytest.raises(LookError, match="a line that does not tell"):
        slurm_text.job_rows("1|RUNNING|0|N/A|N/A|0|None|\n2|RUNN")


def test_failure_inside_json_is_a_failure() -> None:
    with pytest.raises(LookError, match="slurm_load_jobs"):
        slurm_json.job_rows('{"jobs": [], "errors": [{"error": "slurm_load_jobs"}]}', "0")


def test_warnings_before_json_do_no_harm() -> None:
    assert slurm_json.job_rows('squeue: warning\n{"jobs": [], "errors": []}', "0") == []


# ------------------------------------------------------------------------------ calls

Ask = Callable[[Sequence[str]], str]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Ask], list[Sequence[str]]]:
    """Let a function answer in place of Slurm; returns the commands that it was asked."""

    def install(answer: Ask) -> list[Sequence[str]]:
        commands: list[Sequence[str]] = []

        def ask(
            command: Sequence[str],
            *,
            timeout_s: float,
            environment: Mapping[str, str] | None = None,
        ) -> str:
            commands.append(command)
            return answer(command)

        monkeypatch.setattr(slurm, "ask", ask)
        return commands

    return install


Answers = Callable[[Ask], list[Sequence[str]]]


def test_text_is_asked_for_first_and_once(answers: Answers) -> None:
    commands = answers(lambda _: line())
    assert SlurmProbe(partitions=("p", "q")).look()
    assert len(commands) == 1
    assert "--partition=p,q" in commands[0]


def test_form_that_works_is_remembered(answers: Answers) -> None:
    def answer(command: Sequence[str]) -> str:
        if "--json" not in command:
            raise LookError("sinfo: unrecognized option")
        return real("sinfo-grace.json")

    commands = answers(answer)
    probe = SlurmProbe(partitions=("preempt",))
    found = probe.look()
    assert {each.partition for each in found} == {"preempt"}, "22.05 does not select in JSON"
    assert probe.look() == found
    assert ["--json" in command for command in commands] == [False, True, True]


def test_scheduler_that_is_down_is_asked_once(answers: Answers) -> None:
    def answer(_: Sequence[str]) -> str:
        raise NoAnswerError("Unable to contact slurm controller (connect failure)")

    commands = answers(answer)
    with pytest.raises(LookError, match="connect failure"):
        SlurmJobs().jobs(["1"])
    assert len(commands) == 1


def test_first_error_is_told_if_no_form_works(answers: Answers) -> None:
    errors = itertools.count(1)

    def answer(_: Sequence[str]) -> str:
        raise LookError(f"error {next(errors)}")

    answers(answer)
    with pytest.raises(LookError, match="error 1"):
        SlurmProbe().look()


def test_jobs_are_those_asked_for_and_still_known(answers: Answers) -> None:
    commands = answers(lambda _: real("squeue-grace.txt"))
    found = SlurmJobs(clusters="c", now_s=lambda: NOW_S["grace"]).jobs(["17", "4711"])
    assert list(found) == ["17"]
    assert found["17"].notice_s == 9.0
    assert "--clusters=c" in commands[0]


def test_nothing_is_asked_for_no_jobs(answers: Answers) -> None:
    commands = answers(lambda _: "")
    assert SlurmJobs().jobs([]) == {}
    assert commands == []


# ------------------------------------------------------------------------------ broken

READERS: dict[str, Callable[[str], object]] = {
    "sinfo-grace.txt": lambda text: idle_gpus(slurm_text.node_rows(text, "gpu"), "gpu"),
    "sinfo-grace.json": lambda text: idle_gpus(slurm_json.node_rows(text, "gpu"), "gpu"),
    "squeue-grace.txt": lambda text: jobs_at(slurm_text.job_rows(text), 0.0),
    "squeue-grace.json": lambda text: jobs_at(slurm_json.job_rows(text, "0"), 0.0),
}


def broken(text: str, seed: int) -> str:
    """Cut, repeat or replace a part of a text."""
    chance = random.Random(seed)
    start = chance.randrange(len(text))
    end = min(len(text), start + chance.randrange(1, 40))
    junk = chance.choice(
        ["", "", "\x00", "|", '"', "{", "]", "null", "-1", "9" * 5000, "ä\n", "nan"]
    )
    return text[:start] + junk + (text[end:] if chance.random() < 0.7 else "")


@pytest.mark.parametrize("name", READERS)
def test_broken_answers_raise_nothing_but_look_errors(name: str) -> None:
    whole = real(name)
    num_refused = 0
    for seed in range(50):
        try:
            READERS[name](broken(whole, seed))
        except LookError:
            num_refused += 1
    assert num_refused > 0, f"{name}: nothing was ever refused"


@pytest.mark.parametrize("junk", ["null", "[]", "3", '"x"', "{}", '{"jobs": 3}', '{"nodes": [3]}'])
def test_json_of_another_shape_raises_nothing_but_look_errors(junk: str) -> None:
    for read in READERS.values():
        try:
            read(junk)
        except LookError:
            continue


def test_node_without_a_state_offers_nothing() -> None:
    node = NodeRow(partition="p", states=frozenset(), gres="gpu:1", gres_used="gpu:0")
    assert gpus(idle_gpus([node], "gpu")) == {("p", ""): (0, 1)}
