"""When partitions are asked for: inputs on a beat, what our own stages wrote at once.

Each fetch costs milliseconds of work, however little it brings, so a topic that others write is
asked for at most once a beat. What a stage of this worker has just written for another is known
to be there: it is asked for as soon as it can be read, or it would wait for a beat at every
stage of a chain. Pure decisions, but for a clock and the word from the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from aiokafka.structs import TopicPartition

GATHER_MS_MOST = 12.0
"""The beat of a busy worker, where it is not told to gather for longer."""

BUSY, IDLE = 0.75, 0.5
"""Shares of a core above and below which the beat gets longer, and shorter."""

LOOK_AT_LOAD_SECONDS = 0.1

LONGEST_SECONDS = 0.5
"""How long a fetch may wait for data where no beat is due."""

SHORTEST_SECONDS = 0.001


class Gathering:
    """How long a beat is: as short as it is told and can bear.

    A process that cannot keep up with short beats answers later than one that fetches less
    often: with two stages and 2,000 events a second the median fell from 46 ms to 19 ms when
    the broker waited 6 ms instead of 3.

    least_ms  what it is told
    seconds   a clock that never goes back
    worked    seconds of processor time that this process has used
    """

    def __init__(
        self, least_ms: float, seconds: Callable[[], float], worked: Callable[[], float]
    ) -> None:
        self._least_ms = least_ms
        self._most_ms = max(least_ms, GATHER_MS_MOST)
        self._seconds = seconds
        self._worked = worked
        self._looked_at = seconds()
        self._worked_then = worked()
        self._wait_ms = least_ms

    def wait_ms(self) -> float:
        """Return how long a beat is now, ms."""
        passed = self._seconds() - self._looked_at
        if passed >= LOOK_AT_LOAD_SECONDS:
            worked = self._worked()
            share = (worked - self._worked_then) / passed
            self._looked_at += passed
            self._worked_then = worked
            if share > BUSY:
                self._wait_ms = min(self._most_ms, self._wait_ms * 1.5)
            elif share < IDLE:
                self._wait_ms = max(self._least_ms, self._wait_ms / 1.2)
        return self._wait_ms


def nobody() -> None:
    """Wake nobody: no fetcher runs."""


class Fed:
    """Word from the stages to the fetcher that what another stage reads can be read now.

    Told on the app's event loop and taken in the fetcher's thread; `wake` crosses over.

    topics  those that stages of this worker write and read
    """

    def __init__(self) -> None:
        self.topics: frozenset[str | None] = frozenset()
        self.is_readable = False
        self.wake: Callable[[], None] = nobody
        self._is_written = False

    def note_writing(self, topics: Iterable[str]) -> None:
        """Note what is about to be written."""
        if not self._is_written:
            self._is_written = not self.topics.isdisjoint(topics)

    def tell_readable(self) -> None:
        """Say that what was written can be read; the fetcher is woken once until it has asked."""
        if self._is_written:
            self._is_written = False
            if not self.is_readable:
                self.is_readable = True
                self.wake()


class Beat:
    """Which partitions may be asked for, decided from when they were asked for last.

    beat_s  how long a beat is now, seconds
    fed     which topics stages of this worker write, and when there is something to read
    """

    def __init__(self, beat_s: Callable[[], float], fed: Fed) -> None:
        self._beat_s = beat_s
        self._fed = fed
        self._due_s: dict[TopicPartition, float] = {}

    def askable(self, tps: Iterable[TopicPartition], now_s: float) -> frozenset[TopicPartition]:
        """Return those partitions that may be asked for now."""
        due = self._due_s
        at_once = self._fed.topics if self._fed.is_readable else ()
        return frozenset(tp for tp in tps if due.get(tp, 0) <= now_s or tp.topic in at_once)

    def wait_s(
        self, tps: Iterable[TopicPartition], asked: Collection[TopicPartition], now_s: float
    ) -> float:
        """Return how long it may wait for data of `asked`: until another one is due."""
        first = min(
            (self._due_s[tp] for tp in tps if tp not in asked), default=now_s + LONGEST_SECONDS
        )
        return min(max(first - now_s, SHORTEST_SECONDS), LONGEST_SECONDS)

    def asks(self, topics: Iterable[tuple[str, Iterable[Any]]], now_s: float) -> None:
        """Note that partitions are asked for, given as a fetch request names them."""
        due_s = now_s + self._beat_s()
        for topic, partitions in topics:
            for partition, *_ in partitions:
                tp = TopicPartition(topic, partition)
                if self._due_s.get(tp, 0) <= now_s:  # Else out of turn: its turn comes as before.
                    self._due_s[tp] = due_s
            if topic in self._fed.topics:
                self._fed.is_readable = False
