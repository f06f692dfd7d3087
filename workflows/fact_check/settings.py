"""What a results directory was last used for: so that nobody mixes settings without knowing."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from fact_check.models import Model
from fact_check.prompts import Prompt

Settings = dict[str, object]


def note_settings(
    path: Path, arguments: argparse.Namespace, models: Sequence[Model], prompts: Sequence[Prompt]
) -> None:
    """Store the settings of this run; say what differs from those of the run before it."""
    claims = arguments.claims
    settings: Settings = {
        "claims": "reference data" if claims is None else str(claims.resolve()),
        "seed": arguments.seed,
        "limit": arguments.limit,
        "models": {model.name: model.fingerprint for model in models},
        "prompts": {prompt.name: prompt.fingerprint for prompt in prompts},
    }
    differences = _differences(_read(path), settings)
    if differences:
        print(
            f"{path.parent} was last used with other settings ({', '.join(differences)}). "
            "This run adds to it; its leaderboard shows the pairs and claims of this run alone."
        )
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def _read(path: Path) -> Settings | None:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # a new directory, or a note that tells nothing
    return settings if isinstance(settings, dict) else None


def _differences(before: Settings | None, now: Settings) -> list[str]:
    if before is None:
        return []
    return [_describe(key, before.get(key), now[key]) for key in now if before.get(key) != now[key]]


def _describe(key: str, before: object, now: object) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        if list(before) != list(now):
            return f"{key}: {' '.join(before)} -> {' '.join(now)}"
        return f"{key}: changed content of {' '.join(k for k in now if now[k] != before[k])}"
    return f"{key}: {before} -> {now}"
