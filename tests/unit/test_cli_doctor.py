"""``parsl-pcm doctor``: what each check says of what it sees."""

from __future__ import annotations

import argparse
import json
import platform
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from parsl.providers import (
    CondorProvider,
    GridEngineProvider,
    LocalProvider,
    LSFProvider,
    PBSProProvider,
    SlurmProvider,
)
from parsl.version import VERSION as PARSL_VERSION

from parsl_pcm.cli import checks_machine, checks_script, checks_site, checks_workers, doctor
from parsl_pcm.cli.checks import Level, Result, fail, ok, warn
from parsl_pcm.provider.flavours import Flavour
from parsl_pcm.provider.schedulers.observations import IdleGpus, LookError
from parsl_pcm.version import VERSION

COMMAND = "exec parsl-pcm-manager --config {config} --block-id {block_id}"


def flavour(name: str, gpu_type: str | None = None, partition: str | None = None) -> Flavour:
    return Flavour(name, LocalProvider(), gpu_type=gpu_type, partition=partition)


class Probe:
    def __init__(self, *rows: IdleGpus) -> None:
        self.rows = rows

    def look(self) -> Sequence[IdleGpus]:
        if not self.rows:
            raise LookError("sinfo failed with exit code 1: no controller")
        return self.rows


def gpus(partition: str, gpu_type: str, num_idle: int) -> IdleGpus:
    return IdleGpus(num_idle=num_idle, num_total=2, partition=partition, gpu_type=gpu_type)


# --- idle GPUs ------------------------------------------------------------------------------------


def test_idle_gpus_are_shown_by_partition_and_type_with_their_flavours() -> None:
    probe = Probe(gpus("p", "h100", 1), gpus("p", "a10", 2))
    result = checks_site.idle_gpus(probe, [flavour("small", "a10")])
    assert result.level is Level.OK
    assert result.detail == "2 for 'small'"
    assert result.table[1:] == (("p", "a10", "2", "2", "small"), ("p", "h100", "1", "2", ""))


def test_flavour_that_the_site_has_not_got_is_a_failure() -> None:
    result = checks_site.idle_gpus(Probe(gpus("p", "a10", 2)), [flavour("big", "h200")])
    assert result.level is Level.FAIL
    assert "'big'" in result.detail


def test_flavour_without_idle_gpus_is_worth_knowing() -> None:
    result = checks_site.idle_gpus(Probe(gpus("p", "a10", 0)), [flavour("small", "a10")])
    assert result.level is Level.WARN


def test_probe_that_fails_speaks_in_its_own_words() -> None:
    result = checks_site.idle_gpus(Probe(), [])
    assert result.level is Level.FAIL
    assert "no controller" in result.detail


def test_table_of_a_large_site_has_only_what_a_flavour_takes() -> None:
    rows = [gpus(f"p{number}", "a10", 1) for number in range(checks_site.MAX_ROWS + 1)]
    result = checks_site.idle_gpus(Probe(*rows), [flavour("small", "a10", "p3")])
    assert [row[0] for row in result.table[1:]] == ["p3"]


# --- scheduler and partitions ---------------------------------------------------------------------


@pytest.fixture
def sinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks_site, "ask", lambda _: "preempt|up\nold|down\nCLUSTER: alpha\n")


@pytest.mark.usefixtures("sinfo")
@pytest.mark.parametrize(
    ("name", "level", "words"),
    [
        (None, Level.OK, "default"),
        ("preempt", Level.OK, "preempt is there"),
        ("gpux", Level.FAIL, "no 'gpux'"),
        ("preempt,gpux", Level.FAIL, "no 'gpux'"),
        ("old", Level.WARN, "takes no jobs"),
    ],
)
def test_partition_is_there_and_open(name: str | None, level: Level, words: str) -> None:
    result = checks_site.partition_exists("slurm", name)
    assert result.level is level
    assert words in result.detail


@pytest.mark.usefixtures("sinfo")
def test_missing_partition_comes_with_those_that_are_there() -> None:
    assert "preempt, old" in checks_site.partition_exists("slurm", "gpux").cure


