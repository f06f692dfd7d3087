"""Claims with evidence and label: what is verified. Read from a JSONL file, checked once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SUPPORTS = "SUPPORTS"
REFUTES = "REFUTES"
NOT_ENOUGH_INFO = "NOT ENOUGH INFO"
LABELS = (SUPPORTS, REFUTES, NOT_ENOUGH_INFO)

_TEXTS = ("id", "claim", "evidence", "label")


class InputError(Exception):
    """What the user gave cannot be used; the message says what was wrong and the cure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One statement, the evidence that goes with it, and what the evidence says about it."""

    id: str
    claim: str
    evidence: str
    label: str
    source: str = ""

    @property
    def key(self) -> str:
        """What its results are found by: a claim that was edited is another claim."""
        content = f"{self.claim}\0{self.evidence}"
        return f"{self.id} {hashlib.sha256(content.encode()).hexdigest()[:12]}"


def read_claims(path: Path) -> list[Claim]:
    """Return the claims of a JSONL file, in its order.

    Raises
    ------
    InputError
        The file cannot be read, or one of its lines is no claim: names file, line and cure.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise InputError(f"{path}: cannot read the claims: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error}). Save it as UTF-8.") from error
    claims = list(_parse_lines(path, lines))
    if not claims:
        raise InputError(
            f"{path}: holds no claim. Give one JSON object a line: {', '.join(_TEXTS)}."
        )
    return claims


def labels_of(claims: Iterable[Claim]) -> tuple[str, ...]:
    """Return the labels that occur, in the order of :data:`LABELS`."""
    present = {claim.label for claim in claims}
    return tuple(label for label in LABELS if label in present)


def _parse_lines(path: Path, lines: list[str]) -> Iterator[Claim]:
    line_of_id: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        claim = _parse_claim(f"{path}:{number}", line)
        first = line_of_id.setdefault(claim.id, number)
        if first != number:
            raise InputError(
                f"{path}:{number}: id {claim.id!r} is already used in line {first}. "
                "Give every claim an id of its own."
            )
        yield claim


def _parse_claim(place: str, line: str) -> Claim:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(
            f"{place}: no valid JSON ({error}). Put one JSON object on each line."
        ) from error
    if not isinstance(row, dict):
        raise InputError(
            f"{place}: a {type(row).__name__}, not an object. Write {{...}} on each line."
        )
    for key in _TEXTS:
        _check_text(place, row, key)
    if row["label"] not in LABELS:
        raise InputError(
            f"{place}: unknown label {row['label']!r}. Use one of: {', '.join(LABELS)}."
        )
    texts = {key: row[key] for key in _TEXTS}
    return Claim(**texts, source=str(row.get("source", "")))


def _check_text(place: str, row: dict[str, object], key: str) -> None:
    if key not in row:
        raise InputError(f"{place}: key {key!r} is missing. Each claim needs: {', '.join(_TEXTS)}.")
    value = row[key]
    if not isinstance(value, str):
        raise InputError(f"{place}: {key} is {value!r}, not a string. Put it in double quotes.")
    if not value.strip() and key != "evidence":
        raise InputError(f"{place}: {key} is empty. Fill it in, or delete the line.")
