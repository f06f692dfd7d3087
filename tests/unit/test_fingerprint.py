"""Content hashes: what changes them, what does not, and that every process agrees."""

import abc
import dataclasses
import enum
import functools
import logging
import math
import os
import pathlib
import re
import subprocess
import sys
import threading
import types

import pytest

from parsl_pcm.fingerprint import FunctionBody, fingerprint


def run(source, name="f", module="a_module"):
    """Run source as a module of its own; return what it calls `name`."""
    namespace = {"__name__": module}
    exec(compile(source, f"{module}.py", "exec"), namespace)
    return namespace[name]


def of(source, **options):
    return fingerprint(run(source, **options))


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Point:
    x: int
    tags: set


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


# --- plain values -------------------------------------------------------------------------------

DISTINCT = [
    None,
    True,
    1,
    1.0,
    -0.0,
    0.0,
    1j,
    "1",
    b"1",
    bytearray(b"1"),
    "",
    (),
    [],
    {},
    set(),
    frozenset(),
    [1, 2],
    [2, 1],
    (1, 2),
    [[1], 2],
    [1, [2]],
    ["ab", "c"],
    ["a", "bc"],
    {"a": 1},
    {"a": 2},
    {"b": 1},
    {1, 2},
    frozenset({1, 2}),
    range(3),
    ...,
    NotImplemented,
    10**5000,
    float("nan"),
    "\udc80",
    pathlib.PurePosixPath("/a"),
    pathlib.PurePosixPath("/b"),
    re.compile("a"),
    re.compile("a", re.IGNORECASE),
    Colour.RED,
    Colour.BLUE,
    Point(1, {"a"}),
    Point(1, {"b"}),
    Slotted(1),
    Slotted(2),
    math,
    os,
    len,
    print,
    math.sin,
    [].append,
    str.upper,
    int,
    str,
    Point,
    functools.partial(int, base=2),
    functools.partial(int, base=3),
    logging.getLogger("a"),
    Point(1, set()).__eq__,
]


def test_different_values_have_different_fingerprints():
    prints = [fingerprint(value) for value in DISTINCT]
    assert len(set(prints)) == len(DISTINCT)
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in prints)


def test_order_of_sets_and_dicts_does_not_count():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a", "b", "c"}) == fingerprint({"c", "b", "a"})


def test_identity_does_not_count():
    shared = ["x"]
    assert fingerprint([shared, shared]) == fingerprint([["x"], ["x"]])
    assert fingerprint(("ab" * 9, "ab" * 9)) == fingerprint(("".join(["ab"] * 9), "ab" * 9))


def test_values_that_contain_themselves_are_fine():
    loop = [1]
    loop.append(loop)
    other = [2]
    other.append(other)
    assert fingerprint(loop) != fingerprint(other)
    assert fingerprint(loop) == fingerprint(loop)


def test_an_object_may_say_what_it_counts_as():
    class Named:
        def __init__(self, name, noise):
            self.name, self.noise = name, noise

        def __fingerprint__(self):
            return self.name

    assert fingerprint(Named("a", 1)) == fingerprint(Named("a", threading.Lock()))
    assert fingerprint(Named("a", 1)) != fingerprint(Named("b", 1))


# --- functions ----------------------------------------------------------------------------------

BASE = "def g():\n    return 1\ndef f(x=1):\n    return g() + x"


@pytest.mark.parametrize(
    "source",
    [
        "\n\n\n" + BASE,
        "import os\n" + BASE,
        "def g():\n    return 1\ndef h(x=1):\n    return g() + x\nf = h",
        "def g():\n\n    return 1  # said twice\ndef f(x: int = 1) -> int:\n    return g() + x",
    ],
    ids=["moved", "more around it", "renamed", "comments and annotations"],
)
def test_same_content_elsewhere_is_the_same(source):
    assert of(source) == of(BASE)


def test_the_module_does_not_count_for_what_is_in_it():
    assert of(BASE) == of(BASE, module="b_module") == of(BASE, module="__main__")


