"""Inputs are asked for on a beat; what a stage of this worker wrote for another, at once."""

from __future__ import annotations

import pytest
from aiokafka.structs import TopicPartition

from stream_infer.dataplane.beat import (
    BEHIND_MS,
    BEHIND_MS_MOST,
    LONGEST_SECONDS,
    SHORTEST_SECONDS,
    Beat,
    Fed,
    Gathering,
)

BEAT_S = 0.010
STRETCHED_S = 0.012
"""What a beat of a busy process comes to."""
INPUT, OTHER, INTERNAL = (
    TopicPartition("transactions", 0),
    TopicPartition("transactions", 1),
    TopicPartition("fraud-terminal", 0),
)
ALL = (INPUT, OTHER, INTERNAL)


class Asking:
    """A beat and its fetcher, at moments that a test names."""

    def __init__(self) -> None:
        self.wakes = 0
        self.fed = Fed()
        self.fed.topics = frozenset({"fraud-terminal"})
        self.fed.wake = self._note
        self.fed.is_in_work = lambda: self.is_in_work
        self.is_in_work = True
        self._now_s = self._worked_s = 0.0
        self.beat = self._beat_of(BEAT_S, STRETCHED_S)

    def _beat_of(self, least_s: float, most_s: float) -> Beat:
        gathering = Gathering(
            least_s * 1000, most_s * 1000, lambda: self._now_s, lambda: self._worked_s
        )
        return Beat(gathering, self.fed)

    def slow_down(self, beat_s: float) -> None:
        """Have beats of a length, whether the process is busy or not."""
        self.beat = self._beat_of(beat_s, beat_s)

    def _note(self) -> None:
        self.wakes += 1

    def stretch(self) -> None:
        """Have the process work so much that the next beat is a longer one."""
        self._now_s += 0.1
        self._worked_s += 0.09

    def wait(self, at_s: float) -> float:
        """Wait for what is due; return how long."""
        return self.beat.wait_s(ALL, (), at_s)

    def finish(self) -> None:
        """Answer for everything that was handed out."""
        self.is_in_work = False
        self.fed.tell_answered()

    def ask(self, at_s: float) -> frozenset[TopicPartition]:
        """Ask for what may be asked for; return it."""
        asked = self.beat.askable(ALL, at_s)
        topics: dict[str, list[tuple[int, int, int]]] = {}
        for tp in asked:
            topics.setdefault(tp.topic, []).append((tp.partition, 0, 0))
        self.beat.asks(topics.items(), at_s)
        return asked

    def write(self, topic: str) -> None:
        """Write to a topic, and have it acknowledged."""
        self.fed.note_writing([topic])
        self.fed.tell_readable()


def test_everything_may_be_asked_for_at_first_and_again_a_beat_later() -> None:
    asking = Asking()
    assert asking.ask(1.0) == set(ALL)
    assert asking.ask(1.0 + BEAT_S / 2) == set()
    assert asking.ask(1.0 + BEAT_S) == set(ALL)


def test_what_a_stage_wrote_for_another_does_not_wait_for_the_beat() -> None:
    asking = Asking()
    asking.ask(1.0)
    asking.write("fraud-terminal")
    assert asking.wakes == 1
    assert asking.ask(1.002) == {INTERNAL}
    assert asking.ask(1.003) == set(), "it was asked for; nothing more is known to be there"


def test_what_was_asked_for_out_of_turn_has_its_turn_a_beat_later() -> None:
    asking = Asking()
    asking.ask(1.0)
    asking.write("fraud-terminal")
    asking.ask(1.008)
    assert asking.ask(1.0 + BEAT_S) == {INPUT, OTHER}
    assert asking.ask(1.008 + BEAT_S) == {INTERNAL}


def test_the_fetcher_is_woken_once_until_it_has_asked() -> None:
    asking = Asking()
    asking.ask(1.0)
    for _ in range(5):
        asking.write("fraud-terminal")
    assert asking.wakes == 1
    asking.ask(1.002)
    asking.write("fraud-terminal")
    assert asking.wakes == 2


def test_outputs_that_no_stage_here_reads_wake_nobody() -> None:
    asking = Asking()
    asking.ask(1.0)
    asking.write("scored-transactions")
    assert asking.wakes == 0
    assert asking.ask(1.002) == set()


def test_nothing_is_told_of_what_is_not_readable_yet() -> None:
    asking = Asking()
    asking.ask(1.0)
    asking.fed.note_writing(["fraud-terminal"])
    assert asking.wakes == 0
    assert asking.ask(1.002) == set()


