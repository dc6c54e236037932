"""When partitions are asked for: inputs on a beat, what our own stages wrote at once.

Each fetch costs milliseconds of work, however little it brings, so a topic that others write is
asked for at most once a beat. What a stage of this worker has just written for another is known
to be there: it is asked for as soon as it can be read, or it would wait for a beat at every
stage of a chain. A worker that has nothing left to do need not wait for a beat that is long
because it was busy, nor does what it has not caught up with. Pure decisions,
but for a clock and the stages' word.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from aiokafka.structs import TopicPartition

BEHIND_MS, BEHIND_MS_MOST = 5.0, 12.0
"""The beat of a partition that is not caught up with: with nothing else left to do, and else."""

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

    least_ms  what it is told, and what a beat is after which nothing is left to do
    most_ms   what a beat of a busy worker comes to; never less than `least_ms`
    seconds   a clock that never goes back
    worked    seconds of processor time that this process has used
    """

    def __init__(
        self,
        least_ms: float,
        most_ms: float,
        seconds: Callable[[], float],
        worked: Callable[[], float],
    ) -> None:
        self.least_ms = least_ms
        self._most_ms = max(least_ms, most_ms)
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
                self._wait_ms = max(self.least_ms, self._wait_ms / 1.2)
        return self._wait_ms


def nobody() -> None:
    """Wake nobody: no fetcher runs."""


def no_work() -> bool:
    """Say that nothing is in work: nothing is assigned."""
    return False


class Fed:
    """Word between the stages and the fetcher: what can be read now, and whether there is work.

    Each word says what to do sooner: one that is missed costs the rest of a beat, and one that is
    said too often an empty fetch.

    topics         those that stages of this worker write and read
    is_readable    whether something was written to them that was not asked for yet
    is_in_work     says whether anything that was handed out is not answered yet
    is_coming      whether something was fetched and not handed out yet
    is_waited_for  whether the fetcher waits for longer than it would with nothing in work
    """

    def __init__(self) -> None:
        self.topics: frozenset[str | None] = frozenset()
        self.is_readable = False
        self.is_in_work: Callable[[], bool] = no_work
        self.is_coming = False
        self.is_waited_for = False
        self.wake: Callable[[], None] = nobody
        self._is_written = False

    @property
    def is_drained(self) -> bool:
        """Whether nothing is left to do until more is fetched."""
        return not (self.is_coming or self.is_readable or self.is_in_work())

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

    def tell_answered(self) -> None:
        """Say that nothing is in work any more; a fetcher that waits for that is woken."""
        if self.is_waited_for and self.is_drained:
            self.is_waited_for = False
            self.wake()


class Beat:
    """Which partitions may be asked for, decided from when they were asked for last.

    gathering  how long a beat is
    fed        what stages of this worker have written, and whether they have work
    """

    def __init__(self, gathering: Gathering, fed: Fed) -> None:
        self._gathering = gathering
        self._fed = fed
        self._asked_s: dict[TopicPartition, float] = {}
        self._beat_s: dict[TopicPartition, float] = {}
        """How long a beat was when it was asked for."""
        self._brought: set[TopicPartition] = set()
        """What brought something since it was asked for last."""
        self._behind: set[TopicPartition] = set()
        """What brought so much when it was asked for last that there is more."""

    def askable(self, tps: Iterable[TopicPartition], now_s: float) -> frozenset[TopicPartition]:
        """Return those partitions that may be asked for now."""
        is_drained = self._fed.is_drained
        at_once = self._fed.topics if self._fed.is_readable else ()
        return frozenset(
            tp
            for tp in tps
            if self._due_s(tp, is_drained=is_drained) <= now_s or tp.topic in at_once
        )

    def wait_s(
        self, tps: Iterable[TopicPartition], asked: Collection[TopicPartition], now_s: float
    ) -> float:
        """Return how long it may wait for data of `asked`: until another one is due."""
        is_drained = self._fed.is_drained
        others = [tp for tp in tps if tp not in asked]
        first = min(
            (self._due_s(tp, is_drained=is_drained) for tp in others),
            default=now_s + LONGEST_SECONDS,
        )
        self._fed.is_waited_for = any(self._due_s(tp, is_drained=True) < first for tp in others)
        return min(max(first - now_s, SHORTEST_SECONDS), LONGEST_SECONDS)

    def asks(self, topics: Iterable[tuple[str, Iterable[Any]]], now_s: float) -> None:
        """Note that partitions are asked for, given as a fetch request names them."""
        beat_s = self._gathering.wait_ms() / 1000
        for topic, partitions in topics:
            for partition, *_ in partitions:
                tp = TopicPartition(topic, partition)
                self._asked_s[tp], self._beat_s[tp] = now_s, beat_s
                self._brought.discard(tp)
                self._behind.discard(tp)
            if topic in self._fed.topics:
                self._fed.is_readable = False

    def brings(self, tp: TopicPartition, *, is_full: bool = False) -> None:
        """Note that something was fetched of a partition.

        is_full  whether it is about as much as a fetch may bring
        """
        self._brought.add(tp)
        if is_full:
            self._behind.add(tp)
        self._fed.is_coming = True

    def is_idle(self, topics: Iterable[tuple[str, Iterable[Any]]]) -> bool:
        """Say whether nothing is known to be there of what a fetch request would ask for.

        It brought nothing when it was asked for last, and no stage here has written to it since.
        """
        fed = self._fed.topics if self._fed.is_readable else ()
        return not any(
            topic in fed or tp in self._brought or tp not in self._asked_s
            for topic, partitions in topics
            for tp in (TopicPartition(topic, partition) for partition, *_ in partitions)
        )

    def _due_s(self, tp: TopicPartition, *, is_drained: bool) -> float:
        """Return when a partition may be asked for; a long beat spares a busy process fetches."""
        asked_s = self._asked_s.get(tp)
        if asked_s is None:
            return 0.0
        beat_s = self._beat_s[tp]
        if is_drained:
            beat_s = min(beat_s, self._gathering.least_ms / 1000)
        if tp in self._behind:
            beat_s = min(beat_s, (BEHIND_MS if is_drained else BEHIND_MS_MOST) / 1000)
        return asked_s + beat_s
