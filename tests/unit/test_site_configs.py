"""Every site configuration builds, so each of its arguments is one that Parsl and we know."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from parsl.config import Config
from parsl.providers import CondorProvider, LocalProvider, PBSProProvider, SlurmProvider

from parsl_pcm import PCMExecutor

PROVIDERS = {
    "local": LocalProvider,
    "slurm": SlurmProvider,
    "pbspro": PBSProProvider,
    "htcondor": CondorProvider,
}
SITES = sorted(
    path.stem
    for path in (Path(__file__).parents[2] / "site_configs").glob("*.py")
    if path.stem != "__init__"
)


def config_of(site: str) -> Config:
    """Return a new configuration of the site."""
    return importlib.import_module(f"site_configs.{site}").fresh_config()


def test_every_site_has_its_provider_named_here() -> None:
    assert sorted(PROVIDERS) == SITES


@pytest.mark.smoke
@pytest.mark.parametrize("site", SITES)
def test_site_uses_our_executor_on_its_provider(site: str) -> None:
    (executor,) = config_of(site).executors
    assert isinstance(executor, PCMExecutor)
    assert type(executor.provider) is PROVIDERS[site]
    assert executor.encrypted


@pytest.mark.parametrize("site", SITES)
def test_each_call_gives_a_new_executor(site: str) -> None:
    assert config_of(site).executors[0] is not config_of(site).executors[0]


@pytest.mark.parametrize("site", [site for site in SITES if site != "local"])
def test_no_job_is_asked_for_before_there_is_work(site: str) -> None:
    assert config_of(site).executors[0].provider.init_blocks == 0


def test_slurm_asks_for_a_share_of_a_node() -> None:
    assert not config_of("slurm").executors[0].provider.exclusive


def test_slurm_submits_what_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = submitted_script("slurm", tmp_path, monkeypatch, "sbatch", "Submitted batch job 1")
    assert "#SBATCH --gpus-per-node=1" in script
    assert "#SBATCH --open-mode=append" in script
    assert "--exclusive" not in script


def test_pbspro_submits_what_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = submitted_script("pbspro", tmp_path, monkeypatch, "qsub", "1.server")
    assert "#PBS -l select=1:ncpus=4:ngpus=1:mem=32gb" in script


def test_htcondor_submits_what_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = "1 job(s) submitted to cluster 1."
    script = submitted_script("htcondor", tmp_path, monkeypatch, "condor_submit", answer)
    assert "\nrequest_gpus = 1\n" in script


def submitted_script(
    site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, answer: str
) -> str:
    """Let the site's provider submit a job to a stand-in command; return what it was given."""
    stand_in = tmp_path / command
    stand_in.write_text(
        f'#!/bin/sh\nfor last; do :; done\ncp "$last" "{tmp_path}/given"\necho "{answer}"\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    provider = config_of(site).executors[0].provider
    provider.script_dir = str(tmp_path)
    provider.submit("true", tasks_per_node=1)
    return (tmp_path / "given").read_text()
