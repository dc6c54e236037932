"""Which crashes count as of the same range, and what follows from a trial's ends."""

from __future__ import annotations

import signal

from stream_infer.dataplane.at_work import Span
from stream_infer.supervisor.ledger import RANGES_KEPT, CrashLedger
from stream_infer.supervisor.trial import POISON_MAX, Step, Trial

SEGV, ABRT = -signal.SIGSEGV, -signal.SIGABRT


def span(first: int, last: int, partition: int = 0) -> Span:
    return Span("customer", "transactions", partition, first, last)


def test_one_crash_makes_nothing_suspect() -> None:
    assert CrashLedger().note([span(0, 9), span(0, 9, 1)]) == []


def test_what_two_crashes_have_in_common_is_suspect() -> None:
    # first   0 .......... 99
    # second        60 .......... 180
    ledger = CrashLedger()
    ledger.note([span(0, 99)])
    assert ledger.note([span(60, 180)]) == [span(60, 99)]


def test_ranges_that_touch_without_a_common_offset_are_different() -> None:
    ledger = CrashLedger()
    ledger.note([span(0, 9)])
    assert ledger.note([span(10, 19)]) == []


def test_the_same_offsets_of_other_partitions_and_topics_are_different() -> None:
    ledger = CrashLedger()
    ledger.note([span(0, 9)])
    assert ledger.note([span(0, 9, 1), span(0, 9)._replace(topic="labels")]) == []


def test_of_partitions_that_worked_together_only_those_that_did_so_twice_are_suspect() -> None:
    ledger = CrashLedger()
    ledger.note([span(0, 9), span(100, 900, 1), span(0, 9, 2)])
    suspects = ledger.note([span(5, 14), span(200, 999, 1), span(10, 19, 2)])
    assert suspects == [span(5, 9), span(200, 900, 1)]


def test_a_stage_that_reads_and_one_that_folds_the_same_offsets_are_the_same_range() -> None:
    ledger = CrashLedger()
    ledger.note([span(0, 9)])
    assert ledger.note([span(3, 4)._replace(stage="other")])


def test_what_is_forgotten_counts_from_the_beginning() -> None:
    ledger = CrashLedger()
    ledger.note([span(0, 9)])
    ledger.forget([span(9, 30)])
    assert ledger.note([span(0, 9)]) == []
    assert ledger.note([span(0, 9)]) == [span(0, 9)]


def test_the_ledger_is_bounded() -> None:
    ledger = CrashLedger()
    for first in range(0, 10 * (RANGES_KEPT + 1), 10):
        ledger.note([span(first, first + 9)])
    assert ledger.note([span(0, 9)]) == []
    assert ledger.note([span(320, 320)]) == [span(320, 320)]


def test_a_range_in_which_nothing_kills_is_innocent() -> None:
    trial = Trial(span(5, 9))
    trial.ended(0, [])
    assert trial.outcome == "innocent"
    assert trial.step is None


def test_a_record_that_kills_alone_is_condemned_and_the_range_is_tried_again() -> None:
    trial = Trial(span(5, 9))
    trial.ended(SEGV, [span(7, 7)])
    assert trial.step == Step("condemn", span(7, 7), "SIGSEGV")
    trial.ended(0, [])
    assert trial.step == Step("probe", span(5, 9))
    trial.ended(ABRT, [span(9, 9)])
    assert trial.step == Step("condemn", span(9, 9), "SIGABRT")
    trial.ended(0, [])
    trial.ended(0, [])
    assert (trial.outcome, trial.poison) == ("poison", [span(7, 7), span(9, 9)])


def test_a_crash_in_the_replay_is_taken_record_by_record_first() -> None:
    trial = Trial(span(50, 59))
    trial.ended(SEGV, [span(0, 40)])
    assert trial.step == Step("probe", span(0, 40))
    trial.ended(SEGV, [span(3, 3)])
    trial.ended(0, [])
    assert trial.step == Step("probe", span(0, 40))
    trial.ended(0, [])
    assert trial.step == Step("probe", span(50, 59))
    trial.ended(0, [])
    assert (trial.outcome, trial.poison) == ("poison", [span(3, 3)])


def test_a_probe_that_is_killed_or_fails_condemns_nothing() -> None:
    for status in (-signal.SIGKILL, 1, 137):
        trial = Trial(span(5, 9))
        trial.ended(status, [span(7, 7)])
        assert (trial.outcome, trial.poison) == ("failed", [])


def test_a_crash_outside_of_any_record_condemns_nothing() -> None:
    trial = Trial(span(5, 9))
    trial.ended(SEGV, [])
    assert trial.outcome == "failed"


def test_a_dead_letter_that_was_not_written_is_no_poison() -> None:
    trial = Trial(span(5, 9))
    trial.ended(SEGV, [span(7, 7)])
    trial.ended(1, [])
    assert (trial.outcome, trial.poison) == ("failed", [])


def test_records_are_not_given_up_without_end_when_each_of_them_kills() -> None:
    trial = Trial(span(0, 99))
    for offset in range(POISON_MAX):
        trial.ended(SEGV, [span(offset, offset)])
        trial.ended(0, [])
    trial.ended(SEGV, [span(POISON_MAX, POISON_MAX)])
    assert trial.outcome == "failed"
    assert len(trial.poison) == POISON_MAX
