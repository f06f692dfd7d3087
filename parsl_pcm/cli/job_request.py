"""What a job script asks for, in the words of our flavours; whatever else it says is kept."""

from __future__ import annotations

from dataclasses import dataclass

UNSET_WALLTIME = "01:00:00"
"""For scripts that leave it to the site: pilot jobs need to know their end."""


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """One job, as our flavours describe a block."""

    scheduler: str
    """``slurm`` or ``pbs``."""
    partition: str | None = None
    """PBS: the queue."""
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpu_type: str | None = None
    """As the script has it, which is the site's name for it."""
    num_gpus: int = 0
    """On each node."""
    uses_gres: bool = False
    """Slurm: whether GPUs are asked for with ``--gres``, rather than ``--gpus-per-node``."""
    num_cores: int | None = None
    """On each node."""
    memory_gb: int | None = None
    """On each node, rounded up."""
    walltime: str = UNSET_WALLTIME
    """HH:MM:SS."""
    num_nodes: int = 1
    requeue: bool = False
    """Whether the site shall start a job again itself after it took it back."""
    select_options: str = ""
    """PBS: further resources of a chunk, ``name=value`` joined by colons."""
    scheduler_options: tuple[str, ...] = ()
    """Directive lines that are passed on as they are."""
    notes: tuple[str, ...] = ()
    """Sentences for the user: what was left out or changed, and why."""


UNFIT_FOR_PILOTS = {
    "array": "the number of jobs follows the work, up to max_blocks",
    "dependency": "blocks start when there is work and room",
    "job-name": "Parsl names its jobs",
    "output": "Parsl keeps the output of its jobs in the run directory",
    "error": "Parsl keeps the output of its jobs in the run directory",
    "input": "workers get their work over the network",
    "open-mode": "the output of a job is always appended to here",
    "mail-type": "there would be a mail for each block",
    "mail-user": "there would be a mail for each block",
    "chdir": "workers start in their own folder",
    "wait": "it would make the submission hang",
    "hold": "a held job never starts by itself",
    "signal": "workers listen for SIGTERM",
    "parsable": "Parsl reads sbatch's usual answer",
}
"""Options that make no sense for a job that waits for work, and why."""


def left_out(option: str, name: str) -> str:
    """Return the sentence about an option that makes no sense for a pilot job."""
    return f"left out: {option}, for {UNFIT_FOR_PILOTS[name]}"


def hours_minutes_seconds(seconds: int) -> str:
    """Return a walltime as HH:MM:SS."""
    minutes, rest_s = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest_s:02}"
