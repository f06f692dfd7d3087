"""A job script becomes a site file that asks for the same."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from parsl_pcm.cli.from_script import site_from_script
from parsl_pcm.cli.job_request import JobRequest
from parsl_pcm.cli.job_script import read_job_script
from parsl_pcm.cli.pbs_directives import pbs_request
from parsl_pcm.cli.slurm_directives import slurm_request
from parsl_pcm.sites import SiteError, load_config

DELTA = """#!/bin/bash
#SBATCH --job-name=train            # shown by squeue
#SBATCH --mem=64g
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --partition=gpuA100x4-preempt
#SBATCH --account=bbka-delta-gpu
#SBATCH --constraint="scratch&projects"
#SBATCH --gpus-per-node=1
#SBATCH --gpu-bind=closest
#SBATCH -t 04:00:00
#SBATCH --requeue
#SBATCH -e slurm-%j.err
#SBATCH -o slurm-%j.out
##SBATCH --qos=commented-out

module reset && module load anaconda3_gpu
source /projects/bbka/venv/bin/activate
echo "job is starting on `hostname`"
srun python3 train.py
"""
HYAK = """#!/bin/bash
#SBATCH -A anantram-ckpt -p ckpt-all -c4 --mem=32G -t 1-02
#SBATCH --gres=gpu:a40:2
#SBATCH --exclude=g3070,g3071
#SBATCH --array=0-9%2
set -euo pipefail
cd $SLURM_SUBMIT_DIR
eval "$(conda shell.bash hook)"
conda activate llm
export HF_HOME=/gscratch/scrubbed/$USER/hf
python -u run.py --task "$SLURM_ARRAY_TASK_ID"
"""
PERLMUTTER = """#!/bin/bash
#SBATCH -A m2616_g
#SBATCH -C gpu&hbm80g
#SBATCH -q preempt
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=32
#SBATCH --time=360
#SBATCH --signal=B:USR1@120
#SBATCH --license=scratch
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
srun uv run main.py fit
"""
BARE = """#!/bin/sh
#SBATCH --gres=gpu:1,lscratch:100
#SBATCH --mem=0
#SBATCH --exclusive
./program
"""
POLARIS = """#!/bin/bash -l
#PBS -N badmerge
#PBS -l select=1:system=polaris:ncpus=64:ngpus=4
#PBS -l walltime=12:00:00,place=scatter
#PBS -q preemptable
#PBS -A SuperBERT
#PBS -l filesystems=home:grand
#PBS -o logs/out
#PBS -r y
set -e
cd /lus/grand/projects/SuperBERT
module use /soft/modulefiles; module load conda
conda activate base
mpiexec -n 4 ./set_affinity.sh python merge.py
"""
TORQUE = """#PBS -l nodes=1:ppn=8:gpus=2,mem=4096mb
#PBS -W depend=afterok:17
#PBS -V
. env.sh
./program
"""
SCRIPTS = {
    "delta": DELTA,
    "hyak": HYAK,
    "perlmutter": PERLMUTTER,
    "bare": BARE,
    "polaris": POLARIS,
    "torque": TORQUE,
}


def request_of(text: str) -> JobRequest:
    """Return what the script asks for."""
    script = read_job_script(text)
    read = slurm_request if script.prefix == "#SBATCH" else pbs_request
    return read(script.directives)


def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Path) -> str:
    """Let the site's flavour submit a job to a stand-in command; return what it was given.

    Options on the command line are shown as a directive: they mean the same.
    """
    for command, answer in [("sbatch", "Submitted batch job 1"), ("qsub", "1.server")]:
        stand_in = tmp_path / command
        stand_in.write_text(
            "#!/bin/sh\nfor last; do :; done\n"
            f'{{ echo "#PBS ${{*%$last}}"; cat "$last"; }} >"{tmp_path}/given"\n'
            f'echo "{answer}"\n'
        )
        stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (flavour,) = load_config(site, address="127.0.0.1").executors[0].provider.flavours
    provider = flavour.block_provider(flavour.gpus_per_block)
    provider.script_dir = str(tmp_path)
    provider.submit("true", tasks_per_node=1)
    return (tmp_path / "given").read_text().removeprefix("#PBS \n")


@pytest.mark.parametrize("name", SCRIPTS)
def test_made_site_submits_what_the_script_asks_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request_of(SCRIPTS[name])
    site = tmp_path / "site.py"
    site.write_text(site_from_script(SCRIPTS[name], f"{name}.sh").source)
    given = submitted(tmp_path, monkeypatch, site)
    got = request_of(given)
    # Ours are in addition, and each node is a job of its own.
    cores = asked.num_cores or 4 * max(asked.num_gpus, 1)
    expected = dataclasses.replace(asked, num_nodes=1, num_cores=cores, notes=())
    ours = {"#PBS -S /bin/bash", "#PBS -r n"}
    kept = tuple(line for line in got.scheduler_options if line not in ours)
    assert dataclasses.replace(got, scheduler_options=kept, notes=()) == expected
    for line in read_job_script(SCRIPTS[name]).preparation:
        assert f"\n{line}\n" in given


def test_slurm_directives_are_understood() -> None:
    assert request_of(DELTA) == JobRequest(
        scheduler="slurm",
        partition="gpuA100x4-preempt",
        account="bbka-delta-gpu",
        constraint="scratch&projects",
        num_gpus=1,
        num_cores=16,
        memory_gb=64,
        walltime="04:00:00",
        requeue=True,
        scheduler_options=("#SBATCH --gpu-bind=closest",),
        notes=(
            "left out: --job-name=train, for Parsl names its jobs",
            "left out: --error=slurm-%j.err, for Parsl keeps the output of its jobs in the run "
            "directory",
            "left out: --output=slurm-%j.out, for Parsl keeps the output of its jobs in the run "
            "directory",
        ),
    )


def test_short_and_joined_options_are_understood() -> None:
    request = request_of(HYAK)
    assert (request.account, request.partition) == ("anantram-ckpt", "ckpt-all")
    assert (request.gpu_type, request.num_gpus, request.uses_gres) == ("a40", 2, True)
    assert (request.num_cores, request.memory_gb) == (4, 32)
    assert request.walltime == "26:00:00"
    assert request.scheduler_options == ("#SBATCH --exclude=g3070,g3071",)
    assert [note.split(",")[0] for note in request.notes] == ["left out: --array=0-9%2"]


def test_gpus_and_cores_of_tasks_are_added_up() -> None:
    request = request_of(PERLMUTTER)
    assert (request.num_gpus, request.num_cores, request.num_nodes) == (4, 128, 4)
    assert request.walltime == "06:00:00"


def test_gres_that_are_no_gpus_are_kept_beside_them() -> None:
    request = request_of(BARE)
    assert (request.num_gpus, request.uses_gres) == (1, False)
    assert request.scheduler_options == (
        "#SBATCH --mem=0",
        "#SBATCH --exclusive",
        "#SBATCH --gres=lscratch:100",
    )


def test_pbs_directives_are_understood() -> None:
    assert request_of(POLARIS) == JobRequest(
        scheduler="pbs",
        partition="preemptable",
        account="SuperBERT",
        num_gpus=4,
        num_cores=64,
        walltime="12:00:00",
        select_options="system=polaris",
        scheduler_options=(
            "#PBS -l place=scatter",
            "#PBS -l filesystems=home:grand",
            "#PBS -r y",
        ),
        notes=(
            "left out: -N badmerge, for Parsl names its jobs",
            "left out: -o logs/out, for Parsl keeps the output of its jobs in the run directory",
        ),
    )


def test_torque_nodes_are_understood() -> None:
    request = request_of(TORQUE)
    assert (request.num_cores, request.num_gpus, request.memory_gb) == (8, 2, 4)
    assert request.scheduler_options == ("#PBS -V",)
    assert request.notes[0].startswith("left out: -W depend=afterok:17")


@pytest.mark.parametrize(
    ("text", "walltime"),
    [
        ("30", "00:30:00"),
        ("90:30", "01:30:30"),
        ("02:03:04", "02:03:04"),
        ("1-0", "24:00:00"),
        ("2-01:30", "49:30:00"),
        ("1-00:00:05", "24:00:05"),
    ],
)
def test_every_form_of_slurm_time_is_read(text: str, walltime: str) -> None:
    assert request_of(f"#SBATCH --time={text}\n").walltime == walltime


@pytest.mark.parametrize(
    ("text", "memory_gb"), [("--mem=500", 1), ("--mem=2T", 2048), ("--mem-per-gpu=10G", 20)]
)
def test_every_form_of_slurm_memory_is_read(text: str, memory_gb: int) -> None:
    assert request_of(f"#SBATCH --gpus=2 {text}\n").memory_gb == memory_gb


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ("--gpus=h100-80:1", ("h100-80", 1)),
        ("-G 2", (None, 2)),
        ("--gpus-per-node=a100", ("a100", 1)),
        ("--gres=gpu", (None, 1)),
        ("--gres=gpu:nvidia_a100:3", ("nvidia_a100", 3)),
        ("--gpus=8 -N2", (None, 4)),
        ("--gpus-per-task=1 -n4", (None, 4)),
        ("", (None, 0)),
    ],
)
def test_every_form_of_slurm_gpus_is_read(gpus: str, expected: tuple[str | None, int]) -> None:
    request = request_of(f"#SBATCH --partition=p {gpus}\n")
    assert (request.gpu_type, request.num_gpus) == expected


def test_reading_stops_at_the_program() -> None:
    script = read_job_script(HYAK + "module load later\n#SBATCH --qos=late\n")
    assert script.preparation == (
        "cd $SLURM_SUBMIT_DIR",
        'eval "$(conda shell.bash hook)"',
        "conda activate llm",
        "export HF_HOME=/gscratch/scrubbed/$USER/hf",
    )
    assert script.program == 'python -u run.py --task "$SLURM_ARRAY_TASK_ID"'
    assert script.notes == (
        "left out: '#SBATCH --qos=late', for it comes after the first command, where schedulers "
        "ignore it",
    )


@pytest.mark.parametrize(
    ("line", "is_preparation"),
    [
        ("ml purge; ml gcc cuda || exit", False),
        ("ml purge; ml gcc cuda", True),
        ("export A=$(squeue | wc -l) B=2", True),
        ("SIF=/images/llm.sif", True),
        ("conda run -n llm python x.py", False),
        ("cd run && python x.py", False),
        ("if [ -f env.sh ]; then . env.sh; fi", False),
        ('export A="open', False),
        ("module load a \\\n  b", True),
    ],
)
def test_lines_that_prepare_are_told_from_programs(line: str, is_preparation: bool) -> None:
    script = read_job_script(f"#SBATCH -p p\n{line}\n")
    assert bool(script.preparation) == is_preparation
    assert bool(script.program) != is_preparation


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("#!/bin/bash\npython x.py\n", "no #SBATCH or #PBS lines"),
        ("#SBATCH -p a\n#PBS -q b\n", "#SBATCH and #PBS lines"),
        ("#BSUB -q gpu\n", "is for LSF"),
        ("#$ -q gpu\n", "is for Grid Engine"),
        ("#SBATCH --gpus=a100:1,v100:1\n", "two types of GPU"),
        ("#SBATCH --mem=lots\n", "memory 'lots' cannot be read"),
        ("#SBATCH --time=soon\n", "time 'soon' cannot be read"),
        ("#SBATCH --nodes=many\n", "--nodes='many' cannot be read"),
        ("#SBATCH partition=gpu\n", "is no option"),
        ('#SBATCH --comment="open\n', "cannot be read: No closing quotation"),
        ("#PBS -l select=1:ngpus=two\n", "ngpus='two' cannot be read"),
        ("#PBS -l walltime=1d\n", "walltime '1d' cannot be read"),
        ("#PBS -l mem=5parsecs\n", "memory '5parsecs' cannot be read"),
        ("#PBS q gpu\n", "is no option"),
    ],
)
def test_script_that_cannot_be_read_is_refused(text: str, problem: str) -> None:
    with pytest.raises(SiteError, match=re.escape(problem)):
        site_from_script(text, "job.sh")


def test_notes_say_what_was_done() -> None:
    notes = site_from_script(PERLMUTTER, "job.sh").notes
    assert notes[0] == "a block asks for 4 GPUs for 06:00:00"
    assert "max_blocks is 4" in notes[1]
    assert "kept as it is: #SBATCH --license=scratch" in notes
    assert notes[-1] == "the program, where reading stopped, is: srun uv run main.py fit"


def test_hostile_words_stay_text(tmp_path: Path) -> None:
    text = '#SBATCH --account=\'a"""b\\n{x}\'\n#SBATCH --gres=gpu:1\nexport A=\'"""{y}\\\'\nrun\n'
    site = tmp_path / "site.py"
    site.write_text(site_from_script(text, 'o"""d\\.sh').source)
    (flavour,) = load_config(site, address="127.0.0.1").executors[0].provider.flavours
    provider = flavour.block_provider(1)
    assert provider.account == 'a"""b\\n{x}'
    assert 'export A=\'"""{y}\\\'' in provider.worker_init
