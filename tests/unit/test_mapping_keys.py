from __future__ import annotations

import threading
from typing import Any

import pytest

from parsl_pcm.mapping.keys import Keys


class Text(str):
    __slots__ = ()


class Integer:
    """As an integer of numpy."""

    def __index__(self) -> int:
        return 7


@pytest.mark.parametrize(
    ("key", "item", "expected"),
    [
        ("id", {"id": "claim-17", "text": "..."}, "claim-17"),
        ("id", {"id": 17}, 17),
        (len, "abc", 3),
        (lambda item: Text(item), "abc", "abc"),
        (lambda item: Integer(), "abc", 7),
    ],
)
def test_keys_come_from_a_field_or_a_function(key: Any, item: Any, expected: Any) -> None:
    keys = Keys(key, is_resumable=False)
    found = keys.key_of(5, item)
    assert found == expected
    assert type(found) in (str, int)
    assert keys.column == "key"


def test_without_key_an_item_has_none() -> None:
    keys = Keys(None, is_resumable=False)
    assert (keys.key_of(5, "item"), keys.column) == (None, None)


def test_a_map_that_can_be_resumed_tells_changed_and_moved_items_apart() -> None:
    keys = Keys(None, is_resumable=True)
    assert keys.column == "digest"

    def mark(index: int, item: Any) -> int:
        return keys.mark_of(index, keys.key_of(index, item))

    assert mark(1, {"text": "a"}) == mark(1, {"text": "a"})
    assert len({mark(1, {"text": "a"}), mark(2, {"text": "a"}), mark(1, {"text": "b"})}) == 3


def test_an_item_with_a_key_stays_the_same_wherever_it_is() -> None:
    keys = Keys("id", is_resumable=True)
    assert keys.mark_of(1, "a") == keys.mark_of(2, "a")
    assert keys.mark_of(1, 1) != keys.mark_of(1, "1")


def test_marks_are_64_bits_and_the_same_in_every_run() -> None:
    keys = Keys("id", is_resumable=True)
    assert keys.mark_of(0, "claim-17") == 0x629B36B738563DEF
    assert all(0 <= keys.mark_of(0, number) < 1 << 64 for number in range(100))


def test_functions_are_told_apart_by_content() -> None:
    keys = Keys(None, is_resumable=True)
    digests = [keys.key_of(0, function) for function in (lambda: 1, lambda: 1, lambda: 2)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("key", "item", "error", "reason"),
    [
        ("id", "text", TypeError, r"item 5 is a str: give a function"),
        ("id", {"text": 1, "n": 2}, LookupError, r"item 5 has no field 'id'.*: text, n"),
        ("id", {"id": 1.5}, TypeError, r"key of item 5 must be a str or an int, not float \(1.5\)"),
        ("id", {"id": None}, TypeError, "key of item 5"),
        ("id", {"id": True}, TypeError, "not bool"),
        ("id", {"id": 2**63}, ValueError, "item 5 must fit into 64 bits"),
        ("id", {"id": "\ud800"}, ValueError, "item 5 is no valid text"),
        (lambda item: item["nothing"], {}, KeyError, "nothing"),
    ],
)
def test_an_item_without_a_usable_key_is_named(
    key: Any, item: Any, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        Keys(key, is_resumable=False).key_of(5, item)


def test_an_item_without_content_cannot_be_resumed() -> None:
    with pytest.raises(TypeError, match="lock"):
        Keys(None, is_resumable=True).key_of(5, threading.Lock())


def test_what_is_neither_field_nor_function_is_refused() -> None:
    with pytest.raises(TypeError, match="key must be the name of a field"):
        Keys(7, is_resumable=False)  # type: ignore[arg-type]


def test_the_same_keys_have_the_same_description() -> None:
    descriptions = [
        Keys(key, is_resumable=True).describe()
        for key in (None, "id", "name", lambda item: item.id, lambda item: item.name)
    ]
    assert len(set(descriptions)) == 5
    assert Keys(lambda item: item.id, is_resumable=True).describe() == descriptions[3]
