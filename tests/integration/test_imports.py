"""What a new Python loads for the parts of the package that a user imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROBE = """
import sys
import parsl_pcm, parsl_pcm.context, parsl_pcm.pickling, parsl_pcm.compat
assert isinstance(parsl_pcm.context(lambda: 1), parsl_pcm.ContextRecipe), parsl_pcm.context
print([name for name in ("parsl", "zmq", "torch", "vllm", "asyncio") if name in sys.modules])
"""


def test_importing_is_light_and_context_is_the_decorator() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sites_are_listed_without_parsl() -> None:
    code = "import sys, parsl_pcm.sites as s; s.all_sites(); print('parsl' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "False\n"


def test_importing_the_engines_imports_none_of_their_libraries() -> None:
    program = "import parsl_pcm.engines, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"vllm", "torch", "transformers", "xllamacpp", "parsl"} & set(loaded)
    assert "parsl_pcm.engines.recipes" in loaded
