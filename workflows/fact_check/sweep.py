"""Waiting for the batches of a sweep: saves what is done, shows how far it is, keeps failures."""

from __future__ import annotations

import itertools
import queue
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from tqdm import tqdm

from fact_check.claims import Claim
from fact_check.models import Model
from fact_check.prompts import Prompt
from fact_check.results import InferenceKey, Result, ResultsFile
from parsl_pcm.clock import monotonic_s
from parsl_pcm.engines import Completion
from parsl_pcm.errors import PCMError
from parsl_pcm.status import ContextStatus

_REFRESH_S = 0.5
_REFRESH_OF_A_LOG_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Claims that go to one model with one prompt in one call."""

    model: Model
    prompt: Prompt
    claims: Sequence[Claim]

    def inferences(self) -> list[InferenceKey]:
        """Return what the results of this batch will be the results of, claim by claim."""
        return [_key(self.model, self.prompt, claim) for claim in self.claims]

    def results(self, answers: Sequence[Completion], seconds: float) -> list[Result]:
        """Return the results of this batch, given one answer for each of its claims."""
        return [
            Result(
                id=claim.id,
                model=self.model.name,
                prompt=self.prompt.name,
                label=claim.label,
                answer=self.prompt.read_answer(answer.text) if answer.error is None else None,
                text=answer.text,
                error=answer.error,
                prompt_tokens=answer.prompt_tokens,
                completion_tokens=answer.completion_tokens,
                seconds=seconds / len(self.claims),
                model_key=self.model.fingerprint,
                prompt_key=self.prompt.fingerprint,
                claim_key=claim.fingerprint,
            )
            for claim, answer in zip(self.claims, answers, strict=True)
        ]


def make_batches(
    models: Sequence[Model],
    prompts: Sequence[Prompt],
    claims: Sequence[Claim],
    *,
    size: int,
    done: Container[InferenceKey] = (),
) -> list[Batch]:
    """Return every claim with every (model, prompt) pair but what is done, `size` in a batch."""
    batches = []
    for model, prompt in itertools.product(models, prompts):
        todo = [claim for claim in claims if _key(model, prompt, claim) not in done]
        for start in range(0, len(todo), size):
            batch = Batch(model=model, prompt=prompt, claims=todo[start : start + size])
            batches.append(batch)
    return batches


def count_inferences(batches: Sequence[Batch]) -> int:
    """Return how many inferences the batches are, one for each claim."""
    return sum(len(batch.claims) for batch in batches)


def _key(model: Model, prompt: Prompt, claim: Claim) -> InferenceKey:
    return InferenceKey(model.fingerprint, prompt.fingerprint, claim.id, claim.fingerprint)


class Sweep:
    """A running sweep: :meth:`add` each batch with its future, then :meth:`wait`.

    Attributes
    ----------
    progress
        Seconds since the start and inferences done by then, at the end of each batch.
    failures
        Message of a batch that failed, and how many failed with it.
    """

    def __init__(self, results: ResultsFile, *, num_total: int, num_found: int) -> None:
        self.progress: list[tuple[float, int]] = [(0.0, 0)]
        self.failures: Counter[str] = Counter()
        self._results = results
        self._num_total = num_total
        self._num_found = num_found
        self._num_open = 0
        self._finished: queue.SimpleQueue[tuple[Batch, Future[Any]]] = queue.SimpleQueue()
        self._started_s = self._shown_s = monotonic_s()

    def add(self, batch: Batch, future: Future[Any]) -> None:
        """Take a batch in; its future gives one answer per claim, and the seconds they took."""
        self._num_open += 1
        future.add_done_callback(lambda done: self._finished.put((batch, done)))

    def wait(self, contexts: Callable[[], Sequence[ContextStatus]], stop: threading.Event) -> bool:
        """Save the batches as they finish, until all have or `stop` is set; tell if all have."""
        refresh_s = _REFRESH_S if sys.stderr.isatty() else _REFRESH_OF_A_LOG_S
        with tqdm(
            total=self._num_total, initial=self._num_found, unit=" claims", mininterval=refresh_s
        ) as bar:
            while self._num_open and not stop.is_set():
                bar.update(self._save_next(timeout_s=_REFRESH_S))
                if monotonic_s() - self._shown_s >= refresh_s:
                    self._show(bar, contexts)
            while not self._finished.empty():
                bar.update(self._save_next(timeout_s=0))
            self._show(bar, contexts)
        return self._num_open == 0

    def _show(self, bar: tqdm[NoReturn], contexts: Callable[[], Sequence[ContextStatus]]) -> None:
        self._shown_s = monotonic_s()
        try:
            now = contexts()
        except PCMError:
            return  # the executor broke down: the futures tell why
        loading, warm = sum(each.loading for each in now), sum(each.warm for each in now)
        bar.set_postfix_str(f"contexts: {loading} loading, {warm} warm")

    def _save_next(self, *, timeout_s: float) -> int:
        """Save a finished batch, if there is one in time; return its number of claims."""
        try:
            batch, future = self._finished.get(timeout=timeout_s)
        except queue.Empty:
            return 0
        self._num_open -= 1
        error = future.exception()
        if error is not None:
            self._note_failure(batch, error)
            return 0
        answers, seconds = future.result()
        self._results.append(batch.results(answers, seconds))
        done = self.progress[-1][1] + len(batch.claims)
        self.progress.append((monotonic_s() - self._started_s, done))
        return len(batch.claims)

    def _note_failure(self, batch: Batch, error: BaseException) -> None:
        message = f"{batch.model.name}: {type(error).__name__}: {error}"
        if message not in self.failures:
            tqdm.write(f"A batch failed. {message}", file=sys.stderr)
        self.failures[message] += 1


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
