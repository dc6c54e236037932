"""What of each assigned partition was handed out, what of it is safe, and what is committed.

`Ledger` owns the ranges and the budget of one worker's current assignment. At least once, it also
commits what is safe; exactly once, the senders commit, and it is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import errors as kafka_errors

from stream_infer.dataplane.batch import BATCH_ROWS_MAX, Partition, RecordBatch
from stream_infer.dataplane.budget import InFlightBudget
from stream_infer.dataplane.offsets import NOTHING_READ, ReadTo, StartPoint, commit_metadata
from stream_infer.dataplane.ranges import PartitionRanges
from stream_infer.records.run import RecordRun

log = structlog.get_logger("stream_infer.dataplane")

GROUP_MOVED_ON = (kafka_errors.CommitFailedError, kafka_errors.IllegalStateError)
"""What the client raises when the group has taken a partition away meanwhile."""

ROOM_SECONDS = 0.05

CommitPositions = Callable[[Mapping[Partition, tuple[int, str]]], Awaitable[None]]


class Ledger:
    """The offsets of one worker.

    bytes_max      of input in flight
    tell           called with each offset that is committed now
    tell_done      called when outputs are safe
    tell_answered  called when nothing is in work any more
    """

    def __init__(
        self,
        bytes_max: int,
        tell: Callable[[Partition, int], None],
        tell_done: Callable[[], None] = lambda: None,
        tell_answered: Callable[[], None] = lambda: None,
    ) -> None:
        self.budget = InFlightBudget(bytes_max)
        self.read_to: Callable[[Partition], ReadTo] = lambda _partition: NOTHING_READ
        self.commit_positions: CommitPositions | None = None
        self._bytes_max = bytes_max
        self._tell = tell
        self._tell_done = tell_done
        self._tell_answered = tell_answered
        self._ranges: dict[Partition, PartitionRanges] = {}
        self._starts: Mapping[Partition, StartPoint] = {}
        self._is_over = True
        self._room = asyncio.Event()

    def assign(self, starts: Mapping[Partition, StartPoint]) -> None:
        """Begin with the partitions of a new assignment."""
        self.budget = InFlightBudget(self._bytes_max)
        self._ranges = {p: PartitionRanges(start.position) for p, start in starts.items()}
        self._starts = dict(starts)
        self._is_over = False

    def revoked(self) -> None:
        """Let go of what is in flight; positions are known until the next assignment.

        What was not committed by now never is: others may have come further, and this process may
        be a member of the next generation, whose commits the group takes.
        """
        self._is_over = True
        self.budget = InFlightBudget(self._bytes_max)

    def metadata(self, partition: Partition) -> str:
        """Return what is stored with each commit of a partition."""
        start = self._starts[partition]
        return commit_metadata(start.declared, start.base, start.partitions)

    # -- what is handed out --------------------------------------------------------------------

    def open(
        self, source: Partition, records: Sequence[Any], is_ours: Callable[[], bool]
    ) -> Iterator[RecordBatch]:
        """Register fetched records and yield them as batches, skipping what was taken before.

        is_ours  whether the partition is still this worker's; asked before each batch
        """
        ranges = self._ranges.get(source)
        records = RecordRun.of(records)
        for start in range(0, len(records), BATCH_ROWS_MAX):
            if ranges is None or not self.is_current(source, ranges) or not is_ours():
                return  # Revoked in the meantime; whoever owns it next reads it.
            part = records[start : start + BATCH_ROWS_MAX].since(ranges.position)
            if part:
                batch = RecordBatch(source, part, ranges)
                ranges.open(batch.first, batch.last, batch.bytes)
                self.budget.take(source, batch.bytes)
                yield batch

    def is_current(self, source: Partition, ranges: PartitionRanges | None) -> bool:
        """Say whether ranges are of the current assignment."""
        return self._ranges.get(source) is ranges

    async def wait_for_room(self) -> None:
        """Wait until a batch is finished, or a moment has passed."""
        self._room.clear()
        await moment(self._room, seconds=ROOM_SECONDS)

    def positions(self) -> dict[Partition, int]:
        """Return the next offset to deliver of each partition."""
        return {partition: ranges.position for partition, ranges in self._ranges.items()}

    def in_work(self) -> dict[Partition, tuple[int, int]]:
        """Return the committed offset and the next offset to deliver of each partition."""
        return {p: (ranges.committed, ranges.position) for p, ranges in self._ranges.items()}

    def committed_of(self, partition: Partition) -> int:
        """Return the offset that the group is known to have."""
        return self._ranges[partition].committed

    def has_unread(self, source: Partition, position: int) -> bool:
        """Say whether a log is known to have more, at or behind an offset.

        Markers of transactions and compacted records stand in a log and are never handed out, so
        it is read to its end when the client has come there.
        """
        if self._ranges[source].position > position:
            return True  # Handed out, and on its way to the task.
        read = self.read_to(source)
        end = max(self._starts[source].end, read.end or 0)
        return max(position, read.position or 0) < end

    def log_end(self, source: Partition, position: int) -> int | None:
        """Return the end of a log as the last fetch told it, None if not known.

        position  up to where it was worked on; the end, where nothing but markers is left to read
        """
        return self.read_to(source).end if self.has_unread(source, position) else position

    def is_in_work(self) -> bool:
        """Say whether anything that was handed out is not answered yet."""
        return self.budget.held > 0

    # -- what is safe, and what is committed -----------------------------------------------------

    def done(self, partition: Partition, offset: int) -> None:
        """Note up to where a partition's outputs are safe, and make room for more input."""
        freed = self._ranges[partition].complete_to(offset)
        self._tell_done()
        self._free(partition, freed)

    def acknowledged(self, partition: Partition, offset: int) -> None:
        """Make room for more input: what is kept for an abort, the sender bounds."""
        self._free(partition, self._ranges[partition].free_to(offset))

    def _free(self, partition: Partition, freed: int) -> None:
        if freed:
            self.budget.release(partition, freed)
            self._room.set()
            if not self.is_in_work():
                self._tell_answered()

    def committed(self, offsets: Mapping[Partition, int]) -> None:
        """Note what the senders have committed."""
        for partition, offset in offsets.items():
            self.done(partition, offset)
            self._note_committed(partition, offset)

    def _note_committed(self, partition: Partition, offset: int) -> None:
        self._ranges[partition].note_committed(offset)
        self._tell(partition, offset)

    async def commit(self) -> None:
        """Commit what is safe. A group that has moved on is no error: it is read again."""
        if self._is_over:
            return
        offsets = {
            partition: offset
            for partition, ranges in self._ranges.items()
            if (offset := ranges.committable()) is not None
        }
        if not offsets or self.commit_positions is None:
            return
        try:
            await self.commit_positions({p: (o, self.metadata(p)) for p, o in offsets.items()})
        except GROUP_MOVED_ON as error:
            log.warning("commit_refused", cause=str(error), partitions=len(offsets))
            return
        for partition, offset in offsets.items():
            self._note_committed(partition, offset)


async def moment(event: asyncio.Event, *, seconds: float) -> None:
    """Wait for an event, or so long.

    Not by `asyncio.wait_for`: before Python 3.12 it returns, instead of being cancelled, when
    the event is set in the very turn of the cancellation (CPython issue 86296).
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
