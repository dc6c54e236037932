"""A fetch is taken only where it follows what was taken before."""

from __future__ import annotations

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.continuity import Continuity, Span

ONE, OTHER = Partition("transactions", 0), Partition("transactions", 1)


def begun() -> Continuity:
    continuity = Continuity()
    continuity.restart({ONE: 5, OTHER: 0})
    return continuity


def test_what_follows_is_taken_also_past_markers_that_bring_no_records() -> None:
    continuity = begun()
    assert continuity.take({ONE: Span(5, 9), OTHER: Span(0, 0)}) == {}
    assert continuity.take({ONE: Span(9, 10)}) == {}
    assert continuity.taken_to(ONE) == 10
    assert continuity.taken_to(OTHER) == 0


def test_a_fetch_behind_one_that_nobody_took_is_sought_back_until_it_follows() -> None:
    continuity = begun()
    assert continuity.take({ONE: Span(9, 12)}) == {ONE: 5}
    assert continuity.take({ONE: Span(12, 12)}) == {ONE: 5}
    assert continuity.take({ONE: Span(5, 12)}) == {}
    assert continuity.taken_to(ONE) == 12


def test_a_seek_moves_where_the_next_fetch_has_to_begin() -> None:
    continuity = begun()
    continuity.seek({ONE: 7})
    assert continuity.take({ONE: Span(5, 9)}) == {ONE: 7}
    assert continuity.take({ONE: Span(7, 9)}) == {}


def test_partitions_of_an_older_assignment_are_forgotten() -> None:
    continuity = begun()
    continuity.restart({OTHER: 3})
    assert continuity.take({ONE: Span(5, 9)}) == {}
    assert continuity.taken_to(ONE) is None