def test_queue_that_the_tool_does_not_know_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(command: Sequence[str]) -> str:
        raise LookError(f"{command[0]}: Unknown queue")

    monkeypatch.setattr(checks_site, "ask", ask)
    for kind in ("pbs", "grid_engine", "lsf"):
        assert checks_site.partition_exists(kind, "gpux").level is Level.FAIL


def test_scheduler_that_does_not_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    result = checks_site.scheduler_answers("slurm")
    assert result.level is Level.FAIL
    assert "'squeue' is not on PATH" in result.detail
    assert checks_site.schedulers_here() == []


def test_local_blocks_need_no_scheduler() -> None:
    assert checks_site.scheduler_answers("local").level is Level.OK


# --- this machine ---------------------------------------------------------------------------------


def test_address_of_local_blocks_may_be_loopback() -> None:
    assert checks_machine.addresses(None, "127.0.0.1", is_local=True).level is Level.OK


@pytest.mark.parametrize(
    ("address", "words"),
    [("127.0.0.1", "the compute node itself"), ("192.0.2.255", "not an address of this machine")],
)
def test_address_that_workers_cannot_use_is_a_failure(address: str, words: str) -> None:
    result = checks_machine.addresses(address, "127.0.0.1", is_local=False)
    assert result.level is Level.FAIL
    assert words in result.detail


def test_address_of_an_interface_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks_machine, "own_addresses", lambda: {"127.0.0.1", "192.0.2.7"})
    for given in ("192.0.2.7", None):
        result = checks_machine.addresses(given, "127.0.0.1", is_local=False)
        assert result.level is Level.OK
        assert "192.0.2.7" in result.detail


def test_machine_with_loopback_alone_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks_machine, "own_addresses", lambda: {"127.0.0.1", "::1"})
    assert checks_machine.addresses(None, "127.0.0.1", is_local=False).level is Level.FAIL


def test_port_in_use_is_not_free() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert checks_machine.ports(port, (0, 0)).level is Level.FAIL
        assert checks_machine.ports(None, (port, port + 1)).level is Level.FAIL
    assert checks_machine.ports(port, (0, 0)).level is Level.OK


def test_run_directory_that_only_this_machine_sees_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    runinfo = tmp_path / "runinfo"
    assert checks_machine.run_dir(runinfo, is_local=False).level is Level.FAIL
    assert checks_machine.run_dir(runinfo, is_local=True).level is Level.OK


def test_directory_that_is_not_there_yet_counts_as_the_one_above(tmp_path: Path) -> None:
    assert checks_machine.disk("x", tmp_path / "a" / "b", min_bytes=1).level is Level.OK
    assert checks_machine.disk("x", tmp_path / "a", min_bytes=2**62).level is Level.WARN


@pytest.mark.parametrize(("limit", "level"), [(4096, Level.OK), (256, Level.WARN), (-1, Level.OK)])
def test_few_open_files_are_worth_knowing(
    limit: int, level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks_machine.resource, "getrlimit", lambda _: (limit, 4096))
    assert checks_machine.open_files().level is level


# --- submit script --------------------------------------------------------------------------------

SETTINGS: dict[str, Any] = {"worker_init": "source env/bin/activate", "walltime": "02:00:00"}


def slurm() -> SlurmProvider:
    return SlurmProvider(partition="preempt", gres="gpu:1", exclusive=False, **SETTINGS)


