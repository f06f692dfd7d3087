"""What a user may ask for in ``@context(...)``, checked and turned into Requirements."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    gpu_type: str | Iterable[str] | None
    """A part of the GPU's name, as in ``"A100"``, or several to choose from; capitals do not
    matter. None (default): any GPU."""
    max_concurrency: int
    """How many calls may use it at the same time, default 1."""
    setup_timeout_s: float
    """A set-up that takes longer is ended and counts as failed, default 1800."""
    keep_warm_s: float | None
    """So long it stays where it is without work, whoever wants the room. None (default): as seems
    best."""
    can_sleep: bool
    """Whether the live object has the methods ``sleep()``, which frees the memory of the GPU, and
    ``wake()``. Default False."""
    imports: str | Iterable[str]
    """Modules that take long to import, as in ``["torch", "vllm"]``: a process may have done that
    before it is needed."""
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
    """Return what one process needs that holds several contexts at once; at least one is given.

    Raises
    ------
    ValueError
        If no GPU is of the types that each of them wants.
    """
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
        gpu_types=functools.reduce(_common_types, (part.gpu_types for part in parts)),
        keep_warm_s=_largest([part.keep_warm_s for part in parts]),
        can_sleep=all(part.can_sleep for part in parts),
        imports=_distinct(name for part in parts for name in part.imports),
    )


def is_covered(later: Requirements, earlier: Requirements) -> bool:
    """Whether every node and device that the later ones match is matched by the earlier ones.

    Cores that are not given count as none: every node has as many as the executor's default.
    """
    return (
        earlier.gpus <= later.gpus
        and earlier.host_memory_bytes <= later.host_memory_bytes
        and (earlier.cores or 0.0) <= (later.cores or 0.0)
        and (earlier.gpu_memory_bytes or 0) <= (later.gpu_memory_bytes or 0)
        and (earlier.min_compute_capability or 0.0) <= (later.min_compute_capability or 0.0)
        and _are_types_covered(later.gpu_types, earlier.gpu_types)
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


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _common_types(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Return parts of names that a GPU must have one of, to be of both kinds."""
    if not one or not other:
        return one or other
    common = _distinct(max(a, b, key=len) for a in one for b in other if a in b or b in a)
    if not common:
        raise ValueError(
            f"contexts that would share a process want GPUs of different types: gpu_type={one} and "
            f"gpu_type={other}; give them one that both can use"
        )
    return common


def _are_types_covered(later: tuple[str, ...], earlier: tuple[str, ...]) -> bool:
    """Whether every name of a GPU that the later ones accept is accepted by the earlier ones."""
    if not earlier:
        return True
    return bool(later) and all(any(part in wanted for part in earlier) for wanted in later)


def _check_gpu_options(requirements: Requirements) -> None:
    if requirements.gpus:
        return
    given = {
        "gpu_memory": requirements.gpu_memory_bytes,
        "min_compute_capability": requirements.min_compute_capability,
        "gpu_type": requirements.gpu_types or None,
    }
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name}={value} is given for a context with gpus=0: add gpus=1, or leave {name} "
                f"out (give {name}=None if the recipe has it from another one)"
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


def _check_flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        _refuse(name, value, "True or False")
    return value


def _check_types(name: str, value: Any) -> tuple[str, ...]:
    texts = _check_texts(
        name, value, 'a part of the name of a GPU, as in "A100", or a list of such'
    )
    if not all(text.strip() for text in texts):
        raise ValueError(f"{name}={value!r} of a context has an empty text, which every GPU has")
    return _distinct(text.strip().lower() for text in texts)


def _check_modules(name: str, value: Any) -> tuple[str, ...]:
    modules = _check_texts(name, value, 'a list of names of modules, as in ["torch", "vllm"]')
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")):
            raise ValueError(
                f"{name} of a context has {module!r}, which names no module: write it as in an "
                "import statement"
            )
    return _distinct(modules)


def _check_texts(name: str, value: Any, wanted: str) -> tuple[str, ...]:
    texts = () if value is None else (value,) if isinstance(value, str) else value
    if not isinstance(texts, Iterable):
        _refuse(name, value, wanted)
    texts = tuple(texts)
    for text in texts:
        if not isinstance(text, str):
            _refuse(name, value, wanted)
    return texts


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
    "gpu_type": _Option("gpu_types", _check_types),
    "max_concurrency": _Option("max_concurrency", _check_count),
    "setup_timeout_s": _Option("setup_timeout_s", _check_positive),
    "keep_warm_s": _Option("keep_warm_s", _check_positive_or_none),
    "can_sleep": _Option("can_sleep", _check_flag),
    "imports": _Option("imports", _check_modules),
}
