"""Ready-made contexts: a live model behind one small protocol, whatever library serves it.

1. ``llama_cpp``, ``transformers`` and ``vllm`` are recipes, like any other ``@context``.
2. In its host, a recipe builds an :class:`Engine`; the library is imported there, not before.
3. The app calls ``engine.generate(prompts, max_tokens=...)`` and gets one :class:`Completion` per
   prompt: text, token counts, finish reason, or an error that concerns this prompt alone.

::

    @python_app
    def verify(claims, engine=llama_cpp):
        return engine.generate(claims, max_tokens=8, choices=["true", "false"])
"""

from __future__ import annotations

from parsl_pcm.engines.protocol import Completion, Engine, FinishReason, Prompt
from parsl_pcm.engines.recipes import llama_cpp, transformers, vllm

__all__ = ["Completion", "Engine", "FinishReason", "Prompt", "llama_cpp", "transformers", "vllm"]