@pytest.mark.parametrize(
    ("make", "asked"),
    [
        (slurm, "--partition=preempt --gres=gpu:1"),
        (lambda: PBSProProvider(queue="gpu", cpus_per_node=4, **SETTINGS), "-l select=1:ncpus=4"),
        (lambda: GridEngineProvider(queue="gpu", **SETTINGS), "-l h_rt=02:00:00"),
        (lambda: LSFProvider(queue="gpu", **SETTINGS), "-W 120"),
        (lambda: CondorProvider(**SETTINGS), "lines"),
        (lambda: LocalProvider(worker_init="source env/bin/activate"), "lines"),
    ],
)
def test_script_is_rendered_and_handed_to_nobody(
    make: Callable[[], Any], asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = make()

    def submitted(*_: object) -> None:
        pytest.fail("it ran a command")

    monkeypatch.setattr("parsl.providers.cluster_provider.execute_wait", submitted)
    monkeypatch.setattr("parsl.providers.local.local.execute_wait", submitted)
    result = checks_script.submit_script(provider, COMMAND)
    assert result.level is Level.OK
    assert asked in result.detail
    assert "source env/bin/activate" in result.text
    assert "exec parsl-pcm-manager --config RUN_DIR/manager.json --block-id 0" in result.text
    assert provider.resources == {}
    assert provider.script_dir is None


def test_provider_without_scripts_is_reported() -> None:
    result = checks_script.submit_script(SimpleNamespace(), COMMAND)  # type: ignore[arg-type]
    assert result.level is Level.FAIL


def test_slurm_says_what_is_wrong_with_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(command: Sequence[str]) -> str:
        assert command[:2] == ("sbatch", "--test-only")
        raise LookError("sbatch failed with exit code 1: Invalid account specified")

    monkeypatch.setattr(checks_script, "ask", ask)
    result = checks_script.would_be_taken(slurm(), COMMAND)
    assert result.level is Level.FAIL
    assert result.detail == "Invalid account specified"


# --- workers --------------------------------------------------------------------------------------

HERE: dict[str, Any] = {
    "manager": "/env/bin/parsl-pcm-manager",
    "prefix": "/env",
    "python": platform.python_version(),
    "parsl": PARSL_VERSION,
    "parsl_pcm": VERSION,
    "engines": {"vllm": "0.9"},
}


def seen(
    monkeypatch: pytest.MonkeyPatch, *, code: int = 0, errors: str = "", **facts: Any
) -> dict[str, Result]:
    """Return what is said of an environment with these facts, by title."""
    mark = checks_workers.MARK
    output = f"chatter\n{mark}code={code}\n{mark}{json.dumps(HERE | facts)}\n"
    monkeypatch.setattr(checks_workers, "_run", lambda _: (output, errors + mark))
    return {each.title: each for each in checks_workers.workers("source /env/bin/activate")}


def test_environment_like_the_scripts_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    results = seen(monkeypatch)
    assert {each.level for each in results.values()} == {Level.OK}
    assert results["engines there"].detail == "vllm 0.9"


@pytest.mark.parametrize(
    "facts", [{"python": "3.9.1"}, {"parsl": None}, {"parsl": "2020.1.1"}, {"parsl_pcm": "9"}]
)
def test_other_versions_are_a_failure(
    facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert seen(monkeypatch, **facts)["versions there"].level is Level.FAIL


def test_another_patch_release_of_python_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    python = ".".join(platform.python_version_tuple()[:2]) + ".99"
    assert seen(monkeypatch, python=python)["versions there"].level is Level.OK


def test_manager_from_outside_the_activated_environment_is_worth_knowing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert seen(monkeypatch, prefix="/other")["manager"].level is Level.WARN


def test_worker_init_that_complains_is_worth_knowing(monkeypatch: pytest.MonkeyPatch) -> None:
    result = seen(monkeypatch, errors="module: command not found\n")["worker_init"]
    assert result.level is Level.WARN
    assert "module: command not found" in result.detail
    assert seen(monkeypatch, code=1)["worker_init"].level is Level.WARN
    assert seen(monkeypatch, errors="Loading cuda/12\n")["worker_init"].level is Level.OK


# --- what is printed ------------------------------------------------------------------------------


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Result]]:
    """Let the examination find these."""
    found = [
        ("This machine", ok("versions", "Python 3.12")),
        ("Site", fail("partition", "there is no 'x' " * 20, "choose another")),
        ("Site", ok("idle GPUs", "2", table=(("TYPE", "IDLE"), ("a10", "2")))),
    ]
    monkeypatch.setattr("parsl_pcm.cli.examination.examine", lambda _: iter(found))
    return found