@pytest.mark.parametrize(
    "source",
    [
        "def g():\n    return 2\ndef f(x=1):\n    return g() + x",
        "def g():\n    return 1\ndef f(x=2):\n    return g() + x",
        "def g():\n    return 1\ndef f(x=1):\n    return g() - x",
        "def g():\n    return 1\ndef f(*, x=1):\n    return g() + x",
        "g = lambda: 3\ndef f(x=1):\n    return g() + x",
        "from math import sin as g\ndef f(x=1):\n    return g() + x",
        "class g:\n    a = 1\ndef f(x=1):\n    return g() + x",
        "def f(x=1):\n    return g() + x",
        "def g():\n    return 1\ndef f(x=1):\n    def h():\n        return g() + x\n    return h()",
    ],
)
def test_other_content_differs(source):
    assert of(source) != of(BASE)


def test_globals_that_the_code_does_not_use_do_not_count():
    used = "X = {}\nY = {}\ndef f(o):\n    return o.Y + X\n"
    assert of(used.format(1, 1)) == of(used.format(1, 2))
    assert of(used.format(1, 1)) != of(used.format(2, 1))


def test_globals_used_by_inner_functions_and_comprehensions_count():
    used = "X = {}\ndef f():\n    return [(lambda: X)() for _ in 'a']\n"
    assert of(used.format(1)) != of(used.format(2))


def test_closures_count():
    def outer(x):
        return lambda: x

    assert fingerprint(outer(1)) == fingerprint(outer(1))
    assert fingerprint(outer(1)) != fingerprint(outer(2))


def test_empty_cells_are_fine():
    def outer():
        def inner():
            return later

        before = fingerprint(inner)
        later = 1
        return before, fingerprint(inner)

    before, after = outer()
    assert before != after


def test_recursion_of_functions_is_fine():
    even = "def f(n):\n    return n == 0 or g(n - 1)\ndef g(n):\n    return n != 0 and f(n - {})"
    assert of(even.format(1)) == of(even.format(1))
    assert of(even.format(1)) != of(even.format(2))


def test_many_functions_that_all_call_each_other_are_no_trouble():
    names = [f"f{i}" for i in range(60)]
    calls = " + ".join(f"{name}()" for name in names)
    source = "\n".join(f"def {name}():\n    return {calls}" for name in names)
    assert of(source, name="f0") == of(source, name="f0")


def test_a_registry_that_holds_its_users_is_fine():
    source = "def f():\n    return R\ndef g():\n    return R\nR = {{f, g, {}}}"
    assert of(source.format(1)) == of(source.format(1))
    assert of(source.format(1)) != of(source.format(2))


def test_functions_of_other_modules_count_by_name():
    one = run("def h():\n    return 1", name="h", module="other")
    two = run("def h():\n    return 2", name="h", module="other")
    f = "def f():\n    return h()"
    prints = []
    for helper in (one, two):
        function = run(f)
        function.__globals__["h"] = helper
        prints.append(fingerprint(function))
    assert prints[0] == prints[1]


def test_local_functions_of_other_modules_count_by_content():
    make = "def make(x):\n    def h():\n        return x\n    return h"
    local = [run(make, name="make", module="other")(x) for x in (1, 2)]
    prints = []
    for helper in local:
        function = run("def f():\n    return h()")
        function.__globals__["h"] = helper
        prints.append(fingerprint(function))
    assert prints[0] != prints[1]


def test_what_a_cache_or_a_decorator_wraps_counts():
    cached = (
        "import functools\n@functools.lru_cache\ndef g():\n    return {}\ndef f():\n    return g()"
    )
    assert of(cached.format(1)) != of(cached.format(2))


def test_a_body_counts_without_its_defaults():
    one, other = run("def f(x=1):\n    return x"), run("def f(x=2):\n    return x")
    assert fingerprint(FunctionBody(one)) == fingerprint(FunctionBody(other))
    assert fingerprint(one) != fingerprint(other)


