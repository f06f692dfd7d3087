"""What a user may ask for in ``@context(...)``, checked and turned into Requirements."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, TypedDict

import msgspec

from parsl_pcm.types import Requirements

_BYTES_OF_UNIT = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_UNIT_OF_LOWER = {unit.lower(): unit for unit in _BYTES_OF_UNIT}
_MEMORY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


class ContextOptions(TypedDict, total=False):
    """Keyword arguments of ``@context`` and of :meth:`ContextRecipe.options`."""

    gpus: int
    """Whole GPUs of one node; 0 (default): a context that runs on CPUs."""
    gpu_memory: str | int | None
    """On each GPU: ``"6 GB"``, ``"6 GiB"`` or a number of bytes. None (default): all of it."""
    host_memory: str | int
    """Main memory, in the same forms. 0 (default): not accounted for."""
    cores: float | None
    """CPU cores of its own. None (default): the executor's ``cores_per_worker``."""
    min_compute_capability: float | None
    """For example 8.0. None (default): any GPU."""
    max_concurrency: int
    """How many calls may use it at the same time, default 1."""
    setup_timeout_s: float
    """A set-up that takes longer is ended and counts as failed, default 1800."""
    env: Mapping[str, str] | None
    """Environment variables of the process that holds it."""


class _Option(NamedTuple):
    field: str
    """Of Requirements."""
    check: Callable[[str, Any], Any]


def change_requirements(current: Requirements, options: Mapping[str, Any]) -> Requirements:
    """Return the requirements with the given options (all but ``env``) in place of their values.

    Raises
    ------
    TypeError
        Unknown option, or a value of a wrong type.
    ValueError
        A value, or a combination of values, that cannot be.
    """
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise TypeError(
            f"@context has no option {unknown[0]!r}; its options are: {', '.join(_OPTIONS)}, env"
        )
    changes = {
        _OPTIONS[name].field: _OPTIONS[name].check(name, value) for name, value in options.items()
    }
    changed = msgspec.structs.replace(current, **changes)
    _check_gpu_options(changed)
    return changed


def check_env(env: object) -> dict[str, str]:
    """Return a copy of the environment variables of a context.

    Raises
    ------
    TypeError, ValueError
        If they are no mapping of names to strings. Values are never shown: they may be secrets.
    """
    if env is None:
        return {}
    if not isinstance(env, Mapping):
        _refuse("env", env, "a dict of strings, for example {'HF_HUB_OFFLINE': '1'}")
    for name, value in env.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(
                f"env of a context maps strings to strings, but {name!r} is given as "
                f"{type(value).__name__}: write str(...) around the value"
            )
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(f"env of a context has {name!r}, which no environment can hold")
    return dict(env)


def combine_requirements(parts: Sequence[Requirements]) -> Requirements:
    """Return what one process needs that holds several contexts at once; at least one is given."""
    on_gpus = [part.gpu_memory_bytes for part in parts if part.gpus]
    given = [memory for memory in on_gpus if memory is not None]
    return Requirements(
        gpus=max(part.gpus for part in parts),
        gpu_memory_bytes=sum(given) if given and len(given) == len(on_gpus) else None,
        host_memory_bytes=sum(part.host_memory_bytes for part in parts),
        cores=_largest([part.cores for part in parts]),
        min_compute_capability=_largest([part.min_compute_capability for part in parts]),
        max_concurrency=min(part.max_concurrency for part in parts),
        setup_timeout_s=sum(part.setup_timeout_s for part in parts),
    )


def parse_memory(name: str, value: Any, owner: str = "a context") -> int:
    """Return the number of bytes that a person means by ``"6 GB"``, ``"6 GiB"`` or a number.

    Parameters
    ----------
    name, owner
        What the value is and whose, for messages.

    Raises
    ------
    TypeError, ValueError
        If it is no size, or a negative one.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        wanted = 'a size like "6 GB" or "6 GiB", or a whole number of bytes'
        _refuse(name, value, wanted, owner)
    num_bytes = _parse_size(name, value, owner) if isinstance(value, str) else value
    if num_bytes < 0:
        raise ValueError(f"{name}={value!r} of {owner} must not be negative")
    return num_bytes


def _largest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _check_gpu_options(requirements: Requirements) -> None:
    if requirements.gpus:
        return
    if requirements.gpu_memory_bytes is not None:
        raise ValueError(
            f"gpu_memory={requirements.gpu_memory_bytes} is given for a context with gpus=0: "
            "add gpus=1, or leave gpu_memory out"
        )
    if requirements.min_compute_capability is not None:
        raise ValueError(
            f"min_compute_capability={requirements.min_compute_capability} is given for a context "
            "with gpus=0: add gpus=1, or leave min_compute_capability out"
        )


def _check_count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        _refuse(name, value, "a whole number")
    minimum = 0 if name == "gpus" else 1
    if value < minimum:
        raise ValueError(f"{name}={value} of a context must be at least {minimum}")
    return value


def _check_positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(name, value, "a number")
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name}={value} of a context must be finite and above 0")
    return float(value)


def _check_positive_or_none(name: str, value: Any) -> float | None:
    return None if value is None else _check_positive(name, value)


def _check_memory_or_none(name: str, value: Any) -> int | None:
    if value is None:
        return None
    num_bytes = parse_memory(name, value)
    if num_bytes == 0:
        raise ValueError(f"{name}={value!r} of a context must be above 0; None means all of it")
    return num_bytes


def _parse_size(name: str, text: str, owner: str) -> int:
    match = _MEMORY.fullmatch(text)
    unit = _UNIT_OF_LOWER.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(
            f"{name}={text!r} of {owner} is not understood: write a number and one of the units "
            f'{", ".join(_BYTES_OF_UNIT)}, for example "6 GB"'
        )
    return round(float(match[1]) * _BYTES_OF_UNIT[unit])


def _refuse(name: str, value: object, wanted: str, owner: str = "a context") -> NoReturn:
    raise TypeError(f"{name} of {owner} must be {wanted}, not {type(value).__name__} ({value!r})")


_OPTIONS = {
    "gpus": _Option("gpus", _check_count),
    "gpu_memory": _Option("gpu_memory_bytes", _check_memory_or_none),
    "host_memory": _Option("host_memory_bytes", parse_memory),
    "cores": _Option("cores", _check_positive_or_none),
    "min_compute_capability": _Option("min_compute_capability", _check_positive_or_none),
    "max_concurrency": _Option("max_concurrency", _check_count),
    "setup_timeout_s": _Option("setup_timeout_s", _check_positive),
}
