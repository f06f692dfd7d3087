"""What tells an item from others, in this run and in later ones.

Every item has an index. With ``key=`` it has a key besides, which stays its own when the items come
in another order; without, a map that can be resumed takes a digest of the content instead.
"""

from __future__ import annotations

import operator
import pickle
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from parsl_pcm.fingerprint import fingerprint

Key = str | int
"""Of one item. Items with the same key count as the same."""

_PICKLE_PROTOCOL = 5


class Keys:
    """Says which item is which.

    Parameters
    ----------
    key
        None; the name of a field of items that are dicts; or a function that takes an item and
        returns its key.
    is_resumable
        Whether items must be known again in a later run.

    Attributes
    ----------
    column
        Name of the column that the keys have beside the results: ``"key"`` as the user gave them,
        ``"digest"`` of the content, or None: there is none.

    Raises
    ------
    TypeError
        If `key` is none of these.
    """

    def __init__(self, key: str | Callable[[Any], Key] | None, *, is_resumable: bool) -> None:
        if key is not None and not isinstance(key, str) and not callable(key):
            raise TypeError(
                "key must be the name of a field of the items, or a function that takes an item "
                f"and returns its key, not {key!r}"
            )
        self._key = key
        self.column: str | None = "key" if key is not None else "digest" if is_resumable else None
        self._read = self._reader()

    def key_of(self, index: int, item: Any) -> Key | None:
        """Return the key of an item; None if nothing asks for one.

        Raises
        ------
        TypeError, LookupError, ValueError
            If the item has no usable key; names the item. Of a key function: whatever it raises.
        """
        return None if self._read is None else self._read(index, item)

    def mark_of(self, index: int, key: Key | None) -> int:
        """Return 64 bits that stand for an item from run to run, from 0 to 2**64 - 1."""
        if self.column == "digest":  # equal items at two places are two items
            return hash64(f"{index}:{key}")
        return hash64(key if key is not None else index)

    def describe(self) -> str:
        """Return what is the same in two runs if their items have the same keys."""
        if self._key is None:
            return "index and content"
        if isinstance(self._key, str):
            return f"field {self._key!r}"
        return f"function {fingerprint(self._key)}"

    def _reader(self) -> Callable[[int, Any], Key] | None:
        if self._key is None:
            return _digest_of if self.column else None
        return self._field_of if isinstance(self._key, str) else self._result_of

    def _field_of(self, index: int, item: Any) -> Key:
        if not isinstance(item, Mapping):
            raise TypeError(
                f"key={self._key!r} names a field of items that are dicts, but item {index} is a "
                f"{type(item).__name__}: give a function, as in key=lambda item: item.id"
            )
        if self._key not in item:
            raise LookupError(
                f"item {index} has no field {self._key!r}, which key= names; its fields are: "
                f"{', '.join(map(str, item)) or 'none'}"
            )
        return _checked(item[self._key], index)

    def _result_of(self, index: int, item: Any) -> Key:
        assert callable(self._key)
        return _checked(self._key(item), index)


def hash64(key: Key) -> int:
    """Return 64 bits of the content of a key; 1 and "1" differ."""
    text = f"s{key}" if isinstance(key, str) else f"i{key}"
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _checked(key: Any, index: int) -> Key:
    if type(key) is str:
        return _checked_text(key, index)
    if type(key) is int:
        return _checked_int(key, index)
    if isinstance(key, str):
        return _checked_text(str.__str__(key), index)
    if not isinstance(key, bool) and hasattr(key, "__index__"):  # an integer of numpy
        return _checked_int(operator.index(key), index)
    raise TypeError(
        f"the key of item {index} must be a str or an int, not {type(key).__name__} ({key!r}): "
        "make it one, as in key=lambda item: str(item['id'])"
    )


def _checked_text(key: str, index: int) -> str:
    if not key.isascii():
        try:
            key.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"the key of item {index} is no valid text: {error}") from error
    return key


def _checked_int(key: int, index: int) -> int:
    if not -(2**63) <= key < 2**63:
        raise ValueError(f"the key of item {index} must fit into 64 bits, but is {key}")
    return key


def _digest_of(_index: int, item: Any) -> str:
    """Return 64 bits of the content of an item, the same in every run of the same script.

    A set of strings is pickled in another order in every process: an item that holds one is taken
    for a changed item, and done again.
    """
    try:
        content = pickle.dumps(item, _PICKLE_PROTOCOL)
    except Exception:  # noqa: BLE001 - functions of a script, for example, pickle by value alone
        content = fingerprint(item).encode()
    return blake2b(content, digest_size=8).hexdigest()
