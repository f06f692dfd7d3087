"""Slurm's answers to ``--json``, from 22.05 to 26.05.

22.05 (plugin openapi/v0.0.38) lists plain nodes and jobs: states are words, flags beside them,
numbers are numbers. From 23.02 on (data_parser v0.0.39 to v0.0.46) ``sinfo`` lists groups of
nodes, single nodes with ``--Node``; states are lists; numbers that may be unset are objects
``{"set", "infinite", "number"}``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from parsl_pcm.provider.schedulers.loose_json import as_dict, as_int, as_list, as_text, loads
from parsl_pcm.provider.schedulers.observations import LookError
from parsl_pcm.provider.schedulers.slurm_rows import JobRow, NodeRow, has_gpus
from parsl_pcm.provider.schedulers.slurm_text import decoded


def node_rows(output: str, gres_name: str) -> list[NodeRow]:
    """Read what ``sinfo --json --Node`` printed; nodes without GPUs are left out.

    Raises
    ------
    LookError
        It is something else.
    """
    answer = _answer(output, "sinfo")
    if "nodes" in answer:
        rows = [row for node in as_list(answer["nodes"]) for row in _plain_node(as_dict(node))]
    elif "sinfo" in answer:
        rows = [_grouped_node(as_dict(node)) for node in as_list(answer["sinfo"])]
    else:
        raise LookError(f"sinfo --json told of no nodes, only of {sorted(answer)}")
    return [row for row in rows if has_gpus(row.gres, gres_name)]


def _plain_node(node: dict[str, Any]) -> Iterator[NodeRow]:
    for partition in as_list(node.get("partitions")):
        yield NodeRow(
            partition=as_text(partition),
            states=_states(node.get("state")) | _states(node.get("state_flags")),
            gres=as_text(node.get("gres")),
            gres_used=as_text(node.get("gres_used")),
            num_idle_cpus=_number(node.get("idle_cpus", node.get("alloc_idle_cpus"))),
        )


def _grouped_node(node: dict[str, Any]) -> NodeRow:
    partition, gres = as_dict(node.get("partition")), as_dict(node.get("gres"))
    partition_state = _states(as_dict(partition.get("partition")).get("state"))
    return NodeRow(
        partition=as_text(partition.get("name")),
        is_partition_up=partition_state <= {"up"},
        states=_states(as_dict(node.get("node")).get("state")),
        gres=as_text(gres.get("total")),
        gres_used=as_text(gres.get("used")),
        num_idle_cpus=_number(as_dict(node.get("cpus")).get("idle")),
    )


def _states(value: Any) -> frozenset[str]:
    words = value if isinstance(value, list) else [value]
    return frozenset(as_text(word).lower() for word in words if as_text(word))


def job_rows(output: str, user: str) -> list[JobRow]:
    """Read what ``squeue --json`` printed; jobs of other users are left out.

    Raises
    ------
    LookError
        It is something else.
    """
    answer = _answer(output, "squeue")
    if "jobs" not in answer:
        raise LookError(f"squeue --json told of no jobs, only of {sorted(answer)}")
    jobs = [as_dict(each) for each in as_list(answer["jobs"])]
    return [_job_row(each) for each in jobs if as_text(each.get("user_id", user)) == user]


def _job_row(job: dict[str, Any]) -> JobRow:
    job_id = _number(job.get("job_id"))
    states = job.get("job_state")
    words = [as_text(word) for word in (states if isinstance(states, list) else [states])]
    if job_id is None or not any(words):
        raise LookError(f"squeue --json did not tell job and state: {str(job)[:200]}")
    return JobRow(
        job_id=str(job_id),
        states=tuple(word.upper() for word in words if word),
        num_restarts=_number(job.get("restart_cnt")) or 0,
        preempted_at_s=_time_s(job.get("preempt_time")),
        ends_at_s=_time_s(job.get("end_time")),
        exit_code=_exit_code(job.get("exit_code")),
        reason=as_text(job.get("state_reason")),
    )


def _answer(output: str, program: str) -> dict[str, Any]:
    answer = loads(output, f"{program} --json")
    if not isinstance(answer, dict):
        raise LookError(f"{program} --json printed no object")
    # 22.05 exits with 0 after a failure, and tells it here.
    errors = [as_text(as_dict(each).get("error")) for each in as_list(answer.get("errors"))]
    if any(errors):
        raise LookError(f"{program} --json failed: {'; '.join(filter(None, errors))}")
    return answer


def _number(value: Any) -> int | None:
    """Return a number in either of Slurm's forms; None if it is unset or infinite."""
    if isinstance(value, dict):
        is_number = value.get("set") is True and value.get("infinite") is not True
        return as_int(value.get("number")) if is_number else None
    return as_int(value)


def _time_s(value: Any) -> float | None:
    number = _number(value)
    return float(number) if number else None


def _exit_code(value: Any) -> int | None:
    """Read a wait status (22.05), or an object with code and signal."""
    if not isinstance(value, dict) or "number" in value:
        number = _number(value)
        return None if number is None else decoded(number)
    signal = as_dict(value.get("signal"))
    number = _number(signal.get("id", signal.get("signal_id")))
    return 128 + number if number else _number(value.get("return_code"))
