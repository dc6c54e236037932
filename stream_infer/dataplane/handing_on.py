"""What a stage of this worker wrote for another one of it is handed on, and not fetched again.

Kafka's answer to a write says at which offset its records begin. Where the client has read a log
up to exactly there, these records are what its next fetch would bring: nothing else can ever stand
at their offsets. So they are put among what was fetched, and the client's position moves over them
as over anything else; what a fetch that was under way brings of them too, the client drops by its
offset. Where anything else stands in between, of another worker or a marker, the log is fetched.
Decision 32 has the figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.structs import TopicPartition

from stream_infer.dataplane.batch import ALONE_ROWS, Partition
from stream_infer.dataplane.beat import Fed
from stream_infer.dataplane.fetching import FETCH_PARTITION_BYTES, Fetches
from stream_infer.records.run import RecordRun

MUCH_SECONDS = 0.25
"""How long after a large wave there is taken to be much to write."""


class HandingOn:
    """Puts what was written among what was fetched, where it is little.

    Where there is much to write, a fetch brings what several waves wrote within its bounds, and the
    few candidates for alerts among it: stages would take them in more and smaller steps.

    fed      knows which topics stages of this worker write and read; told what has to be fetched
    seconds  a clock that never goes back
    """

    def __init__(self, fed: Fed, seconds: Callable[[], float] = time.monotonic) -> None:
        self._fed = fed
        self._seconds = seconds
        self._much_until_s = float("-inf")
        self._fetcher: Any = None
        self._fetches: Fetches | None = None
        self._under_way = 0
        self._written: dict[TopicPartition, dict[int, RecordRun]] = {}

    def attach(self, fetcher: Any, fetches: Fetches) -> None:
        """Begin with a fetcher of aiokafka that was started, and what it has fetched."""
        self._fetcher, self._fetches = fetcher, fetches

    def detach(self) -> None:
        """Let go of the fetcher: from now on everything has to be fetched."""
        self._fetcher = self._fetches = None
        self._written.clear()

    @contextmanager
    def wave(self, sizes: Mapping[Partition, int]) -> Iterator[bool]:
        """Write so many records to each destination inside, and tell what was written if asked to.

        What was written is handed on with the last such wave that is under way: the labels and
        payments that one cycle writes for the same stage are so read together.
        """
        topics = {each.topic for each in sizes} & self._fed.topics
        if sum(sizes.values()) >= ALONE_ROWS:
            self._much_until_s = self._seconds() + MUCH_SECONDS
        if not topics or self._seconds() < self._much_until_s:
            self._fed.note_writing(topics)
            yield False
            return
        self._under_way += 1
        try:
            yield True
        finally:
            self._under_way -= 1
            if not self._under_way:
                self.look_again()

    def wants(self, topic: str) -> bool:
        """Say whether what was written to a topic is to be told."""
        return topic in self._fed.topics

    def wrote(self, destination: Partition, run: RecordRun | None) -> None:
        """Take what was written, as it stands in the log; None where that is not known."""
        tp = TopicPartition(*destination)
        if run is None or self._assignment_with(tp) is None:
            self._fed.note_writing([tp.topic])
        else:
            self._written.setdefault(tp, {})[int(run.offsets[0])] = run

    def look_again(self) -> None:
        """Hand on what can be; called before each fetch, too, which something may wait behind."""
        for tp in list(self._written):
            assignment = self._assignment_with(tp)
            if assignment is None or not self._hand_on(tp, assignment):
                self._fed.note_writing([tp.topic])
                del self._written[tp]
            elif not self._written[tp]:
                del self._written[tp]

    def _assignment_with(self, tp: TopicPartition) -> Any:
        """Return the client's assignment if a partition of it can be read on, else None."""
        if self._fetcher is None:
            return None
        subscription = self._fetcher._subscriptions.subscription  # noqa: SLF001 - no public way
        assignment = None if subscription is None else subscription.assignment
        if assignment is None or not assignment.active or tp not in assignment.tps:
            return None
        return assignment if assignment.state_value(tp).has_valid_position else None

    def _hand_on(self, tp: TopicPartition, assignment: Any) -> bool:
        """Hand on what follows what was read; False where the rest is to be fetched."""
        fetches: Any = self._fetches
        written, fetched = self._written[tp], fetches.get(tp)
        is_little = sum(map(len, written.values())) < ALONE_ROWS
        if fetched is None:
            chain = Chain(assignment.state_value(tp).position)
        elif isinstance(getattr(fetched, "_partition_records", None), Chain):
            chain = fetched._partition_records  # noqa: SLF001 - no public way
        else:
            return is_little  # Whoever takes what was fetched has the fetcher look again.
        before = chain.end
        for first in sorted(written):
            # What lies before the end was fetched meanwhile.
            if first > chain.end or (first == chain.end and not chain.add(written[first])):
                break
            del written[first]
        if fetched is None and chain.end > before:
            fetches.put(
                tp, FetchResult(tp, assignment=assignment, partition_records=chain, backoff=0)
            )
            for waiter in self._fetcher._fetch_waiters:  # noqa: SLF001 - no public way
                self._fetcher._notify(waiter)  # noqa: SLF001 - no public way
        # Of those behind a gap, what stands in it may be written and not answered yet.
        return not written or (is_little and self._under_way > 0)


class Chain:
    """Runs that follow each other, taken as one, in the place of aiokafka's `PartitionRecords`.

    next_fetch_offset  where the client has to be for it to take them; behind them afterwards
    end                behind the last of them
    """

    def __init__(self, start: int) -> None:
        self.next_fetch_offset = self.end = start
        self._runs: list[RecordRun] = []
        self._bytes = 0

    def add(self, run: RecordRun) -> bool:
        """Add a run that begins at `end`; False where as much waits as a fetch may bring."""
        size = run.size
        if self._runs and self._bytes + size > FETCH_PARTITION_BYTES:
            return False
        self._bytes += size
        self._runs.append(run)
        self.end = int(run.offsets[-1]) + 1
        return True

    def __iter__(self) -> Iterator[RecordRun]:
        return self

    def __next__(self) -> RecordRun:
        if not self._runs:
            raise StopIteration
        runs, self._runs = self._runs, []
        self.next_fetch_offset = self.end
        return RecordRun.join(runs)
