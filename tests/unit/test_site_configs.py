"""Every site builds, given what only its user knows, and submits what the site needs."""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from parsl.config import Config
from parsl.providers import LocalProvider
from parsl.providers.cluster_provider import ClusterProvider

from parsl_pcm import PCMExecutor
from parsl_pcm.provider import Flavour, OpportunisticProvider
from parsl_pcm.sites import SiteError, all_sites, load_config

REQUIRED: dict[str, dict[str, Any]] = {
    "local": {},
    "slurm_generic": {"partition": "preempt"},
    "pbs_generic": {"queue": "gpu"},
    "htcondor_generic": {},
    "anvil": {"account": "acct"},
    "bridges2": {},
    "delta": {"account": "acct"},
    "expanse": {"account": "acct"},
    "great_lakes": {"account": "acct"},
    "hyak": {"account": "acct"},
    "notre_dame_crc": {},
    "pace": {"account": "acct"},
    "perlmutter": {"account": "acct"},
    "polaris": {"account": "acct"},
}
SITES = {site.name: site for site in all_sites()}
CLUSTERS = [name for name in SITES if name != "local"]
NEEDS_ARGUMENTS = [name for name, arguments in REQUIRED.items() if arguments]


def config_of(name: str, **more: Any) -> Config:
    """Return a new configuration of the site; no address is looked for."""
    if name != "local":
        more = {"address": "127.0.0.1", **more}
    return load_config(name, **REQUIRED[name], **more)


def provider_of(name: str, **more: Any) -> OpportunisticProvider:
    """Return the provider of the site's executor."""
    provider = config_of(name, **more).executors[0].provider
    assert isinstance(provider, OpportunisticProvider)
    return provider


ANSWERS = {
    "sacct": (1, ""),  # each SlurmProvider asks, when it is made, whether there is accounting
    "sbatch": (0, "Submitted batch job 1"),
    "qsub": (0, "1.server"),
    "condor_submit": (0, "1 job(s) submitted to cluster 1."),
}


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for what a site's scheduler is called with, and return what was called."""
    called: list[str] = []

    def answer(self: ClusterProvider, command: str, *_: Any) -> tuple[int, str, str]:
        called.append(command)
        return (*ANSWERS[command.split()[0]], "")

    monkeypatch.setattr(ClusterProvider, "execute_wait", answer)
    return called


@pytest.fixture
def submit(tmp_path: Path, commands: list[str]) -> Callable[..., str]:
    """Let a flavour submit a job; return the command line and the job."""

    def submitted(flavour: Flavour, num_gpus: int | None = None) -> str:
        provider = flavour.block_provider(num_gpus or flavour.gpus_per_block)
        provider.script_dir = str(tmp_path)
        provider.submit("true", tasks_per_node=1)
        *_, script = shlex.split(commands[-1])
        return f"{commands[-1]}\n{Path(script).read_text()}"

    return submitted


def test_every_site_is_tested_here() -> None:
    assert sorted(REQUIRED) == sorted(SITES)


@pytest.mark.smoke
@pytest.mark.parametrize("name", SITES)
def test_site_uses_our_executor(name: str) -> None:
    (executor,) = config_of(name).executors
    assert isinstance(executor, PCMExecutor)
    assert executor.label == "pcm"
    assert executor.encrypted


@pytest.mark.parametrize("name", SITES)
def test_each_call_gives_a_new_executor(name: str) -> None:
    assert config_of(name).executors[0] is not config_of(name).executors[0]


@pytest.mark.parametrize("name", NEEDS_ARGUMENTS)
def test_site_without_its_arguments_says_what_to_give(name: str) -> None:
    (missing,) = REQUIRED[name]
    with pytest.raises(SiteError, match=rf"{name} needs {missing}: call fresh_config\({missing}="):
        load_config(name)


@pytest.mark.parametrize("name", CLUSTERS)
def test_no_job_is_asked_for_before_there_is_work(name: str) -> None:
    provider = provider_of(name)
    assert (provider.init_blocks, provider.min_blocks) == (0, 0)
    assert provider.limits.max_blocks is not None


def test_local_is_one_block_of_this_machine() -> None:
    executor = config_of("local").executors[0]
    assert type(executor.provider) is LocalProvider
    assert executor.provider.max_blocks == 1
    assert executor.max_workers_per_node == 2


@pytest.mark.parametrize("name", SITES)
def test_title_and_scheduler_are_told(name: str) -> None:
    site = SITES[name]
    assert 20 < len(site.title) < 100
    assert site.scheduler in {"none", "Slurm", "PBS", "HTCondor"}


@pytest.mark.parametrize("name", [name for name in CLUSTERS if not name.endswith("_generic")])
def test_every_fact_has_a_source_and_a_date(name: str) -> None:
    sources = SITES[name].sources
    assert all(re.search(r"read \d{4}-\d\d-\d\d$", source) for source in sources)
    assert any("https://" in source for source in sources)


@pytest.mark.parametrize("name", SITES)
def test_nothing_in_capitals_waits_to_be_replaced(name: str) -> None:
    text = SITES[name].path.read_text()
    assert not re.search(r"YOUR|CHANGE_?ME|TODO|XXX|<[a-z]+>", text)


