"""A hash of the content of Python values, functions included: what context keys are made of.

The same content has the same fingerprint in every process and run of one minor version of Python.
Content of a function is its compiled code and what the code refers to, never its name, its file or
its place in the file. Functions and classes of other modules count by name: their content is the
business of the installed version of that module.
"""

from __future__ import annotations

import copyreg
import dis
import functools
import struct
import types
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

_LOADS_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_NO_CONTENT = frozenset(
    {
        "__module__",
        "__qualname__",
        "__doc__",
        "__dict__",
        "__weakref__",
        "__annotations__",
        "__annotate__",
        "__annotate_func__",
        "__annotations_cache__",
        "__firstlineno__",
        "__static_attributes__",
        "__dataclass_fields__",
        "__dataclass_params__",
        "__match_args__",
        "__abstractmethods__",
        "_abc_impl",
    }
)
"""Attributes of a class that follow from the others, or that say where it stands."""
_SLOT_TYPES = (types.MemberDescriptorType, types.GetSetDescriptorType)


class FunctionBody(NamedTuple):
    """A function without the default values of its parameters."""

    function: types.FunctionType


def fingerprint(value: object, *, module: str | None = None) -> str:
    """Return the hash of a value's content: 32 hexadecimal digits.

    Sets and dicts count without their order. An object whose class has ``__fingerprint__()`` counts
    as the value that this method returns; other objects count as what they would be pickled as.

    Parameters
    ----------
    module
        Functions and classes of this module, and of ``__main__``, count by content wherever they
        appear; those of other modules by name. Default: the module of a function or a class.

    Raises
    ------
    TypeError
        If something in the value has no content that could be hashed; says what, and where.
    """
    if module is None and isinstance(value, types.FunctionType | type):
        module = value.__module__
    walker = _Walker(frozenset({"__main__", module}))
    walker.walk(value)
    return walker.hexdigest()


