r"""Reading what schedulers call JSON.

PBS writes the values of environment variables as it finds them: ``"A":005``, ``"B":.5``,
``"C":"it\'s"``, control characters (openpbs issues 1255, 2541, pull requests 2049, 2603). And
programs print warnings before the first brace.
"""

from __future__ import annotations

import json
import re
from typing import Any

from parsl_pcm.provider.schedulers.observations import LookError

_TOKENS = re.compile(r'"(?:\\.|[^"\\])*"|[^\s"{}\[\]:,]+', re.DOTALL)
_BAD_ESCAPE = re.compile(r'\\(u[0-9a-fA-F]{4}|["\\/bfnrt])|\\')
_LAST_COMMA = re.compile(r',(\s*[}\]])|"(?:\\.|[^"\\])*"', re.DOTALL)


def loads(text: str, program: str) -> Any:
    """Return the value; None if there is none at all.

    Raises
    ------
    LookError
        It cannot be read, however kindly; names the program.
    """
    start = min((text.find(sign) for sign in "{[" if sign in text), default=None)
    if start is None:
        if text.strip():
            raise LookError(f"{program} did not print JSON: {text.strip()[:200]!r}")
        return None
    try:
        return _read(text[start:])
    except (ValueError, RecursionError):
        pass
    try:
        return _read(_repaired(text[start:]))
    except (ValueError, RecursionError) as error:
        raise LookError(f"{program} printed JSON that cannot be read: {error}") from None


def _read(text: str) -> Any:
    """Read the first value: some programs go on with another, or with words."""
    return json.JSONDecoder(strict=False).raw_decode(text)[0]


def _repaired(text: str) -> str:
    return _LAST_COMMA.sub(lambda found: found[1] or found[0], _TOKENS.sub(_as_json, text))


def _as_json(found: re.Match[str]) -> str:
    token = found[0]
    if token.startswith('"'):
        return _BAD_ESCAPE.sub(lambda escape: escape[0] if escape[1] else r"\\", token)
    try:
        json.loads(token)
    except ValueError:
        return json.dumps(token)
    return token


def as_dict(value: Any) -> dict[str, Any]:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return the value if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def as_int(value: Any) -> int | None:
    """Return a whole number that is written as number or string; None if it is neither."""
    if isinstance(value, str):
        value = value.strip()
        return int(value) if re.fullmatch(r"-?\d{1,18}", value) else None
    if isinstance(value, float):
        return int(value) if abs(value) < 1e18 else None
    return value if isinstance(value, int) else None


def as_text(value: Any) -> str:
    """Return a string as it is, a number in digits, anything else as ""."""
    return str(value) if isinstance(value, str | int | float) else ""
