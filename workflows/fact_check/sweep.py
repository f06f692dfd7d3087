"""A sweep: one map for each (model, prompt) pair, all at once; its progress, and its end."""

from __future__ import annotations

import contextlib
import itertools
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tqdm import tqdm

from fact_check.models import Model
from fact_check.prompts import Prompt
from parsl_pcm import MapRun
from parsl_pcm.clock import monotonic_s
from parsl_pcm.errors import PCMError
from parsl_pcm.status import ContextStatus

Contexts = Callable[[], Sequence[ContextStatus]]

_REFRESH_S = 0.5
_REFRESH_OF_A_LOG_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """A model with a prompt.

    Attributes
    ----------
    path
        Of the results: another model or another prompt by content is another file.
    """

    model: Model
    prompt: Prompt
    path: Path

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.model.name}, {self.prompt.name}"


def make_pairs(models: Sequence[Model], prompts: Sequence[Prompt], out: Path) -> list[Pair]:
    """Return every model with every prompt."""
    return [
        Pair(model=model, prompt=prompt, path=out / _file_name(model, prompt))
        for model, prompt in itertools.product(models, prompts)
    ]


def _file_name(model: Model, prompt: Prompt) -> str:
    names = re.sub(r"[^\w.-]+", "_", f"{model.name}_{prompt.name}")
    return f"{names}_{model.fingerprint[:6]}{prompt.fingerprint[:6]}.jsonl"


class Sweep:
    """The maps of a sweep while they run.

    Attributes
    ----------
    progress
        Seconds since the start and claims done by then, again and again.
    failures
        What went wrong, a sentence for each pair that is not complete for it.
    is_stopped
        Whether it was stopped before its end.
    """

    def __init__(self, runs: Mapping[Pair, MapRun]) -> None:
        self.progress: list[tuple[float, int]] = [(0.0, 0)]
        self.failures: list[str] = []
        self.is_stopped = False
        self._runs = dict(runs)
        self._open = dict(runs)
        self._started_s = monotonic_s()

    def wait(self, contexts: Contexts, stop: threading.Event) -> None:
        """Show how far the maps are until all have ended, or cancel them once `stop` is set.

        When this returns, what is done is in the files.
        """
        num_total = sum(run.progress().num_total or 0 for run in self._runs.values())
        refresh_s = _REFRESH_S if sys.stderr.isatty() else _REFRESH_OF_A_LOG_S
        with tqdm(total=num_total, unit=" claims", mininterval=refresh_s) as bar:
            while self._open and not stop.wait(_REFRESH_S):
                self._look(bar)
                _show_contexts(bar, contexts)
            self._look(bar)
            self._cancel_rest()
            self._look(bar)

    def _look(self, bar: tqdm[NoReturn]) -> None:
        now = [run.progress() for run in self._runs.values()]
        bar.initial = sum(each.num_skipped for each in now)
        num_done = sum(each.num_done for each in now)
        bar.update(bar.initial + num_done - bar.n)
        if num_done > self.progress[-1][1]:
            self.progress.append((monotonic_s() - self._started_s, num_done))
        for pair in [pair for pair, run in self._open.items() if run.future.done()]:
            self._note_end(pair, self._open.pop(pair))

    def _cancel_rest(self) -> None:
        self.is_stopped = bool(self._open)
        for run in self._open.values():
            run.cancel()
        for run in self._open.values():
            with contextlib.suppress(Exception):
                run.result()  # waits for the last results to be written
        self._open.clear()

    def _note_end(self, pair: Pair, run: MapRun) -> None:
        error, num_errors = run.future.exception(), run.progress().num_errors
        if error is not None:
            self._note_failure(f"{pair.name}: {type(error).__name__}: {error}")
        elif num_errors:
            self._note_failure(f"{pair.name}: {num_errors:,} claims have errors, see {pair.path}")

    def _note_failure(self, message: str) -> None:
        tqdm.write(message, file=sys.stderr)
        self.failures.append(message)


def _show_contexts(bar: tqdm[NoReturn], contexts: Contexts) -> None:
    try:
        now = contexts()
    except PCMError:
        return  # the executor broke down: the maps tell why
    loading, warm = sum(each.loading for each in now), sum(each.warm for each in now)
    bar.set_postfix_str(f"contexts: {loading} loading, {warm} warm", refresh=False)


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event, so that no write is cut off; a second one interrupts."""
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, on_signal)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