class _Walker:
    """Feeds a value to a hash, piece by piece; each piece with its kind and its length."""

    def __init__(self, modules: frozenset[str | None]) -> None:
        self._modules = modules
        self._hash = blake2b(digest_size=16)
        self._names: list[str] = []
        """Where we are, for error messages."""
        self._open: dict[int, int] = {}
        """Depth by id of the objects that we are inside of: they may contain themselves."""
        self._definitions: dict[int, int] = {}
        """Number by id of the functions and classes met so far: each is walked once."""
        self._kept: list[object] = []
        """Keeps the ids above valid."""

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def walk(self, value: Any) -> None:
        walk_exact = _WALK_OF_TYPE.get(type(value))
        if walk_exact is not None:
            walk_exact(self, value)
        elif isinstance(value, type):
            self._walk_definition(value, self._walk_class)
        elif hasattr(type(value), "__fingerprint__"):
            self._walk_inside(value, lambda: self.walk(value.__fingerprint__()))
        elif isinstance(getattr(value, "__wrapped__", None), types.FunctionType):
            self._feed("wrapper", type(value).__qualname__.encode())
            self.walk(value.__wrapped__)
        else:
            self._walk_inside(value, lambda: self._walk_object(value))

    def _feed(self, kind: str, content: bytes) -> None:
        self._hash.update(f"{kind}:{len(content)}:".encode())
        self._hash.update(content)

    # --- plain values -------------------------------------------------------------------------

    def _walk_plain(self, value: object) -> None:
        self._feed(type(value).__name__, repr(value).encode())

    def _walk_int(self, value: int) -> None:
        self._feed("int", hex(value).encode())

    def _walk_float(self, value: float) -> None:
        self._feed("float", struct.pack("<d", value))

    def _walk_str(self, value: str) -> None:
        self._feed("str", value.encode("utf-8", "surrogatepass"))

    def _walk_bytes(self, value: bytes | bytearray) -> None:
        self._feed(type(value).__name__, bytes(value))

    def _walk_sequence(self, value: list[Any] | tuple[Any, ...]) -> None:
        self._feed(type(value).__name__, str(len(value)).encode())
        self._walk_inside(value, lambda: self._walk_all(value))

    def _walk_all(self, values: Iterable[object]) -> None:
        for value in values:
            self.walk(value)

    def _walk_set(self, value: set[Any] | frozenset[Any]) -> None:
        self._feed(type(value).__name__, b"".join(sorted(map(self._digest_apart, value))))

    def _walk_dict(self, value: dict[Any, Any]) -> None:
        self._feed("dict", str(len(value)).encode())
        self._walk_inside(value, lambda: self._walk_items(value))

    def _walk_items(self, value: dict[Any, Any]) -> None:
        for key in sorted(value, key=self._digest_apart):
            self.walk(key)
            self._walk_named(f"key {key!r}", value[key])

    def _digest_apart(self, value: object) -> bytes:
        """Return a digest that does not depend on what else is walked before or after."""
        apart = _Walker(self._modules)
        apart._names, apart._open = self._names, dict(self._open)
        apart._definitions, apart._kept = dict(self._definitions), self._kept
        apart.walk(value)
        return apart._hash.digest()

    def _walk_module(self, value: types.ModuleType) -> None:
        self._feed("module", value.__name__.encode())

    def _walk_cell(self, value: types.CellType) -> None:
        try:
            content = value.cell_contents
        except ValueError:
            self._feed("cell", b"empty")
        else:
            self.walk(content)

    # --- functions and classes ----------------------------------------------------------------

    def _walk_function(self, value: types.FunctionType) -> None:
        self._walk_definition(value, self._walk_function_content)

    def _walk_function_content(self, function: types.FunctionType) -> None:
        self._walk_body(function)
        self._walk_named("its defaults", function.__defaults__)
        self._walk_named("its defaults", function.__kwdefaults__)

    def _walk_body_alone(self, value: FunctionBody) -> None:
        (function,) = value
        self._walk_inside(function, lambda: self._walk_body(function))

    def _walk_body(self, function: types.FunctionType) -> None:
        self._names.append(f"function {function.__qualname__!r}")
        self._feed("function", b"")
        self.walk(function.__code__)
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=False
        ):
            self._walk_named(f"variable {name!r}", cell)
        for name in sorted(_global_names(function.__code__)):
            if name in function.__globals__:
                self.walk(name)
                self._walk_named(f"global {name!r}", function.__globals__[name])
        self._names.pop()

    def _walk_code(self, code: types.CodeType) -> None:
        self._feed("code", code.co_code)
        self._walk_plain((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount))
        self._walk_plain(code.co_flags)
        self._walk_bytes(getattr(code, "co_exceptiontable", b""))
        for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
            self.walk(names)
        self._walk_all(_constants(code))

    def _walk_class(self, value: type) -> None:
        self._names.append(f"class {value.__qualname__!r}")
        self._feed("class", b"")
        self.walk(value.__bases__)
        for name, attribute in sorted(vars(value).items()):
            if name not in _NO_CONTENT and not isinstance(attribute, _SLOT_TYPES):
                self.walk(name)
                self._walk_named(f"attribute {name!r}", attribute)
        self._names.pop()

    def _walk_definition(self, value: Any, walk_content: Callable[[Any], None]) -> None:
        if id(value) in self._definitions:
            self._feed("seen", str(self._definitions[id(value)]).encode())
            return
        self._definitions[id(value)] = len(self._definitions)
        self._kept.append(value)
        has_own_content = value.__module__ in self._modules and value.__module__ != "builtins"
        if has_own_content or "<" in value.__qualname__:
            self._walk_inside(value, lambda: walk_content(value))
        else:
            self._feed("named", f"{value.__module__}:{value.__qualname__}".encode())

    def _walk_descriptor(self, value: staticmethod[..., Any] | classmethod[Any, ..., Any]) -> None:
        self._feed(type(value).__name__, b"")
        self.walk(value.__func__)

    def _walk_property(self, value: property) -> None:
        self._walk_sequence((value.fget, value.fset, value.fdel))

    def _walk_cached_property(self, value: functools.cached_property[Any]) -> None:
        self._feed("cached_property", b"")
        self.walk(value.func)

    def _walk_method(self, value: types.MethodType) -> None:
        self._walk_sequence((value.__func__, value.__self__))

    # --- other objects ------------------------------------------------------------------------

    def _walk_object(self, value: object) -> None:
        reduced = self._reduce(value)
        if isinstance(reduced, str):
            self._feed("named", f"{getattr(value, '__module__', None)}:{reduced}".encode())
            return
        function, args, state, items, pairs = (*reduced, None, None, None)[:5]
        self._feed("object", b"")
        self._walk_all((function, args, state))
        self._walk_all(items or ())
        self._walk_dict(dict(pairs or ()))

    def _reduce(self, value: Any) -> Any:
        reducer = copyreg.dispatch_table.get(type(value))
        try:
            return reducer(value) if reducer else value.__reduce_ex__(4)
        except Exception as error:
            raise TypeError(
                f"{self._where()} is a {type(value).__module__}.{type(value).__qualname__}, whose "
                f"content cannot be hashed ({error}): make it inside the set-up function, or give "
                "the function what it is made from"
            ) from error

    # --- the path through the value -----------------------------------------------------------

    def _walk_named(self, name: str, value: object) -> None:
        self._names.append(name)
        self.walk(value)
        self._names.pop()

    def _walk_inside(self, value: object, walk_content: Callable[[], None]) -> None:
        if id(value) in self._open:
            self._feed("inside", str(self._open[id(value)]).encode())
            return
        self._open[id(value)] = len(self._open)
        walk_content()
        del self._open[id(value)]

    def _where(self) -> str:
        return " of ".join(reversed(self._names)) if self._names else "the value"


