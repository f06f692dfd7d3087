"""The walls of the house: who may import whom, what the pure core may touch, how big things get."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "parsl_pcm"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# What each part may import of the others. A new part must find its place here.
SHARED = {"types", "version", "config", "clock", "wire"}
MAY_IMPORT = {
    "types": set(),
    "version": set(),
    "clock": set(),
    "config": {"types"},
    "wire": {"types"},
    "core": {"types"},
    "interchange": SHARED | {"core", "eventlog", "metrics"},
    "simulator": {
        "types",
        "version",
        "core",
        "eventlog",
        "metrics",
        "metrics_records",
        "worktime",
        "worktime_records",
        "summary",
        "requirements",
        "provider",
    },
    "manager": SHARED,
    "host": SHARED | {"context", "live", "pickling"},
}
# The user's process: it may use all that is shared, never the inside of another process.
NOT_FOR_THE_EXECUTOR = {"core", "interchange", "manager", "host"}
LIGHT_PARTS = {"interchange", "manager", "host"}

PURE_LIBRARIES = {
    "__future__", "abc", "bisect", "collections", "dataclasses", "enum", "functools", "heapq",
    "itertools", "math", "msgspec", "operator", "types", "typing",
}  # fmt: skip
# hash() and id() differ from run to run: the same events would not give the same actions.
IMPURE_CALLS = {"open", "print", "input", "eval", "exec", "__import__", "hash", "id"}

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60


def part_of(module: str) -> str:
    """Return the part of the package that a module belongs to; "" for the package itself."""
    return [*module.split("."), ""][1]


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Yield every module that the file imports, wherever in the file, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield node.module or "", node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def own_parts_imported(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the parts of our package that the file imports."""
    for name, line in imported(path):
        if name.startswith("parsl_pcm.") and part_of(name) in PARTS:
            yield part_of(name), line


PARTS = {part_of(module) for module in MODULES}


def modules_of(part: str) -> list[Path]:
    """Return the files of a part, and insist that there are any."""
    paths = [path for module, path in MODULES.items() if part_of(module) == part]
    assert paths, f"parsl_pcm has no part {part!r} any more: change this test with it"
    return paths


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_part_imports_only_what_it_may(part: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports parsl_pcm.{other}"
        for path in modules_of(part)
        for other, line in own_parts_imported(path)
        if other not in MAY_IMPORT[part] | {part}
    ]
    assert not wrong


def test_user_side_does_not_look_into_other_processes() -> None:
    user_side = PARTS - set(MAY_IMPORT) - {"metrics", "eventlog", "worktime"}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports parsl_pcm.{other}"
        for part in user_side
        for path in modules_of(part)
        for other, line in own_parts_imported(path)
        if other in NOT_FOR_THE_EXECUTOR
    ]
    assert not wrong


PURE = {
    "core": modules_of("core"),
    "growth": sorted((PACKAGE / "provider" / "growth").glob("*.py")),
}


@pytest.mark.parametrize("what", PURE)
def test_what_decides_uses_pure_libraries_only(what: str) -> None:
    wrong = [
        f"{path.name}:{line} imports {name}"
        for path in PURE[what]
        for name, line in imported(path)
        if name.split(".")[0] not in PURE_LIBRARIES | {"parsl_pcm"}
    ]
    assert not wrong


@pytest.mark.parametrize("what", PURE)
def test_what_decides_calls_nothing_that_reaches_outside(what: str) -> None:
    wrong = [
        f"{path.name}:{node.lineno} calls {node.func.id}"
        for path in PURE[what]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in IMPURE_CALLS
    ]
    assert not wrong


def test_htex_is_touched_in_one_module_only() -> None:
    touching = {
        module
        for module, path in MODULES.items()
        for name, _ in imported(path)
        if name.startswith("parsl.executors.high_throughput")
    }
    assert touching == {"parsl_pcm.executor"}


def loaded_after(statement: str) -> set[str]:
    """Return what a fresh Python has loaded after the statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("part", sorted(LIGHT_PARTS))
def test_process_starts_without_parsl(part: str) -> None:
    loaded = loaded_after(f"import parsl_pcm.{part}.__main__")
    assert not loaded & {"parsl", "parsl_pcm.errors", "torch", "vllm", "pynvml"}


def test_simulator_needs_neither_parsl_nor_sockets() -> None:
    loaded = loaded_after("import parsl_pcm.simulator.campaign, parsl_pcm.cli.simulate")
    assert not loaded & {"parsl", "zmq", "psutil", "matplotlib"}


def test_import_of_the_package_is_light() -> None:
    loaded = loaded_after("import parsl_pcm")
    assert not loaded & {"parsl", "zmq", "psutil", "torch", "transformers", "vllm", "xllamacpp"}


def test_every_module_can_be_imported_first() -> None:
    names = [name for name in MODULES if not name.endswith("__main__")]
    loaded_after(f"""
import importlib, sys
for name in {names}:
    for ours in [each for each in sys.modules if each.split(".")[0] == "parsl_pcm"]:
        del sys.modules[ours]
    importlib.import_module(name)
""")


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of the body, without signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("module", MODULES)
def test_module_and_its_functions_are_short(module: str) -> None:
    source = MODULES[module].read_text()
    num_lines = len(source.splitlines())
    assert num_lines <= MAX_MODULE_LINES
    long = [
        f"{node.name} has {body_lines(node)} lines"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and body_lines(node) > MAX_FUNCTION_LINES
    ]
    assert not long


def test_architecture_page_shows_every_part() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    names = {part + ("/" if (PACKAGE / part).is_dir() else ".py") for part in PARTS - {""}}
    assert not {name for name in names if f" {name}" not in page}


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])
def test_relative_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    missing = [
        target
        for target in targets
        if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists()
    ]
    assert not missing
