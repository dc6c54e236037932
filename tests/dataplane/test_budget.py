"""Room for input is shared among the partitions that hold some."""

from __future__ import annotations

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.budget import InFlightBudget

A, B, C = (Partition("events", number) for number in range(3))


def test_a_partition_that_is_alone_may_use_all_of_it() -> None:
    budget = InFlightBudget(1_200)
    budget.take(A, 1_100)
    assert budget.has_room(A)
    budget.take(A, 100)
    assert not budget.has_room(A)


def test_those_that_hold_something_share_it_evenly_and_anybody_may_begin() -> None:
    budget = InFlightBudget(1_200)
    budget.take(A, 599)
    budget.take(B, 600)
    assert budget.has_room(A)
    assert not budget.has_room(B)
    assert budget.has_room(C)
    budget.take(C, 5_000)
    assert not budget.has_room(A)
    assert budget.held == 6_199


def test_who_has_let_go_of_all_has_no_share_any_more() -> None:
    budget = InFlightBudget(1_200)
    budget.take(A, 700)
    budget.take(B, 700)
    assert not budget.has_room(A)
    budget.release(B, 300)
    assert not budget.has_room(A)
    budget.release(B, 400)
    assert budget.has_room(A)
    assert budget.held == 700
