"""Only what is complete, without a hole before it, may be committed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.dataplane.ranges import PartitionRanges


def test_nothing_is_committable_before_a_range_is_complete() -> None:
    ranges = PartitionRanges(100)
    ranges.open(100, 104)
    assert ranges.committable() is None


def test_a_hole_holds_back_every_later_range() -> None:
    ranges = PartitionRanges(0)
    first, second = ranges.open(0, 0), ranges.open(1, 9)
    second.complete()
    assert ranges.committable() is None
    first.complete()
    assert ranges.committable() == 10


def test_offsets_that_were_never_delivered_are_covered_by_the_next_range() -> None:
    ranges = PartitionRanges(0)
    ranges.open(0, 9).complete()
    ranges.open(11, 20).complete()  # offset 10 was a transaction marker
    assert ranges.committable() == 21


def test_an_offset_is_offered_again_until_it_is_known_to_be_committed() -> None:
    ranges = PartitionRanges(0)
    ranges.open(0, 4).complete()
    assert ranges.committable() == 5
    assert ranges.committable() == 5
    ranges.note_committed(5)
    assert ranges.committable() is None


def test_delivering_an_offset_twice_is_refused() -> None:
    ranges = PartitionRanges(7)
    ranges.open(7, 9)
    with pytest.raises(ValueError, match="do not follow"):
        ranges.open(9, 12)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=20), st.data())
def test_committable_is_always_the_end_of_the_longest_complete_prefix(
    sizes: list[int], data: st.DataObject
) -> None:
    ranges = PartitionRanges(0)
    opened, position = [], 0
    for size in sizes:
        opened.append(ranges.open(position, position + size - 1))
        position += size
    done = [False] * len(opened)
    for index in data.draw(st.permutations(range(len(opened)))):
        opened[index].complete()
        done[index] = True
        prefix = done.index(False) if False in done else len(done)
        expected = sum(sizes[:prefix])
        assert (ranges.committable() or 0) == expected
        assert ranges.in_flight == len(opened) - sum(done)
