from __future__ import annotations

from dataclasses import dataclass

from stream_infer.observability.totals import StageTotals


@dataclass
class Counted:
    events: int = 0
    late: int = 0


def test_partitions_of_a_stage_are_summed() -> None:
    totals = StageTotals()
    one, two, other = Counted(), Counted(), Counted()
    totals.opened("customer", one)
    totals.opened("customer", two)
    totals.opened("terminal", other)
    one.events, two.events, two.late, other.events = 3, 4, 1, 9
    assert totals.counters() == {
        "customer": {"events": 7, "late": 1},
        "terminal": {"events": 9, "late": 0},
    }


def test_a_sum_does_not_fall_when_a_partition_is_revoked_and_comes_back() -> None:
    totals = StageTotals()
    seen = []
    for _ in range(3):
        counted = Counted()
        totals.opened("customer", counted)
        seen.append(totals.counters()["customer"]["events"])
        counted.events += 5
        seen.append(totals.counters()["customer"]["events"])
        totals.closed(counted)
        seen.append(totals.counters()["customer"]["events"])
    assert seen == sorted(seen)
    assert seen[-1] == 15


def test_closing_twice_counts_once() -> None:
    totals = StageTotals()
    counted = Counted(events=2)
    totals.opened("customer", counted)
    totals.closed(counted)
    totals.closed(counted)
    assert totals.counters() == {"customer": {"events": 2, "late": 0}}


def test_a_stage_has_one_meter_for_the_life_of_the_process() -> None:
    totals = StageTotals()
    totals.meter("customer").batch(5)
    totals.meter("customer").batch(5)
    assert sum(totals.meters()["customer"].facts().batch_records.counts) == 2
