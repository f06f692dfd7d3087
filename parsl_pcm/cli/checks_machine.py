"""Checks of the machine where the script will run: versions, limits, disks, addresses, ports."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from parsl.version import VERSION as PARSL_VERSION

from parsl_pcm.cli.checks import Result, fail, ok, warn
from parsl_pcm.version import VERSION

GB = 10**9
MIN_RUN_BYTES, MIN_CACHE_BYTES = GB // 10, 20 * GB
"""Logs of a long run; the weights of one model of 8 billion parameters in 16 bits, and a bit."""
MIN_INODES = 1000
MIN_OPEN_FILES = 512
"""Parsl and the interchange hold some 50 each, and one for every block."""


def versions() -> Result:
    """Say what the script would run with."""
    python = platform.python_version()
    return ok("versions", f"Python {python}, Parsl {PARSL_VERSION}, parsl_pcm {VERSION}")


def open_files() -> Result:
    """Check that each block can have its connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    seen = f"a process may open {'any number' if soft == resource.RLIM_INFINITY else soft}"
    if soft == resource.RLIM_INFINITY or soft >= MIN_OPEN_FILES:
        return ok("open files", seen)
    return warn("open files", seen, f"run `ulimit -n {hard}` before the script: blocks need some")


def disk(title: str, path: Path, *, min_bytes: int) -> Result:
    """Check that a directory, or the one that it would be made in, can take files."""
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    usage, files = shutil.disk_usage(there), os.statvfs(there)
    seen = f"{path}: {usage.free / GB:.1f} GB free"
    if not os.access(there, os.W_OK | os.X_OK):
        return fail(title, f"{there} is not writable", "choose another directory for it")
    if usage.free < min_bytes:
        cure = f"make room ({min_bytes / GB:g} GB), or choose another disk"
        return warn(title, seen, cure)
    if files.f_files > 0 and files.f_favail < MIN_INODES:
        return warn(title, f"{path}: room for {files.f_favail} more files", "delete some files")
    return ok(title, seen)


def run_dir(path: Path, *, is_local: bool) -> Result:
    """Check the run directory, which every compute node must see."""
    absolute = path.absolute()
    private = {Path(each).resolve() for each in (tempfile.gettempdir(), "/tmp", "/dev/shm")}
    if not is_local and private & {absolute.resolve(), *absolute.resolve().parents}:
        return fail(
            "run directory",
            f"{absolute} is on this machine alone, and workers read their settings there",
            "set run_dir of the Config to a directory that all nodes share, such as in your home",
        )
    return disk("run directory", path, min_bytes=MIN_RUN_BYTES)


def caches() -> Iterator[Result]:
    """Check where weights are downloaded to: Hugging Face's cache, else the user's."""
    home = os.environ.get("HF_HOME")
    if home:
        yield disk("HF_HOME", Path(home), min_bytes=MIN_CACHE_BYTES)
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    yield disk("cache", default, min_bytes=GB if home else MIN_CACHE_BYTES)


def addresses(given: str | None, loopback: str, *, is_local: bool) -> Result:
    """Check that workers have an address to come back to."""
    if is_local:
        return ok("address", f"{given or loopback}: blocks run on this machine")
    own = sorted(each for each in own_addresses() if not each.startswith(("127.", "::1")))
    if given is not None:
        wrong = _what_is_wrong_with(given, own)
        detail = wrong or f"{given} belongs to this machine"
    else:
        wrong = "" if own else "this machine has no address but 127.0.0.1"
        detail = wrong or f"workers try those of this machine: {', '.join(own)}"
    return fail("address", detail, _SET_ADDRESS) if wrong else ok("address", detail)


def _what_is_wrong_with(address: str, own: Sequence[str]) -> str:
    try:
        found = {str(each[4][0]) for each in socket.getaddrinfo(address, None)}
    except OSError as error:
        return f"{address!r} cannot be resolved: {error}"
    if all(each.startswith(("127.", "::1")) for each in found):
        return f"{address} means the compute node itself when it is used there"
    if not found & set(own):
        return f"{address} is not an address of this machine ({', '.join(own)})"
    return ""


_SET_ADDRESS = (
    "set address of the executor to one of this machine that compute nodes reach, such as "
    "parsl.addresses.address_by_interface('ib0') or address_by_hostname()"
)


def own_addresses() -> set[str]:
    """Return the IP addresses of this machine's interfaces."""
    families = {socket.AF_INET, socket.AF_INET6}
    return {
        address.address.partition("%")[0]
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family in families and not address.address.startswith("fe80:")
    }


def ports(worker_port: int | None, port_range: tuple[int, int]) -> Result:
    """Check that the interchange finds a port for workers."""
    first, last = port_range
    candidates = [worker_port] if worker_port else range(first, last)
    num_free = sum(map(_is_free, candidates))
    name = f"port {worker_port}" if worker_port else f"ports {first} to {last}"
    if num_free == 0:
        return fail("ports", f"{name}: none is free", "set another worker_port_range")
    return ok("ports", f"{name}: {'free' if worker_port else f'{num_free} free'}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
