"""A site file of the user's, made of a batch job script that works."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from parsl_pcm.cli.job_request import JobRequest
from parsl_pcm.cli.job_script import JobScript, read_job_script
from parsl_pcm.cli.pbs_directives import pbs_request
from parsl_pcm.cli.slurm_directives import slurm_request

MAX_BLOCKS = 8
"""Unless the script asks for several nodes."""

_TEMPLATE = '''"""Site made of the job script {script}: yours to change.

Scheduler: {scheduler}
"""

from parsl.config import Config

from parsl_pcm import PCMExecutor
from parsl_pcm.provider import OpportunisticProvider, {function}

WORKER_INIT = {worker_init}
SCHEDULER_OPTIONS = {scheduler_options}


def fresh_config(
    *,
    max_blocks: int = {max_blocks},
    address: str | None = None,
    run_dir: str = "runinfo",
) -> Config:
    """Return a configuration for blocks of {block}, none before there is work."""
    flavour = {function}(
{arguments}
    )
    provider = OpportunisticProvider([flavour], max_blocks=max_blocks)
    executor = PCMExecutor(label="pcm", provider=provider, address=address)
    return Config(executors=[executor], run_dir=run_dir, usage_tracking=0)
'''


@dataclass(frozen=True)
class MadeSite:
    """A site file, and what the user should know of how it came about."""

    source: str
    notes: tuple[str, ...]


def site_from_script(text: str, script_name: str) -> MadeSite:
    """Return the source of a site file that asks for what the script asks for.

    Raises
    ------
    SiteError
        The script cannot be read.
    """
    script = read_job_script(text)
    read = slurm_request if script.prefix == "#SBATCH" else pbs_request
    request = read(script.directives)
    source = _source(request, script, script_name)
    return MadeSite(source, tuple(_notes(request, script)))


def _source(request: JobRequest, script: JobScript, script_name: str) -> str:
    arguments = dict(_arguments(request))
    return _TEMPLATE.format(
        script=script_name.replace("\\", "/").replace('"', "'"),
        scheduler="Slurm" if request.scheduler == "slurm" else "PBS",
        function=f"{request.scheduler}_flavour",
        worker_init=_text(script.preparation),
        scheduler_options=_text(request.scheduler_options),
        max_blocks=max(request.num_nodes, 1) if request.num_nodes > 1 else MAX_BLOCKS,
        block=_block(request),
        arguments="\n".join(f"        {name}={value}," for name, value in arguments.items()),
    )


def _arguments(request: JobRequest) -> Iterator[tuple[str, str]]:
    """Yield name and source of each argument of the flavour that the script speaks of."""
    is_slurm = request.scheduler == "slurm"
    values = {
        "partition" if is_slurm else "queue": request.partition,
        "account": request.account,
        "qos": request.qos,
        "constraint": request.constraint,
        "gpu_type": request.gpu_type,
        "select_options": request.select_options or None,
    }
    for name, value in values.items():
        if value is not None:
            yield name, _quoted(value)
    if is_slurm and not request.uses_gres:
        yield "gres", "None"
    if request.requeue:
        yield "requeue", "True"
    yield "gpus_per_block", str(request.num_gpus)
    yield from _shares(request)
    yield "walltime", _quoted(request.walltime)
    yield "worker_init", "WORKER_INIT"
    yield "scheduler_options", "SCHEDULER_OPTIONS"


def _shares(request: JobRequest) -> Iterator[tuple[str, str]]:
    num_parts = max(request.num_gpus, 1)
    if request.num_cores is not None:
        yield "cores_per_gpu", str(math.ceil(request.num_cores / num_parts))
    memory_gb = request.memory_gb
    yield "mem_gb_per_gpu", "None" if memory_gb is None else str(math.ceil(memory_gb / num_parts))


def _notes(request: JobRequest, script: JobScript) -> Iterator[str]:
    yield f"a block asks for {_block(request)} for {request.walltime}"
    if request.num_nodes > 1:
        yield (
            f"the script wants {request.num_nodes} nodes in one job: here each is a block of its "
            f"own, and max_blocks is {request.num_nodes}"
        )
    if request.num_gpus == 0:
        yield "the script asks for no GPUs: if nodes have some all the same, set gpus_per_block"
    if request.num_cores is None:
        yield "the script asks for no number of cores: 4 with each GPU"
    for line in request.scheduler_options:
        yield f"kept as it is: {line}"
    yield from request.notes
    yield from script.notes
    if script.preparation:
        yield f"worker_init has the {len(script.preparation)} lines before the program"
    if script.program:
        yield f"the program, where reading stopped, is: {script.program}"


def _block(request: JobRequest) -> str:
    if request.num_gpus == 0:
        return "a node's CPUs" if request.num_cores is None else f"{request.num_cores} cores"
    kind = f" {request.gpu_type}" if request.gpu_type else ""
    plural = "s" if request.num_gpus > 1 else ""
    return f"{request.num_gpus}{kind} GPU{plural}"


def _text(lines: Sequence[str]) -> str:
    """Return the source of a string of several lines."""
    if not lines:
        return '""'
    items = "".join(f"        {_quoted(line)},\n" for line in lines)
    return f'"\\n".join(\n    [\n{items}    ]\n)'


def _quoted(text: str) -> str:
    """Return a string literal; those of JSON are Python's too."""
    return json.dumps(text, ensure_ascii=False)
