from __future__ import annotations

import threading

from parsl_pcm.mapping.frames import FRAME_BYTES, FRAME_ITEMS, TOLERATED_BYTES, FrameCutter
from parsl_pcm.pickling import load_items


def test_first_frame_is_of_one_item_and_the_next_of_a_few() -> None:
    cutter = FrameCutter()
    assert cutter.num_wanted == 1
    list(cutter.cut([1]))
    assert cutter.num_wanted == 8


def test_frames_of_small_items_hold_so_many_at_most() -> None:
    cutter = FrameCutter()
    for _ in range(6):
        list(cutter.cut([1] * cutter.num_wanted))
    assert cutter.num_wanted == FRAME_ITEMS


def test_frames_of_larger_items_get_about_the_wanted_size() -> None:
    cutter = FrameCutter()
    for n in range(6):
        frames = list(cutter.cut([f"{n}{i:0600}" for i in range(cutter.num_wanted)]))
    assert [frame.num_items for frame in frames] == [cutter.num_wanted]
    assert FRAME_BYTES / 2 < len(frames[0].blob) <= FRAME_BYTES


def test_frame_that_became_too_large_is_cut_again() -> None:
    items = [f"{i:050000}" for i in range(8)]
    frames = list(FrameCutter().cut(items))
    assert len(frames) > 1
    assert all(len(frame.blob) <= TOLERATED_BYTES for frame in frames)
    assert [item for frame in frames for item in load_items(frame.blob)] == items


def test_one_item_is_a_frame_however_large() -> None:
    (frame,) = FrameCutter().cut(["x" * 10 * TOLERATED_BYTES])
    assert frame.num_items == 1


def test_items_that_cannot_be_pickled_are_single_frames_with_the_error() -> None:
    items = [0, 1, threading.Lock(), 3, 4, threading.Lock()]
    frames = list(FrameCutter().cut(items))
    assert sum(frame.num_items for frame in frames) == 6
    places = []
    place = 0
    for frame in frames:
        if frame.error is not None:
            places.append(place)
        place += frame.num_items
    assert places == [2, 5]
