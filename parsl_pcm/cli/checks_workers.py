"""Checks of the workers' environment: ``worker_init`` in a clean login shell of this machine."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parsl.version import VERSION as PARSL_VERSION

from parsl_pcm.cli.checks import Result, fail, ok, warn
from parsl_pcm.version import VERSION

TIMEOUT_S = 60.0
"""Activating a conda environment on a busy shared file system takes tens of seconds."""
ENGINES = ("vllm", "transformers", "xllamacpp")
KEPT_VARIABLES = ("HOME", "USER", "LOGNAME", "SHELL")
"""What a login shell starts with."""
MARK = "parsl-pcm-doctor:"
COMPLAINTS = re.compile(r"not found|no such file|error|cannot|unable", re.IGNORECASE)
"""On stderr, where programs also chat: these are worth a look."""
SAME_ENVIRONMENT = (
    "let worker_init activate the environment that this command runs in, or a copy of it"
)

# The interpreter of the manager is the one that its script names, or lies beside it (long paths).
FIND_PYTHON = """
echo "{mark}code=$?"
echo "{mark}" >&2
export PATH="$PATH:{directory}"
manager=$(command -v parsl-pcm-manager) || {{ echo "{mark}none"; exit; }}
read -r first < "$manager"
python="${{first#\\#!}}"
[ -x "$python" ] || python="$(dirname "$manager")/python"
[ -x "$python" ] || python=python3
"$python" - "$manager" <<'END_OF_PROBE'
{probe}
END_OF_PROBE
"""
PROBE = """
import importlib.metadata, importlib.util, json, os, platform, sys
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
def pcm_version():
    try:
        from parsl_pcm.version import VERSION
        return VERSION
    except ImportError:
        return None
print({mark!r} + json.dumps({{
    "manager": sys.argv[1],
    "prefix": os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX"),
    "python": platform.python_version(), "parsl": version("parsl"), "parsl_pcm": pcm_version(),
    "engines": {{
        name: version(name) or "?" for name in {engines!r} if importlib.util.find_spec(name)
    }},
}}))
"""


def workers(worker_init: str) -> Iterator[Result]:
    """Run ``worker_init`` as a job would, and look at the environment that it leads to."""
    output, errors = _run(worker_init)
    marked = [line.removeprefix(MARK) for line in output.splitlines() if line.startswith(MARK)]
    found = _facts(marked)
    yield _init_result(worker_init, marked, errors)
    if found is None:
        if marked:
            yield _missing_manager(marked, errors)
        return
    yield _manager(Path(found["manager"]), found["prefix"])
    yield _versions(found)
    yield _engines(found["engines"])


def _run(worker_init: str) -> tuple[str, str]:
    probe = PROBE.format(mark=MARK, engines=ENGINES)
    directory = Path(sys.executable).parent
    tail = FIND_PYTHON.format(mark=MARK, directory=directory, probe=probe)
    variables = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    try:
        done = subprocess.run(
            ["bash", "--login", "-c", worker_init + tail],
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        return "", f"it did not end within {TIMEOUT_S:g} s"
    return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def _facts(marked: list[str]) -> dict[str, Any] | None:
    facts = [json.loads(line) for line in marked if line.startswith("{")]
    return facts[0] if facts else None


def _init_result(worker_init: str, marked: list[str], errors: str) -> Result:
    title = "worker_init"
    cure = "try its lines in a fresh login shell (`env -i HOME=$HOME bash --login`)"
    if not worker_init.strip():
        return ok(title, "none; the environment of the script is the fallback")
    if not marked:
        return fail(title, f"ended the shell: {_last_words(errors)}", cure)
    words, code = errors.partition(MARK)[0], marked[0].removeprefix("code=")
    if code != "0":
        return warn(title, f"ended with code {code}: {_last_words(words)}", cure)
    if COMPLAINTS.search(words):
        return warn(title, _last_words(words), cure)
    return ok(title, "runs in a clean login shell of this machine")


def _manager(manager: Path, prefix: str | None) -> Result:
    if prefix is None or manager.is_relative_to(prefix):
        return ok("manager", str(manager))
    detail = f"worker_init activates {prefix}, which has none; {manager} is taken instead"
    return warn("manager", detail, "install parsl_pcm there, or activate nothing")


def _missing_manager(marked: list[str], errors: str) -> Result:
    if "none" in marked:
        return fail("manager", "the command parsl-pcm-manager is not found", SAME_ENVIRONMENT)
    return fail("manager", f"its Python does not run: {_last_words(errors)}", SAME_ENVIRONMENT)


def _versions(found: dict[str, Any]) -> Result:
    seen = f"Python {found['python']}, Parsl {found['parsl']}, parsl_pcm {found['parsl_pcm']}"
    here = {"python": platform.python_version(), "parsl": PARSL_VERSION, "parsl_pcm": VERSION}
    different = [
        name
        for name, version in here.items()
        if _compared(name, version) != _compared(name, found[name])
    ]
    if different:
        ours = ", ".join(f"{name} {here[name]}" for name in different)
        return fail("versions there", f"{seen}; the script has {ours}", SAME_ENVIRONMENT)
    return ok("versions there", seen)


def _compared(name: str, version: str | None) -> str | None:
    """Return the part of a version that must agree."""
    return ".".join(version.split(".")[:2]) if version and name == "python" else version


def _engines(engines: dict[str, str]) -> Result:
    if not engines:
        return ok("engines there", f"none of {', '.join(ENGINES)}: contexts of your own only")
    return ok("engines there", ", ".join(f"{name} {found}" for name, found in engines.items()))


def _last_words(errors: str) -> str:
    return " / ".join(errors.strip().splitlines()[-3:]) or "it printed nothing"
