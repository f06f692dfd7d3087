"""What is special about vLLM: its core is another process, behind an event loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import psutil
import pytest
from engines_under_test import ENGINES, need, resident_bytes

from parsl_pcm import ContextLost
from parsl_pcm.engines import vllm

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
]
PROGRAM = """
import sys
from parsl_pcm.engines import vllm

def main():
    recipe = vllm(sys.argv[1], context_window=256, kv_cache_memory_bytes=64 << 20)
    with recipe.open() as engine:
        print(engine.generate(["Copper"], max_tokens=4)[0].error)

if __name__ == "__main__":
    main()
"""


@pytest.fixture(autouse=True)
def vllm_is_installed() -> None:
    need("vllm")


def test_cancelled_coroutine_aborts_its_requests(tiny_llama: str) -> None:
    async def begin_and_cancel() -> None:
        call = asyncio.create_task(engine.agenerate(["Copper"] * 50, max_tokens=200))
        while not engine._engine.output_processor.has_unfinished_requests():
            await asyncio.sleep(0.001)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    with ENGINES["vllm"].recipe(tiny_llama).open() as engine:
        asyncio.run(begin_and_cancel())
        deadline_s = time.monotonic() + 60
        while engine._engine.output_processor.has_unfinished_requests():
            assert time.monotonic() < deadline_s
            time.sleep(0.01)


def test_script_ends_without_noise(tiny_llama: str) -> None:
    command = [sys.executable, "-c", PROGRAM, tiny_llama]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "None" in done.stdout.splitlines()  # vLLM logs there too
    for sign in ("Traceback", "Exception ignored", "Task was destroyed", "never retrieved"):
        assert sign not in done.stdout + done.stderr


def test_death_of_its_core_is_told_as_a_lost_context(tiny_llama: str) -> None:
    with ENGINES["vllm"].recipe(tiny_llama).open() as engine:
        assert engine.generate(["Copper"], max_tokens=4)[0].error is None
        for child in psutil.Process().children(recursive=True):
            if "EngineCore" in child.name() or "EngineCore" in " ".join(child.cmdline()):
                child.kill()
        with pytest.raises(ContextLost, match="core of vLLM is dead"):
            engine.generate(["Copper"] * 50, max_tokens=200)


def test_sleep_gives_back_the_memory_of_the_kv_cache(tiny_llama: str) -> None:
    kv_cache_bytes = 256 << 20
    recipe = vllm(tiny_llama, context_window=256, kv_cache_memory_bytes=kv_cache_bytes)
    with recipe.open() as engine:
        engine.generate(["Copper"] * 4, max_tokens=4)
        awake_bytes = resident_bytes()
        for _ in range(2):
            engine.sleep()
            assert resident_bytes() < awake_bytes - 0.8 * kv_cache_bytes
            engine.wake()
            engine.generate(["Copper"] * 4, max_tokens=4)
        assert resident_bytes() < awake_bytes + 0.2 * kv_cache_bytes


def test_prefix_that_was_cached_before_a_sleep_is_read_again(tiny_llama: str) -> None:
    prefix = "The Moon orbits the Earth. " * 4
    prompts = [f"{prefix}{end}" for end in ("Copper", "Helium")]
    with ENGINES["vllm"].recipe(tiny_llama).open() as engine:
        engine.generate(prompts, max_tokens=4)
        before = engine.generate(prompts, max_tokens=8)
        engine.sleep()
        engine.wake()
        assert engine.generate(prompts, max_tokens=8) == before
