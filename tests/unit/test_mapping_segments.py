from __future__ import annotations

from parsl_pcm.mapping.segments import Segment, compact


def test_numbers_without_a_gap_are_kept_as_a_range() -> None:
    assert compact([3, 4, 5]) == range(3, 6)
    assert list(compact([3, 5])) == [3, 5]


def test_counts_what_is_left() -> None:
    segment = Segment(range(10), None, 100)
    segment.note(2, 5)
    segment.note(0, 2)
    assert segment.num_left == 5


def test_knows_whether_all_before_an_item_has_come() -> None:
    segment = Segment(range(100, 110), None, 100)
    assert segment.is_done_before(100)
    assert not segment.is_done_before(101)
    segment.note(2, 4)
    segment.note(0, 1)
    assert segment.is_done_before(101)
    assert not segment.is_done_before(104)
    segment.note(1, 2)
    assert segment.is_done_before(104)
    assert not segment.is_done_before(105)


def test_knows_it_with_gaps_too() -> None:
    segment = Segment([1, 5, 9], None, 100)
    segment.note(0, 1)
    assert segment.is_done_before(5)
    assert not segment.is_done_before(6)
    segment.note(1, 3)
    assert segment.is_done_before(100)


def test_ranges_that_follow_each_other_take_no_room() -> None:
    segment = Segment(range(1000), None, 100)
    for n in range(999):
        segment.note(n, n + 1)
    assert len(segment._start_of) == 1
    assert segment.is_done_before(999)
    assert not segment.is_done_before(1000)
