"""A scenario as the TOML that it may be read from again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from parsl_pcm.simulator.scenario import Scenario

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(scenario: Scenario) -> str:
    """Return the scenario as TOML, without what is as it would be anyway."""
    values, tables = [], []
    for name, value in _said(scenario):
        if isinstance(value, Struct):
            tables += ["", f"[{name}]", *_lines(value)]
        elif isinstance(value, tuple) and isinstance(value[0], Struct):
            tables += [line for part in value for line in ("", f"[[{name}]]", *_lines(part))]
        else:
            values.append(f"{name} = {_inline(value)}")
    return "\n".join([*values, *tables])


def _said(struct: Struct) -> Iterator[tuple[str, Any]]:
    """Yield the fields that differ from their defaults."""
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        if field.required or (value != field.default and value not in ((), {}, None)):
            yield field.name, value


def _lines(struct: Struct) -> Iterator[str]:
    return (f"{name} = {_inline(value)}" for name, value in _said(struct))


def _inline(value: Any) -> str:
    if isinstance(value, Struct):
        return "{ " + ", ".join(_lines(value)) + " }"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_inline(each)}" for k, each in value.items()) + " }"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    # What JSON and TOML have in common.
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=False)


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)
