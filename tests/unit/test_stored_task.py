from __future__ import annotations

import pytest

from parsl_pcm.interchange.stored_task import StoredTask
from parsl_pcm.types import ContextKey, Digest, TaskId
from parsl_pcm.wire.messages import SubmitTask


def stored(sizes: tuple[int, ...], *payload: bytes) -> StoredTask:
    message = SubmitTask(
        task_id=TaskId(1),
        context_key=ContextKey("c"),
        function=Digest("f"),
        frame_sizes=sizes,
    )
    return StoredTask(message, payload)


def test_an_ordinary_call_is_one_item_without_frames() -> None:
    task = stored((), b"arguments")
    assert task.num_items == 1
    assert task.frames_of(0, 1) == (None, (b"arguments",))


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0, 1, (0, (b"args", b"abc"))),
        (2, 3, (0, (b"args", b"abc"))),
        (2, 4, (0, (b"args", b"abc", b"d"))),
        (3, 4, (3, (b"args", b"d"))),
        (4, 6, (4, (b"args", b"ef"))),
        (0, 6, (0, (b"args", b"abc", b"d", b"ef"))),
    ],
)
def test_a_piece_gets_the_frames_that_hold_it(
    start: int, stop: int, expected: tuple[int, tuple[bytes, ...]]
) -> None:
    task = stored((3, 1, 2), b"args", b"abc", b"d", b"ef")
    assert task.num_items == 6
    assert task.frames_of(start, stop) == expected


def test_frames_are_passed_on_and_not_copied() -> None:
    frame = b"x" * 1000
    _, payload = stored((5,), b"args", frame).frames_of(1, 3)
    assert payload[1] is frame


def test_a_payload_that_does_not_match_its_message_is_refused() -> None:
    with pytest.raises(ValueError, match="task 1 has 2 frames of 3"):
        stored((3, 1), b"args", b"abc")
