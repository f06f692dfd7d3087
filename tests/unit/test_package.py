"""``import parsl_pcm``: what it gives, and what it costs."""

import subprocess
import sys

import pytest

import parsl_pcm

PROBE = """
import sys
import parsl_pcm, parsl_pcm.context, parsl_pcm.pickling, parsl_pcm.compat
assert isinstance(parsl_pcm.context(lambda: 1), parsl_pcm.ContextRecipe), parsl_pcm.context
print([name for name in ("parsl", "zmq", "torch", "vllm", "asyncio") if name in sys.modules])
"""


def test_importing_is_light_and_context_is_the_decorator():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_everything_that_is_exported_is_there():
    for name in parsl_pcm.__all__:
        assert getattr(parsl_pcm, name) is not None
    assert set(parsl_pcm.__all__) <= set(dir(parsl_pcm))


def test_errors_are_imported_when_asked_for():
    from parsl_pcm.errors import PCMError

    assert parsl_pcm.PCMError is PCMError


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'Executor'"):
        _ = parsl_pcm.Executor