# --- classes ------------------------------------------------------------------------------------

CLASS = """
import dataclasses, abc, functools
@dataclasses.dataclass
class A(abc.ABC):
    x: int = {x}
    __slots__ = ()
    def m(self): self.p = self.q = self.r = {m}; return A
    @staticmethod
    def s(): return {s}
    @classmethod
    def c(cls): return {c}
    @property
    def p(self): return {p}
    @functools.cached_property
    def k(self): return {k}
def f(): return A
""".replace("    __slots__ = ()\n", "")


def test_moved_classes_are_the_same():
    source = CLASS.format(x=1, m=2, s=3, c=4, p=5, k=6)
    assert of(source) == of("\n" * 40 + source, module="elsewhere")


@pytest.mark.parametrize("changed", list("xmscpk"))
def test_every_member_of_a_class_counts(changed):
    values = dict.fromkeys("xmscpk", 1)
    assert of(CLASS.format(**values)) != of(CLASS.format(**{**values, changed: 2}))


@pytest.mark.parametrize("line", [3, 41, 300])
def test_classes_inside_functions_may_move(line):
    members = "        n = 7\n        def m(self): self.b = self.a = 1\n"
    inner = f"def f():\n    class A:\n{members}    return A"
    assert of("\n" * line + inner) == of(inner)
    assert of(inner.replace("7", "8")) != of(inner)


def test_bases_and_abstract_classes_count():
    assert of("class B: pass\nclass f(B): pass") != of("class B:\n    a = 1\nclass f(B): pass")

    class Abstract(abc.ABC):
        @abc.abstractmethod
        def m(self): ...

    assert fingerprint(Abstract) == fingerprint(Abstract)


# --- what has no content ------------------------------------------------------------------------


def test_what_cannot_be_hashed_is_named_with_the_way_to_it_and_a_cure():
    function = run("def g():\n    return L['a']\ndef f():\n    return g()")
    function.__globals__["L"] = {"a": threading.Lock()}
    with pytest.raises(
        TypeError,
        match=r"key 'a' of global 'L' of function 'g' of global 'g' of function 'f' is a "
        r"_thread\.lock, whose content.*make it inside the set-up function",
    ):
        fingerprint(function)


def test_numpy_like_objects_count_by_their_pickled_state():
    class Array:
        def __init__(self, data):
            self.data = data

        def __reduce_ex__(self, protocol):
            return types.SimpleNamespace, (), {"data": self.data}, iter([]), iter([("a", 1)])

    assert fingerprint(Array(b"1")) == fingerprint(Array(b"1"))
    assert fingerprint(Array(b"1")) != fingerprint(Array(b"2"))


# --- every process agrees -----------------------------------------------------------------------

CHILD = """
import sys, pathlib
from parsl_pcm.fingerprint import fingerprint
source = sys.stdin.read()
exec(compile(source, "child", "exec"))
print(fingerprint(VALUE))
"""
SHARED = """
import dataclasses
from math import sin
WORDS = {"a", "bb", "ccc", "dddd"}
@dataclasses.dataclass
class Config:
    words: frozenset
    def method(self):
        self.one = self.two = self.three = self.four = 1
        return {w for w in WORDS if w in {"x", "y", "z"}}
def helper(x):
    class Inner:
        def m(self): self.b = self.a = self.c = 1
    return sin(x), Inner, Config
def setup(x=frozenset({"q", "r", "s"})):
    try:
        return helper(x)
    except (ValueError, KeyError):
        return [Config(x) for _ in WORDS]
import pathlib, re
PATHS = {pathlib.PurePosixPath(c) for c in "abc"}
VALUE = [setup, PATHS, Config(frozenset("xyz")), re.compile("a")]
"""


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_with_another_hash_seed_agrees(seed):
    namespace = {"__name__": "__main__"}
    exec(compile(SHARED, "here", "exec"), namespace)
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=SHARED,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == fingerprint(namespace["VALUE"])
