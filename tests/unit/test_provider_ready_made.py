from pathlib import Path
from typing import Any

import pytest

from parsl_pcm.launchers import ExecLauncher
from parsl_pcm.provider import (
    Flavour,
    grid_engine_flavour,
    htcondor_flavour,
    local_flavour,
    pbs_flavour,
    slurm_flavour,
)

MAKERS = [
    slurm_flavour,
    htcondor_flavour,
    pbs_flavour,
    grid_engine_flavour,
    local_flavour,
]


def options(flavour: Flavour, num_gpus: int = 1) -> list[str]:
    provider: Any = flavour.block_provider(num_gpus)
    return [line for line in provider.scheduler_options.splitlines() if line]


@pytest.mark.parametrize("make", MAKERS)
def test_nothing_is_held_without_demand_and_the_manager_hears_signals(make: Any) -> None:
    provider = make().block_provider(1)
    assert (provider.init_blocks, provider.min_blocks) == (0, 0)
    assert provider.max_blocks >= 10**5
    assert isinstance(provider.launcher, ExecLauncher)


@pytest.mark.parametrize("make", MAKERS)
def test_limits_go_to_the_flavour(make: Any) -> None:
    flavour = make("mine", max_blocks=3, keep_free=2, gpu_memory="24 GB")
    assert (flavour.name, flavour.max_blocks, flavour.keep_free) == ("mine", 3, 2)
    assert flavour.gpu_memory == 24 * 10**9


def test_slurm_block_is_one_gpu_of_a_shared_node() -> None:
    flavour = slurm_flavour(partition="preempt", gpu_type="a100", account="lab")
    assert flavour.name == "preempt-a100"
    assert options(flavour) == [
        "#SBATCH --open-mode=append",
        "#SBATCH --no-requeue",
        "#SBATCH --signal=B:TERM@30",
        "#SBATCH --partition=preempt",
        "#SBATCH --account=lab",
        "#SBATCH --gres=gpu:a100:1",
    ]
    provider: Any = flavour.block_provider(1)
    assert (provider.cores_per_node, provider.mem_per_node) == (4, 16)


def test_larger_slurm_block_asks_for_more_of_everything() -> None:
    flavour = slurm_flavour(partition="preempt")
    assert "#SBATCH --gres=gpu:4" in options(flavour, 4)
    provider: Any = flavour.block_provider(4)
    assert (provider.cores_per_node, provider.mem_per_node) == (16, 64)


def test_own_signal_and_requeue_take_the_place_of_the_default() -> None:
    flavour = slurm_flavour(
        partition="p",
        gres=None,
        gpu_type="h100",
        requeue=True,
        scheduler_options="#SBATCH --signal=USR1@9",
    )
    assert options(flavour) == [
        "#SBATCH --signal=USR1@9",
        "#SBATCH --open-mode=append",
        "#SBATCH --requeue",
        "#SBATCH --gpus-per-node=h100:1",
        "#SBATCH --partition=p",
    ]


def test_slurm_block_without_gpus_asks_for_none() -> None:
    flavour = slurm_flavour(partition="cpu", gpus_per_block=0, mem_gb_per_gpu=None)
    assert not [line for line in options(flavour, 0) if "gres" in line or "gpus" in line]
    provider: Any = flavour.block_provider(0)
    assert (provider.cores_per_node, provider.mem_per_node) == (4, None)


def test_htcondor_job_that_was_evicted_is_not_started_again() -> None:
    assert options(htcondor_flavour(scheduler_options="+WantGPULab = true")) == [
        "+WantGPULab = true",
        "request_gpus = 1",
        "periodic_remove = (JobStatus == 1) && (NumJobStarts > 0)",
    ]
    assert options(htcondor_flavour(requeue=True), 2) == ["request_gpus = 2"]


def test_pbs_chunk_names_its_gpus_and_memory() -> None:
    flavour = pbs_flavour(queue="preemptable", select_options="gpu_model=a100")
    provider: Any = flavour.block_provider(2)
    assert provider.select_options == "ngpus=2:mem=32gb:gpu_model=a100"
    assert (provider.queue, provider.cpus_per_node, flavour.partition) == (
        "preemptable",
        8,
        "preemptable",
    )
    assert options(flavour) == ["#PBS -r n"]
    assert options(pbs_flavour(scheduler_options="#PBS -r y")) == ["#PBS -r y"]


def test_grid_engine_job_asks_for_the_consumable_of_the_site() -> None:
    assert options(grid_engine_flavour(queue="gpu.q"), 2) == ["#$ -l gpu=2", "#$ -r n"]
    flavour = grid_engine_flavour(gpu_resource=None, scheduler_options="#$ -l cuda=1", requeue=True)
    assert options(flavour) == ["#$ -l cuda=1", "#$ -r y"]


@pytest.mark.parametrize(
    ("make", "command"),
    [(slurm_flavour, "sbatch"), (pbs_flavour, "qsub"), (grid_engine_flavour, "qsub")],
)
def test_submit_script_can_be_written(
    make: Any, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / command).write_text("#!/bin/sh\necho Submitted batch job 7\n")
    (tmp_path / command).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    provider = make(worker_init="module load conda").block_provider(2)
    provider.script_dir = str(tmp_path)
    assert provider.submit("exec the-manager", 1)
    (script,) = tmp_path.glob("parsl*")
    lines = script.read_text().splitlines()
    assert lines.index("module load conda") < lines.index("exec the-manager")