def test_a_fetch_may_wait_until_the_next_partition_is_due() -> None:
    asking = Asking()
    asking.ask(1.0)
    asking.write("fraud-terminal")
    assert asking.beat.wait_s(ALL, {INTERNAL}, 1.004) == pytest.approx(BEAT_S - 0.004)
    assert asking.beat.wait_s(ALL, {INTERNAL}, 1.02) == SHORTEST_SECONDS, "never none at all"


def test_a_fetch_of_everything_waits_for_data_however_long() -> None:
    asking = Asking()
    assert asking.beat.wait_s(ALL, set(ALL), 5.0) == LONGEST_SECONDS


def test_a_long_beat_of_a_busy_process_ends_when_nothing_is_left_to_do() -> None:
    asking = Asking()
    asking.stretch()
    asking.ask(1.0)
    assert asking.ask(1.0 + BEAT_S) == set()
    assert asking.wait(1.0 + BEAT_S) == pytest.approx(STRETCHED_S - BEAT_S)
    asking.finish()
    assert asking.wakes == 1
    assert asking.ask(1.0 + BEAT_S) == set(ALL)


def test_and_not_before_a_short_one_is_over() -> None:
    asking = Asking()
    asking.stretch()
    asking.ask(1.0)
    asking.finish()
    assert asking.ask(1.002) == set()
    assert asking.wait(1.002) == pytest.approx(BEAT_S - 0.002)


def test_it_ends_with_nothing_that_is_still_to_be_handed_out_or_asked_for() -> None:
    asking = Asking()
    asking.stretch()
    asking.ask(1.0)
    asking.wait(1.0)
    asking.fed.is_coming = True
    asking.finish()
    assert asking.wakes == 0
    assert asking.ask(1.0 + BEAT_S) == set()
    asking.fed.is_coming = False
    asking.write("fraud-terminal")
    wakes = asking.wakes
    asking.finish()
    assert asking.wakes == wakes
    assert asking.ask(1.0 + BEAT_S) == {INTERNAL}


def test_a_fetcher_that_waits_for_no_long_beat_is_not_woken_by_the_end_of_the_work() -> None:
    asking = Asking()
    asking.ask(1.0)
    asking.wait(1.0)
    asking.finish()
    assert asking.wakes == 0


def test_a_partition_is_idle_until_it_brings_something_again() -> None:
    asking = Asking()
    request = [(OTHER.topic, [(OTHER.partition, 0, 0)])]
    assert not asking.beat.is_idle(request), "nobody has asked for it yet"
    asking.ask(1.0)
    assert asking.beat.is_idle(request)
    asking.beat.brings(INPUT)
    assert asking.beat.is_idle(request)
    asking.beat.brings(OTHER)
    assert not asking.beat.is_idle(request)
    asking.ask(2.0)
    assert asking.beat.is_idle(request)


def test_what_a_stage_wrote_to_is_not_idle() -> None:
    asking = Asking()
    asking.ask(1.0)
    request = [(INTERNAL.topic, [(INTERNAL.partition, 0, 0)])]
    assert asking.beat.is_idle(request)
    asking.write("fraud-terminal")
    assert not asking.beat.is_idle(request)


def test_what_is_not_caught_up_with_waits_for_no_long_beat() -> None:
    asking = Asking()
    asking.slow_down(1.0)
    asking.ask(1.0)
    asking.beat.brings(INPUT, is_full=True)
    asking.beat.brings(OTHER)
    assert asking.ask(1.0 + BEHIND_MS_MOST / 1000 - 0.001) == set()
    assert asking.wait(1.0) == pytest.approx(BEHIND_MS_MOST / 1000)
    assert asking.ask(1.0 + BEHIND_MS_MOST / 1000) == {INPUT}
    assert asking.ask(1.5) == set(), "it brought nothing more that time"
    assert asking.ask(2.0) == {OTHER, INTERNAL}


def test_and_for_less_with_nothing_else_left_to_do() -> None:
    asking = Asking()
    asking.slow_down(1.0)
    asking.ask(1.0)
    asking.beat.brings(INPUT, is_full=True)
    asking.fed.is_coming = False  # it was handed out
    asking.wait(1.0)
    asking.finish()
    assert asking.wakes == 1
    assert asking.ask(1.0 + BEHIND_MS / 1000) == {INPUT}