@pytest.mark.parametrize("name", CLUSTERS)
def test_arguments_are_keywords_that_every_cluster_has(name: str) -> None:
    function = load_function(name)
    parameters = inspect.signature(function).parameters
    assert {each.kind for each in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert {"worker_init", "max_blocks", "address", "run_dir"} <= set(parameters)


def load_function(name: str) -> Callable[..., Config]:
    """Return the function of a site."""
    module = importlib.import_module(f"parsl_pcm.site_configs.{name}")
    return module.fresh_config  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", CLUSTERS)
def test_worker_init_is_in_the_job(name: str, submit: Callable[..., str], tmp_path: Path) -> None:
    for flavour in provider_of(name, worker_init="module load mine").flavours:
        given = submit(flavour)
        scripts = [path.read_text() for path in tmp_path.glob("*.script")]
        assert "\nmodule load mine\n" in "\n".join(["", given, *scripts, ""])


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("slurm_generic", ["--partition=preempt", "--gres=gpu:1", "--cpus-per-task=4"]),
        ("anvil", ["--partition=gpu", "--gpus-per-node=1", "--account=acct"]),
        ("expanse", ["--partition=gpu-preempt", "--gpus-per-node=1", "--mem=32g"]),
        ("great_lakes", ["--partition=spgpu", "--gpus-per-node=1", "--account=acct"]),
        ("hyak", ["--partition=ckpt-all", "--gpus-per-node=1", "--account=acct"]),
        ("perlmutter", ["--qos=preempt", "--constraint=gpu", "--gpus-per-node=4", "--time=360"]),
    ],
)
def test_slurm_site_submits_what_the_site_needs(
    name: str, lines: list[str], submit: Callable[..., str]
) -> None:
    (flavour,) = provider_of(name).flavours
    given = submit(flavour)
    assert not [line for line in lines if f"#SBATCH {line}\n" not in given + "\n"]
    assert "--exclusive" not in given


@pytest.mark.parametrize(
    ("name", "partitions"),
    [
        ("delta", ["gpuA100x4-preempt", "gpuA40x4-preempt"]),
        ("pace", ["gpu-h200", "gpu-h100", "gpu-a100", "gpu-l40s", "gpu-rtx6000", "gpu-v100"]),
    ],
)
def test_sites_of_many_partitions_have_a_flavour_each_the_fastest_first(
    name: str, partitions: list[str], submit: Callable[..., str]
) -> None:
    flavours = provider_of(name).flavours
    by_speed = sorted(flavours, key=lambda each: -(each.speed or 0))
    for flavour in flavours:
        assert f"#SBATCH --partition={flavour.partition}\n" in submit(flavour)
    assert {flavour.partition for flavour in flavours} == set(partitions)
    assert by_speed[0].partition == partitions[0]


def test_pace_stays_under_the_free_qos(submit: Callable[..., str]) -> None:
    (flavour,) = provider_of("pace", partitions=("gpu-a100-X",)).flavours
    given = submit(flavour)
    assert "#SBATCH --qos=embers\n" in given
    assert "#SBATCH --partition=gpu-a100-X\n" in given


def test_pace_takes_partitions_that_it_does_not_know() -> None:
    (flavour,) = provider_of("pace", partitions=("gpu-b200",)).flavours
    assert flavour.gpu_memory is None


def test_types_of_gpu_are_flavours_of_their_own(submit: Callable[..., str]) -> None:
    flavours = provider_of("slurm_generic", gpu_types=("a100", "l40s")).flavours
    assert [flavour.gpu_type for flavour in flavours] == ["a100", "l40s"]
    assert "#SBATCH --gres=gpu:l40s:1\n" in submit(flavours[1])


def test_bridges2_knows_the_memory_of_its_types(submit: Callable[..., str]) -> None:
    flavours = {flavour.gpu_type: flavour for flavour in provider_of("bridges2").flavours}
    assert flavours["v100-32"].gpu_memory == 32 * 10**9
    assert "#SBATCH --gpus-per-node=h100-80:1\n" in submit(flavours["h100-80"])
    assert flavours["h100-80"].speed > flavours["l40s-48"].speed


def test_perlmutter_knows_its_larger_gpus() -> None:
    (flavour,) = provider_of("perlmutter", constraint="gpu&hbm80g").flavours
    assert flavour.gpu_memory == 80 * 10**9


def test_larger_blocks_are_asked_for_where_contexts_need_them(submit: Callable[..., str]) -> None:
    flavour = provider_of("delta").flavours[0]
    assert "#SBATCH --gpus-per-node=4\n" in submit(flavour, 4)


def test_polaris_submits_what_the_site_needs(submit: Callable[..., str]) -> None:
    (flavour,) = provider_of("polaris").flavours
    given = submit(flavour)
    assert "#PBS -l select=1:ncpus=64:ngpus=4:system=polaris\n" in given
    assert "#PBS -l filesystems=home:eagle\n" in given
    assert re.match(r"qsub .*-q preemptable -A acct ", given)


def test_pbs_generic_submits_what_it_is_told(submit: Callable[..., str]) -> None:
    provider = provider_of("pbs_generic", select_options="gpu_model=a100", account="acct")
    given = submit(provider.flavours[0])
    assert "#PBS -l select=1:ncpus=4:ngpus=1:mem=16gb:gpu_model=a100\n" in given
    assert re.match(r"qsub .*-q gpu -A acct ", given)


def test_htcondor_generic_submits_what_it_is_told(submit: Callable[..., str]) -> None:
    (flavour,) = provider_of("htcondor_generic", min_capability=8.0, min_memory_gb=20).flavours
    given = submit(flavour)
    assert "\nrequest_gpus = 1\n" in given
    assert "\ngpus_minimum_capability = 8.0\n" in given
    assert "\ngpus_minimum_memory = 20000\n" in given
    assert flavour.gpu_memory == 20 * 10**9


def test_notre_dame_asks_for_gpus_that_todays_engines_can_use(submit: Callable[..., str]) -> None:
    (flavour,) = provider_of("notre_dame_crc").flavours
    given = submit(flavour)
    assert "\ngpus_minimum_capability = 7.0\n" in given
    assert "\nRequestCpus = 2\n" in given
