"""``parsl-pcm sites`` as a person types it."""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

import pytest
from parsl.config import Config

from parsl_pcm.cli import sites
from parsl_pcm.sites import find_site

SCRIPT = """#!/bin/bash
#SBATCH -p preempt -A mine --gres=gpu:a100:1
#SBATCH --array=1-9
module load cuda
python train.py
"""


def run(*words: str) -> int:
    """Run ``parsl-pcm sites`` with these words; return the exit code."""
    parser = argparse.ArgumentParser()
    sites.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["sites", *words])
    return int(arguments.func(arguments))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("words", [(), ("list",)])
def test_list_shows_name_scheduler_and_what(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "SCHEDULER", "WHAT", "SOURCE"]
    (delta,) = [line for line in lines if line.startswith("delta ")]
    assert "Slurm" in delta
    assert "NCSA Delta" in delta
    assert "github.com/ncsa/Delta_doc" in delta


def test_show_prints_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "perlmutter") == 0
    assert capsys.readouterr().out == find_site("perlmutter").path.read_text()


@pytest.mark.parametrize("action", ["show", "init"])
def test_misspelt_name_is_bad_input(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(action, "perlmuter") == 2
    assert "Did you mean perlmutter?" in capsys.readouterr().err


def test_init_writes_a_file_that_works_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("init", "delta", "-o", "mine.py") == 0
    said = capsys.readouterr().out
    assert "wrote mine.py" in said
    assert "give account a default" in said
    assert "fresh_config(account=...)" in said
    text = Path("mine.py").read_text()
    assert "site_configs" not in text
    config = runpy.run_path("mine.py")["fresh_config"](account="abc", address="127.0.0.1")
    assert isinstance(config, Config)


def test_init_names_the_file_after_the_site(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("init", "local") == 0
    assert Path("local.py").is_file()
    assert "next: give" not in capsys.readouterr().out


def test_init_overwrites_only_if_told_to(capsys: pytest.CaptureFixture[str]) -> None:
    Path("local.py").write_text("mine")
    assert run("init", "local") == 2
    assert "local.py exists already" in capsys.readouterr().err
    assert Path("local.py").read_text() == "mine"
    assert run("init", "local", "--force") == 0
    assert "fresh_config" in Path("local.py").read_text()


def test_init_where_nothing_can_be_written_is_bad_input(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("init", "local", "-o", "no/such/folder/x.py") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_from_script_makes_a_site_and_says_what_it_did(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("submit-all.sh").write_text(SCRIPT)
    assert run("from-script", "submit-all.sh") == 0
    said = capsys.readouterr().out
    assert "wrote submit_all_site.py from submit-all.sh" in said
    assert "left out: --array=1-9" in said
    assert "the program, where reading stopped, is: python train.py" in said
    config = runpy.run_path("submit_all_site.py")["fresh_config"](address="127.0.0.1")
    assert config.executors[0].provider.flavours[0].gpu_type == "a100"


def test_from_script_does_not_overwrite() -> None:
    Path("submit.sh").write_text(SCRIPT)
    assert run("from-script", "submit.sh", "-o", "x.py") == 0
    assert run("from-script", "submit.sh", "-o", "x.py") == 2


@pytest.mark.parametrize(
    ("name", "problem"),
    [("missing.sh", "missing.sh cannot be read"), ("empty.sh", "no #SBATCH or #PBS lines")],
)
def test_from_script_refuses_what_is_no_job_script(
    name: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty.sh").write_text("")
    assert run("from-script", name) == 2
    assert problem in capsys.readouterr().err
