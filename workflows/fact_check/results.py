"""The results file: one JSON line for each inference, appended batch by batch, never rewritten.

A run that is killed in the middle of a write leaves half a last line; the next run cuts it off and
does that inference again.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from fact_check.claims import InputError


class InferenceKey(NamedTuple):
    """What makes two inferences the same: model, prompt and claim, each by its content."""

    model: str
    prompt: str
    claim_id: str
    claim: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one model answered to one prompt about one claim.

    Attributes
    ----------
    model_key, prompt_key, claim_key
        Fingerprints of the contents.
    answer
        The label that the text was read as; None: it did not parse.
    seconds
        Time in the engine, its batch's divided by the number of claims in it.
    """

    id: str
    model: str
    prompt: str
    label: str
    answer: str | None
    text: str
    error: str | None
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    model_key: str
    prompt_key: str
    claim_key: str

    @property
    def key(self) -> InferenceKey:
        """What this result is the result of."""
        return InferenceKey(self.model_key, self.prompt_key, self.id, self.claim_key)


_FIELDS = {field.name for field in fields(Result)}


class ResultsFile:
    """The results of a directory, in memory and on disk. One process at a time may have it open.

    Attributes
    ----------
    results
        What is done, by what it is the result of.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[InferenceKey, Result] = {}
        self._file: BinaryIO = path.open("a+b", buffering=0)
        try:
            self._lock()
            self._load()
        except BaseException:
            self._file.close()
            raise

    def append(self, results: Iterable[Result]) -> None:
        """Write results in one go; when this returns they survive the end of this process."""
        batch = list(results)
        lines = [json.dumps(asdict(result), ensure_ascii=False) + "\n" for result in batch]
        data = memoryview("".join(lines).encode())
        while data:  # a raw write may take less than it was given
            data = data[self._file.write(data) or 0 :]
        self.results.update({result.key: result for result in batch})

    def __enter__(self) -> ResultsFile:
        return self

    def __exit__(
        self,
        error_class: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{self.path}: another run is writing to it. Wait, or use another --out."
            ) from error

    def _load(self) -> None:
        self._file.seek(0)
        data = self._file.read()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            self._file.truncate(end)
        for number, line in enumerate(data[:end].split(b"\n")[:-1], start=1):
            result = self._parse(number, line)
            self.results[result.key] = result

    def _parse(self, number: int, line: bytes) -> Result:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise self._unusable(number, f"no valid JSON ({error})") from error
        if not isinstance(row, dict) or set(row) != _FIELDS:
            raise self._unusable(number, "not a result of this workflow")
        return Result(**row)

    def _unusable(self, number: int, reason: str) -> InputError:
        return InputError(
            f"{self.path}:{number}: {reason}. Delete that line to have its inference done again, "
            "or use another --out."
        )
