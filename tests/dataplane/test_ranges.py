"""Only what is complete, up to an offset, may be committed."""

from __future__ import annotations

import pytest

from stream_infer.dataplane.ranges import PartitionRanges


def test_nothing_is_committable_before_anything_is_complete() -> None:
    ranges = PartitionRanges(100)
    ranges.open(100, 104)
    assert ranges.committable() is None


def test_a_part_of_a_batch_may_be_complete_and_holds_its_bytes_until_all_of_it_is() -> None:
    ranges = PartitionRanges(0)
    ranges.open(0, 4, size=50)
    ranges.open(5, 9, size=60)
    assert ranges.complete_to(3) == 0
    assert ranges.committable() == 3
    assert ranges.complete_to(5) == 50
    assert ranges.complete_to(10) == 60
    assert ranges.committable() == 10


def test_one_offset_may_complete_several_batches_and_what_is_between_them() -> None:
    ranges = PartitionRanges(0)
    ranges.open(0, 9, size=1)
    ranges.open(11, 20, size=2)  # offset 10 was a transaction marker
    assert ranges.complete_to(21) == 3
    assert ranges.committable() == 21


def test_what_is_only_acknowledged_gives_its_bytes_back_once_and_may_not_be_committed() -> None:
    ranges = PartitionRanges(0)
    ranges.open(0, 4, size=50)
    ranges.open(5, 9, size=60)
    assert ranges.free_to(5) == 50
    assert ranges.committable() is None
    assert ranges.complete_to(10) == 60
    assert ranges.committable() == 10


def test_an_offset_is_offered_again_until_it_is_known_to_be_committed() -> None:
    ranges = PartitionRanges(0)
    ranges.open(0, 4)
    ranges.complete_to(5)
    assert ranges.committable() == 5
    assert ranges.committable() == 5
    ranges.note_committed(5)
    assert ranges.committable() is None


def test_delivering_an_offset_twice_is_refused() -> None:
    ranges = PartitionRanges(7)
    ranges.open(7, 9)
    with pytest.raises(ValueError, match="do not follow"):
        ranges.open(9, 12)


@pytest.mark.parametrize("offset", [2, 6], ids=["it went further before", "it was not handed out"])
def test_an_offset_that_cannot_be_complete_is_refused(offset: int) -> None:
    ranges = PartitionRanges(0)
    ranges.open(0, 4)
    ranges.complete_to(3)
    with pytest.raises(ValueError, match=r"not within 3\.\.5"):
        ranges.complete_to(offset)
