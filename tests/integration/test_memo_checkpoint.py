"""Parsl's memoization and checkpointing tell contexts apart, within a run and from run to run."""

import subprocess
import sys
from pathlib import Path

import parsl
import pytest
from parsl import Config, python_app
from parsl.dataflow.memoization import BasicMemoizer
from parsl.executors import ThreadPoolExecutor

from parsl_pcm import context, memo

assert memo  # imported for what it registers

RUNS = []


@context
def llm(model="m"):
    return {"model": model}


@python_app(cache=True)
def verify(claim, llm=llm):
    RUNS.append(claim)
    return len(RUNS)


@pytest.fixture
def loaded(tmp_path):
    RUNS.clear()
    config = Config(
        executors=[ThreadPoolExecutor(max_threads=1)],
        memoizer=BasicMemoizer(),
        run_dir=str(tmp_path),
        initialize_logging=False,
    )
    with parsl.load(config):
        yield


@pytest.mark.usefixtures("loaded")
def test_equal_contexts_share_a_result_and_others_do_not():
    first = verify("a", llm=llm).result()
    assert verify("a", llm=llm("m")).result() == first
    assert verify("a", llm=llm("q")).result() != first
    assert verify("b", llm=llm).result() != first
    assert len(RUNS) == 3


@pytest.mark.usefixtures("loaded")
def test_the_default_context_counts():
    def define(recipe):
        @python_app(cache=True)
        def app(claim, llm=recipe):
            RUNS.append(claim)
            return len(RUNS)

        return app

    assert define(llm)("a").result() == define(llm("m"))("a").result() == 1
    assert define(llm("q"))("a").result() == 2


SCRIPT = """
import sys
import parsl
from parsl import Config, python_app
from parsl.dataflow.memoization import BasicMemoizer
from parsl.executors import ThreadPoolExecutor
from parsl_pcm import context, memo

@context
def llm():
    return {code}

@python_app(cache=True)
def verify(claim, llm=llm):
    print("ran", claim)
    return claim

memoizer = BasicMemoizer(checkpoint_mode="task_exit")
executor = ThreadPoolExecutor(max_threads=1)
with parsl.load(Config(executors=[executor], memoizer=memoizer, run_dir="runs")):
    verify("a").result()
"""


def run_script(folder: Path, code: str) -> str:
    (folder / "script.py").write_text(SCRIPT.format(code=code))
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_checkpoint_is_used_until_the_code_of_the_context_changes(tmp_path):
    assert run_script(tmp_path, "1") == "ran a\n"
    assert run_script(tmp_path, "1") == ""
    assert run_script(tmp_path, "2") == "ran a\n"
