"""What is special about vLLM: its core is another process, behind an event loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import psutil
import pytest
from engines_under_test import ENGINES, need

from parsl_pcm import ContextLost

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