def parsl_pcm(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    doctor.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(arguments)
    return int(parsed.func(parsed))


def test_failure_is_the_exit_code(results: list[tuple[str, Result]]) -> None:
    assert parsl_pcm("doctor") == 1
    results[1] = ("Site", warn("partition", "is closed", "wait"))
    assert parsl_pcm("doctor") == 0


@pytest.mark.usefixtures("results")
def test_output_is_aligned_uncoloured_and_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    parsl_pcm("doctor")
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    lines = {line.split()[1]: line for line in out.splitlines() if line.startswith("  ")}
    assert lines["versions"].index("Python") == lines["partition"].index("there")
    assert "-> choose another" in out
    assert out.endswith("2 fine, 1 failed.\n")


@pytest.mark.usefixtures("results")
def test_json_has_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert parsl_pcm("doctor", "--json") == 1
    first, second, third = json.loads(capsys.readouterr().out)
    assert (first["level"], second["level"], second["cure"]) == ("OK", "FAIL", "choose another")
    assert third["table"] == [{"TYPE": "a10", "IDLE": "2"}]


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        (None, ["config.py"], "config.py: no such file"),
        ("x = 1", ["config.py"], "no function fresh_config"),
        ("def fresh_config(): 1/0", ["config.py"], "ZeroDivisionError"),
        ("def fresh_config(): return 1", ["config.py"], "returned a int"),
        ("def fresh_config(account): pass", ["config.py"], "--set NAME=VALUE"),
        ("def fresh_config(): pass", ["config.py", "--set", "account"], "account=abc123"),
        (None, ["--submit"], "need a CONFIG"),
    ],
)
def test_bad_input_is_told_from_a_failed_check(
    text: str | None, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        Path("config.py").write_text(text)
    assert parsl_pcm("doctor", *arguments) == 2
    assert words in capsys.readouterr().err


# --- which checks are made ------------------------------------------------------------------------

CONFIG = """
from parsl import Config
from parsl.providers import SlurmProvider
from parsl_pcm import PCMExecutor

def fresh_config(exclusive=True, gres="gpu:1", partition="preempt"):
    provider = SlurmProvider(partition=partition, gres=gres, exclusive=exclusive)
    executor = PCMExecutor(label="gpus", provider=provider, address="127.0.0.1", launch_cmd="x")
    return Config(executors=[executor], usage_tracking=0)
"""


@pytest.fixture
def titles(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Return what examines a Slurm that answers, and gives the titles of the checks made."""
    Path("site.py").write_text(CONFIG)
    monkeypatch.setattr(checks_site, "scheduler_answers", lambda _: ok("scheduler", "answers"))
    monkeypatch.setattr(checks_site, "idle_gpus", lambda *_: ok("idle GPUs", "1"))
    monkeypatch.setattr(checks_site, "ask", lambda _: "preempt|up")
    monkeypatch.setattr(checks_script, "ask", lambda _: "")

    def examine(*settings: str) -> list[str]:
        arguments = [word for setting in settings for word in ("--set", setting)]
        parsl_pcm("doctor", "site.py", "--json", *arguments)
        return [each["title"] for each in json.loads(capsys.readouterr().out)]

    return examine


def test_provider_of_parsls_own_is_one_flavour(titles: Callable[..., list[str]]) -> None:
    assert titles()[-8:] == [
        "scheduler",
        "idle GPUs",
        "partition",
        "whole nodes",
        "launcher",
        "submit script",
        "test of script",
        "workers",
    ]


def test_settings_may_be_literals(titles: Callable[..., list[str]]) -> None:
    assert "whole nodes" not in titles("exclusive=False")


def test_provider_without_gpus_needs_none_idle(titles: Callable[..., list[str]]) -> None:
    assert "idle GPUs" not in titles("gres=None")


def test_script_for_a_partition_that_is_not_there_is_not_tried(
    titles: Callable[..., list[str]],
) -> None:
    assert "test of script" not in titles("partition=gpux")


def test_check_that_breaks_does_not_hide_the_others(
    titles: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks_site, "read_sinfo", lambda _: 1 / 0)
    assert titles()[-1] == "workers"
