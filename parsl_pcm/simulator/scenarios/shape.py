"""Whether each value of a scenario is one that may stand there: types, ranges, keys."""

from __future__ import annotations

import difflib
import enum
import functools
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from parsl_pcm.requirements import parse_memory
from parsl_pcm.simulator.scenario import SIZE, Scenario

MAX_SHOWN = 60
"""Characters of a value in a message."""


def find_misshapen(data: object) -> Iterator[str]:
    """Yield what is wrong with the values of a scenario, each looked at by itself."""
    yield from _in_table(Scenario, data, "")


def describe(kind: Any) -> str:
    """Return what values of this type may be."""
    if found := list(_descriptions(kind)):
        return found[0]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "one of " + ", ".join(repr(member.value) for member in kind)
    table, is_list = _table_in(kind)
    if table is not None:
        return "one or more tables" if is_list else "a table"
    return "true or false" if kind is bool else "a text in quotes"


def _in_table(kind: type[Struct], data: object, where: str) -> Iterator[str]:
    name = where or "the scenario"
    if not isinstance(data, Mapping):
        yield f"{name} is {_show(data)}, but must be a table of keys and values"
        return
    hints = _hints_of(kind)
    for key in data:
        if key not in hints:
            yield f"{name} has the key {key!r}, which is unknown; {_near(str(key), list(hints))}"
    for field in _fields_of(kind):
        if field.name in data:
            place = f"{where}.{field.name}" if where else field.name
            yield from _in_value(hints[field.name], data[field.name], place)
        elif field.required:
            yield f"{name} lacks {field.name}; add it: {describe(hints[field.name])}"


@functools.cache
def _hints_of(kind: type[Struct]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@functools.cache
def _fields_of(kind: type[Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def _in_value(kind: Any, value: object, where: str) -> Iterator[str]:
    table, is_list = _table_in(kind)
    if table is None:
        yield from _in_leaf(kind, value, where)
    elif is_list:
        yield from _in_list(table, value, where)
    elif value is not None or type(None) not in get_args(kind):
        yield from _in_table(table, value, where)


def _in_list(table: type[Struct], value: object, where: str) -> Iterator[str]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        yield f"{where} must be a list of tables; write [[{where}]] above each of them"
        return
    for number, part in enumerate(value):
        yield from _in_table(table, part, f"{where}[{number}]")


def _in_leaf(kind: Any, value: object, where: str) -> Iterator[str]:
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, UnicodeEncodeError):
        yield f"{where} is {_show(value)}, but must be {describe(kind)}"
        return
    if isinstance(value, str) and SIZE in _descriptions(kind):
        try:
            parse_memory(where, value, "a scenario")
        except ValueError as error:
            yield str(error)


def _table_in(kind: Any) -> tuple[type[Struct] | None, bool]:
    """Return the kind of table that a value is made of, and whether it is a list of them."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return kind, False
    for part in get_args(kind) if get_origin(kind) in (tuple, types.UnionType, Union) else ():
        table, _ = _table_in(part)
        if table is not None:
            return table, get_origin(kind) is tuple
    return None, False


def _descriptions(kind: Any) -> Iterator[str]:
    """Yield what the parts of a type say of themselves, the whole before its parts."""
    if get_origin(kind) is Annotated:
        metas = [meta for meta in kind.__metadata__ if isinstance(meta, Meta)]
        yield from (meta.description for meta in metas if meta.description)
    for part in get_args(kind):
        yield from _descriptions(part)


def _near(wrong: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(wrong, names, n=3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"it may have: {', '.join(names)}"


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
