"""What is decided about a transaction, from facts alone."""

from __future__ import annotations

import pytest
from aiokafka import errors as kafka_errors

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.transaction_rules import (
    Answer,
    Outcome,
    answer_of,
    markers_interval,
    next_interval,
    outcome_of,
    stop_error,
)
from stream_infer.errors import BrokerError

A, B = Partition("transactions", 0), Partition("transactions", 1)


@pytest.mark.parametrize(
    ("meant", "found", "outcome"),
    [
        ({A: 12, B: 11}, {A: 12, B: 11}, Outcome.COMMITTED),
        ({A: 12, B: 11}, {A: 10, B: 10}, Outcome.ABORTED),
        ({A: 12, B: 11}, {}, Outcome.ABORTED),  # the start of a partition was never committed
        ({A: 12, B: 10}, {A: 12, B: 99}, Outcome.COMMITTED),  # B is not ours to tell by
        ({A: 12, B: 11}, {A: 12, B: 15}, Outcome.MOVED_ON),
        ({A: 12}, {A: 15}, Outcome.MOVED_ON),
        ({A: 10}, {A: 10}, Outcome.ABORTED),  # ticks alone
    ],
)
def test_a_commit_without_an_answer_is_told_by_the_offsets_that_it_moves(
    meant: dict[Partition, int], found: dict[Partition, int], outcome: Outcome
) -> None:
    assert outcome_of({A: 10, B: 10}, meant, found) is outcome


@pytest.mark.parametrize(
    ("cost_s", "interval_s"), [(0, 0.05), (0.004, 0.05), (0.02, 0.18), (3.0, 0.2)]
)
def test_committing_takes_a_tenth_of_the_time_at_most_within_four_intervals(
    cost_s: float, interval_s: float
) -> None:
    assert next_interval(0.05, cost_s) == pytest.approx(interval_s)


def test_a_transaction_lasts_so_long_that_its_markers_stay_few() -> None:
    assert markers_interval(48, 5_000 / 20) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (kafka_errors.ProducerFenced(), Answer.AGAIN),
        (kafka_errors.IllegalOperation(), Answer.AGAIN),
        (TimeoutError(), Answer.AGAIN),
        (kafka_errors.RecordListTooLargeError(), Answer.REFUSED),
        (kafka_errors.TransactionalIdAuthorizationFailed(), Answer.STOP),
        (kafka_errors.IncompatibleBrokerVersion(), Answer.STOP),
        (kafka_errors.InvalidTimestampError(), Answer.STOP),
        (ZeroDivisionError(), Answer.STOP),
    ],
)
def test_what_an_error_asks_for(error: Exception, answer: Answer) -> None:
    assert answer_of(error) is answer


def test_a_clock_ahead_of_kafkas_is_no_fault_of_a_record() -> None:
    found = stop_error(kafka_errors.InvalidTimestampError(), "id")
    assert isinstance(found, BrokerError)
    assert found.code == "clock_ahead"
    assert "clock" in found.fix


def test_the_cause_that_the_client_hides_behind_another_error_is_named() -> None:
    error = kafka_errors.KafkaError("Unexpected error during batch delivery")
    error.__cause__ = NotImplementedError()
    assert answer_of(error) is Answer.STOP
    found = stop_error(error, "id")
    assert isinstance(found, BrokerError)
    assert found.code == "transactions_unsupported"