_WALK_OF_TYPE: dict[type, Callable[[_Walker, Any], None]] = {
    type(None): _Walker._walk_plain,
    bool: _Walker._walk_plain,
    int: _Walker._walk_int,
    complex: _Walker._walk_plain,
    range: _Walker._walk_plain,
    type(Ellipsis): _Walker._walk_plain,
    type(NotImplemented): _Walker._walk_plain,
    float: _Walker._walk_float,
    str: _Walker._walk_str,
    bytes: _Walker._walk_bytes,
    bytearray: _Walker._walk_bytes,
    list: _Walker._walk_sequence,
    tuple: _Walker._walk_sequence,
    set: _Walker._walk_set,
    frozenset: _Walker._walk_set,
    dict: _Walker._walk_dict,
    types.ModuleType: _Walker._walk_module,
    types.CellType: _Walker._walk_cell,
    types.CodeType: _Walker._walk_code,
    types.FunctionType: _Walker._walk_function,
    types.MethodType: _Walker._walk_method,
    FunctionBody: _Walker._walk_body_alone,
    staticmethod: _Walker._walk_descriptor,
    classmethod: _Walker._walk_descriptor,
    property: _Walker._walk_property,
    functools.cached_property: _Walker._walk_cached_property,
}


@functools.lru_cache(maxsize=256)
def _global_names(code: types.CodeType) -> frozenset[str]:
    """Return the global names that the code, and the code defined inside it, reads."""
    names = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname in _LOADS_GLOBAL
    }
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return frozenset(names.union(*map(_global_names, inner)))


def _constants(code: types.CodeType) -> Iterator[object]:
    """Yield the constants; in the body of a class without those that say where it stands."""
    if "__firstlineno__" not in code.co_names:  # that name is stored from Python 3.13 on
        yield from code.co_consts
        return
    for constant in code.co_consts:
        if type(constant) is int and constant == code.co_firstlineno:
            yield "first line"
        elif type(constant) is tuple:  # __static_attributes__ come in any order
            yield frozenset(constant)
        else:
            yield constant
