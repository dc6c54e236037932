"""Partitions that feed one log are read in step with event time."""

from __future__ import annotations

from stream_infer.dataplane.alignment import NO_LIMIT, AlignmentGroup
from stream_infer.dataplane.batch import Partition

A, B, C = (Partition("in", p) for p in range(3))
HOUR = 3_600_000


def group(*partitions: Partition) -> AlignmentGroup:
    made = AlignmentGroup(HOUR)
    made.assign(partitions)
    return made


def test_a_partition_alone_is_never_held() -> None:
    assert group(A).limit(A) == NO_LIMIT


def test_an_unknown_head_holds_everybody() -> None:
    aligned = group(A, B)
    aligned.set_head(A, 0)
    assert aligned.limit(A) is None
    assert aligned.holder(A) == B


def test_a_partition_may_run_ahead_of_the_slowest_other_by_the_skew() -> None:
    aligned = group(A, B, C)
    aligned.set_head(A, 50 * HOUR)
    aligned.set_head(B, 2 * HOUR)
    aligned.set_head(C, 7 * HOUR)
    assert aligned.limit(A) == 3 * HOUR
    assert aligned.holder(A) == B


def test_the_slowest_partition_is_limited_by_the_others_only() -> None:
    aligned = group(A, B)
    aligned.set_head(A, 50 * HOUR)
    aligned.set_head(B, 2 * HOUR)
    assert aligned.limit(B) == 51 * HOUR


def test_a_partition_that_is_read_to_its_end_holds_nobody() -> None:
    aligned = group(A, B)
    aligned.set_head(A, 50 * HOUR)
    aligned.set_head(B, 2 * HOUR)
    aligned.set_read_to_end(B)
    assert aligned.limit(A) == NO_LIMIT


def test_new_records_of_a_partition_that_had_caught_up_hold_once_their_time_is_known() -> None:
    aligned = group(A, B)
    aligned.set_head(A, 50 * HOUR)
    aligned.set_read_to_end(B)
    assert aligned.set_unread(B)
    assert aligned.limit(A) == NO_LIMIT
    aligned.set_head(B, 40 * HOUR)
    assert aligned.limit(A) == 41 * HOUR


def test_unread_records_after_a_known_head_hold_from_that_head() -> None:
    aligned = group(A, B)
    aligned.set_head(A, 50 * HOUR)
    aligned.set_head(B, 2 * HOUR)
    aligned.set_unread(B)
    assert aligned.limit(A) == 3 * HOUR
