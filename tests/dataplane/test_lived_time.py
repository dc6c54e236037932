"""An outage of Kafka, or a process that stood still, is no time in which anybody was silent."""

from __future__ import annotations

import pytest

from stream_infer.dataplane.lived_time import STEP_SECONDS_MAX, TURN_SECONDS, LivedTime


class Turns:
    """Turns of a worker, one a second where a test says nothing else."""

    def __init__(self) -> None:
        self.time = LivedTime()
        self.now_s, self.answered_ms = 100.0, 1_700_000_000_000
        self.time.turn(self.now_s, self.answered_ms)

    def turn(self, *, seconds: float = TURN_SECONDS, is_answered: bool = True) -> float:
        """Let so long pass and take a turn; return what has passed in the logs by then."""
        self.now_s += seconds
        if is_answered:
            self.answered_ms += round(seconds * 1000)
        self.time.turn(self.now_s, self.answered_ms)
        return self.time.seconds()


def test_while_kafka_answers_time_passes_as_on_the_wall() -> None:
    turns = Turns()
    for _ in range(59):
        turns.turn()
    assert turns.turn() == pytest.approx(60.0)


def test_while_kafka_is_away_no_time_passes_and_afterwards_it_goes_on() -> None:
    turns = Turns()
    before = turns.turn()
    for _ in range(600):
        assert turns.turn(is_answered=False) == before
    assert turns.turn() == pytest.approx(before + TURN_SECONDS)


def test_a_process_that_stood_still_counts_next_to_nothing_of_it() -> None:
    turns = Turns()
    before = turns.turn()
    assert turns.turn(seconds=3_600) == pytest.approx(before + STEP_SECONDS_MAX)


def test_a_worker_that_reads_nothing_has_time_pass_too() -> None:
    time = LivedTime()
    time.turn(1.0, None)
    time.turn(2.0, None)
    assert time.seconds() == pytest.approx(1.0)
