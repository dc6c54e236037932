"""One partition of one stage, from its assignment to its end.

`PartitionTask` owns the partition's state and the order of its work:

1. restore: fold the log silently from the declared start to the committed offset;
2. run: read a batch, fold as many rows as the alignment permits, write their outputs,
   and only when every output is acknowledged or settled complete the batch's range;
3. close: let the writes that are under way finish, take nothing new.

While the outputs of one step are on their way the next step is computed, but never
sent: outputs of a partition reach Kafka in the order of its input.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from time import perf_counter
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from stream_infer.dataplane.alignment import NO_LIMIT, AlignmentGroup
from stream_infer.dataplane.batch import BATCH_ROWS_MAX, BadRow, Partition, RecordBatch, merge
from stream_infer.dataplane.offsets import StartPoint
from stream_infer.dataplane.outputs import Outputs
from stream_infer.dataplane.sender import StageSender
from stream_infer.dataplane.stage import AnyRead, State, StepResult
from stream_infer.dataplane.together import StageWork
from stream_infer.errors import BrokerError
from stream_infer.observability.meter import SEND

log = structlog.get_logger("stream_infer.dataplane")

OUTPUT_REFUSED = "output_refused"
BREACH_LOG_INTERVAL_S = 60.0


class Phase(Enum):
    """Where a task is in its life; it only ever moves down this list."""

    ASSIGNED = "assigned"
    RESTORING = "restoring"
    RUNNING = "running"
    DRAINING = "draining"
    CLOSED = "closed"


@dataclass(slots=True)
class Counters:
    """What a stage's partition has done since it was assigned."""

    batches: int = 0
    events: int = 0
    forwarded: int = 0
    scored: int = 0
    alerts: int = 0
    dead_letters: int = 0
    late: int = 0
    duplicates: int = 0
    ignored: int = 0
    restored: int = 0
    align_waits: int = 0
    align_breaches: int = 0

    def add(self, result: StepResult) -> None:
        """Count one step."""
        self.events += result.events
        self.forwarded += result.emitted.forwarded
        self.scored += result.emitted.scored
        self.alerts += result.emitted.alerts
        self.dead_letters += result.dead_letters
        self.late += result.late
        self.duplicates += result.duplicates
        self.ignored += result.ignored


class Replayer(Protocol):
    """Reads a stretch of a partition's log, apart from the group."""

    async def __call__(
        self,
        source: Partition,
        start: int,
        end: int,
        on_batch: Callable[[RecordBatch], None],
    ) -> None:
        """Hand every record of offsets ``start..end-1`` to `on_batch`, in order."""


@dataclass(slots=True)
class Surroundings:
    """What a task needs from outside, so that a test can give it anything else.

    replay         reads the log for the restore
    on_release     called with the size of each batch that is finished or dropped
    on_progress    called whenever the partition's head may have moved
    wait_progress  waits until any partition's head may have moved, or a moment has passed
    seconds        a clock that never goes back, in seconds
    highwater      the end of a partition's log as far as it is known
    is_restoring   whether any partition's state is still being restored
    """

    replay: Replayer
    on_release: Callable[[Partition, int], None]
    on_progress: Callable[[], None]
    wait_progress: Callable[[], Awaitable[None]]
    seconds: Callable[[], float]
    highwater: Callable[[Partition], int | None]
    is_restoring: Callable[[], bool]
    state_bytes_max: int | None = None
    align_wait_max_s: float | None = 5.0


class PartitionTask:
    """The work on one partition.

    work    does the stage's work, for all its partitions together
    source  topic and partition
    start   where it begins
    state   a state that is right at ``start.replay_from``, None to begin with an empty one
    group   the alignment group it belongs to, None if its output needs no alignment
    """

    def __init__(
        self,
        work: StageWork,
        source: Partition,
        start: StartPoint,
        state: State | None,
        sender: StageSender,
        group: AlignmentGroup | None,
        surroundings: Surroundings,
    ) -> None:
        self.stage = work.stage
        self.source = source
        self.start = start
        self.phase = Phase.ASSIGNED
        self.counters = Counters()
        self.state = state
        self._work_together = work
        self._sender = sender
        self._group = group
        self._around = surroundings
        self._queue: deque[RecordBatch] = deque()
        self._arrived = asyncio.Event()
        self._taken: RecordBatch | None = None
        self._reading: AnyRead | None = None
        self._next_row = 0
        self._position = start.position
        self._sending: asyncio.Task[None] | None = None
        self._sending_head: int | None = None
        self._restored = False
        self._failure: BaseException | None = None
        self._steps_folded = 0
        self._steps_acknowledged = 0
        self._breach_told_at: float | None = None
        self._worked_at: float | None = None
        self.held = False
        """Whether it waits for another partition by alignment."""

    @property
    def position(self) -> int:
        """Offset of the next record to be worked on."""
        return self._position

    def idle_clock(self) -> tuple[int, float] | None:
        """Return the log's clock and for how many seconds nothing has moved it.

        None while there is anything to read or to restore, or nothing was read yet.
        """
        idle = self.phase is Phase.RUNNING and self._taken is None and not self._has_unread()
        if not idle or self.state is None or self._worked_at is None:
            return None
        clock = self.state.clock_ms
        return None if clock is None else (clock, self._around.seconds() - self._worked_at)

    # -- what comes in ------------------------------------------------------------

    def put(self, batch: RecordBatch) -> None:
        """Take a batch that was delivered; its range is already registered."""
        self._queue.append(batch)
        self._arrived.set()
        self.refresh_head()

    # -- life -----------------------------------------------------------------------

    async def run(self) -> None:
        """Restore, then work until cancelled. Raises what must stop the worker."""
        await self._restore()
        self._restored = True
        await self._sender.start()
        self.phase = Phase.RUNNING
        while self.phase is Phase.RUNNING:
            batch = await self._next_batch()
            await self._work(batch)

    async def close(self) -> None:
        """Take nothing new, and let what is being sent finish."""
        self.phase = Phase.DRAINING
        if self._sending is not None:
            await asyncio.wait([self._sending])
        self.phase = Phase.CLOSED

    def settled(self) -> tuple[int, State] | None:
        """Return ``(offset, state)`` if the state is exactly the fold up to that offset.

        Not so after a step whose outputs were not acknowledged, or in the middle of a
        batch: what is committed is then less than what was folded.
        """
        whole = self._steps_folded == self._steps_acknowledged and self._reading is None
        if self.state is None or not whole or not self._restored:
            return None
        return self._position, self.state

    async def abandon(self) -> None:
        """Stop without waiting for acknowledgements; the state is worth nothing afterwards."""
        self.phase = Phase.CLOSED
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
            await asyncio.wait([self._sending])
        self.state = None

    def drop_queued(self) -> None:
        """Give back the room of batches that were delivered and not worked on."""
        while self._queue:
            batch = self._queue.popleft()
            self._around.on_release(self.source, batch.bytes)
        if self._taken is not None:
            self._around.on_release(self.source, self._taken.bytes)
            self._taken = self._reading = None

    async def _restore(self) -> None:
        self.phase = Phase.RESTORING
        if self.state is None:
            self.state = self.stage.open_state(self._around.state_bytes_max)
        if self.state is None or self.start.replay_from >= self.start.position:
            return

        def fold(batch: RecordBatch) -> None:
            [read] = self.stage.read([batch])
            self.stage.fold_only(read, self.state)
            self.counters.restored += len(batch)

        await self._around.replay(self.source, self.start.replay_from, self.start.position, fold)

    # -- the loop ---------------------------------------------------------------------

    async def _next_batch(self) -> RecordBatch:
        while not self._queue:
            self._arrived.clear()
            self.refresh_head()
            if self._failure is not None:
                raise self._failure
            await self._arrived.wait()
        # What piled up during the last step is done in one: per-batch costs are paid once.
        taken = [self._queue.popleft()]
        rows = len(taken[0])
        while self._queue and rows + len(self._queue[0]) <= BATCH_ROWS_MAX:
            rows += len(self._queue[0])
            taken.append(self._queue.popleft())
        return merge(taken)

    async def _work(self, batch: RecordBatch) -> None:
        """Do one batch, in as many steps as the alignment asks for."""
        self._taken = batch
        read = await self._work_together.read(batch)
        self._reading, self._next_row = read, 0
        self.counters.batches += 1
        rows = len(read.rows)
        while True:
            end = await self._permitted(read)
            part = read.slice(self._next_row, end)
            self._steps_folded += 1
            result = await self._work_together.step(part, self.state)
            self.counters.add(result)
            self._worked_at = self._around.seconds()
            if result.emitted.scored:
                self._work_together.note_ages(part.columns)
            head = int(part.progress[0]) if len(part.progress) else None
            await self._finish_sending()
            last = end >= rows
            self._next_row = end
            if last:
                self._taken = self._reading = None
                self._position = batch.last + 1
            self._begin_sending(result, batch, part.bad, head, last=last)
            if last:
                return
            # The rest of the batch waits for others; let this step's acknowledgement
            # move the head first.
            await self._finish_sending()

    def _begin_sending(
        self,
        result: StepResult,
        batch: RecordBatch,
        bad: list[BadRow],
        head: int | None,
        *,
        last: bool,
    ) -> None:
        if not result.outputs:
            self._acknowledged(batch, last=last)
            return
        self._sending_head = head
        self._sending = asyncio.create_task(
            self._send(result.outputs, batch, bad, last=last), name=f"send-{self.source}"
        )
        self._sending.add_done_callback(self._note_failure)

    def _note_failure(self, sending: asyncio.Task[None]) -> None:
        # A task that idles would otherwise not learn that its last outputs failed.
        if not sending.cancelled() and sending.exception() is not None:
            self._failure = sending.exception()
            self._arrived.set()

    async def _send(
        self, outputs: Outputs, batch: RecordBatch, bad: list[BadRow], *, last: bool
    ) -> None:
        began = perf_counter()
        await self._deliver(outputs, batch, bad)
        self._work_together.meter.lap(SEND, began)
        self._sending_head = None
        self._acknowledged(batch, last=last)

    async def _deliver(self, outputs: Outputs, batch: RecordBatch, bad: list[BadRow]) -> None:
        """Write outputs; what is refused for good goes to a side topic, at last as a stub."""
        causes = {row.row: row for row in bad}
        stubs: set[tuple[str, int]] = set()
        side, stage = self.stage.side, self.stage.name
        while refused := await self._sender.deliver(outputs):
            outputs = Outputs()
            for destination, writes, answer in refused:
                for row in writes.rows:
                    if (destination.topic, row) in stubs:
                        # Nothing is ever dropped unseen: without a place for it the worker stops.
                        raise _stub_refused(self.source, destination, answer)
                    if side.owns(destination.topic):
                        side.stub(outputs, batch, causes.get(row), row, destination.topic, stage)
                        stubs.add((destination.topic, row))
                        continue
                    message = f"Topic {destination.topic} refused the output: {answer}."
                    causes[row] = BadRow(row, OUTPUT_REFUSED, message)
                    side.dead_letter(outputs, batch, causes[row], stage)
                    self.counters.dead_letters += 1
                    self._work_together.meter.dead_letter(OUTPUT_REFUSED)

    def _acknowledged(self, batch: RecordBatch, *, last: bool) -> None:
        self._steps_acknowledged += 1
        if last:
            batch.complete()
            self._around.on_release(self.source, batch.bytes)
        self.refresh_head()

    async def _finish_sending(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            try:
                await asyncio.shield(sending)
            except asyncio.CancelledError:
                # Cancelled while waiting: `close` and `abandon` still need to see it.
                self._sending = sending
                raise

    # -- alignment ----------------------------------------------------------------------

    async def _permitted(self, read: AnyRead) -> int:
        """Return the end of the rows that may be folded now, at least one more than before."""
        rows = len(read.rows)
        if self._group is None or self._next_row >= rows:
            return rows
        stalled_since = self._around.seconds()
        held_by: tuple[Partition | None, int | None] = (None, None)
        while True:
            self.refresh_head()
            limit = self._group.limit(self.source)
            end = _rows_up_to(read.progress, self._next_row, limit)
            if end == rows or self._is_worth_a_step(read, limit):
                return max(end, self._next_row + 1)
            self.counters.align_waits += 1
            holder = self._group.holder(self.source)
            if (holder, limit) != held_by:
                held_by, stalled_since = (holder, limit), self._around.seconds()
            patience = self._around.align_wait_max_s
            if self._around.is_restoring():
                stalled_since = self._around.seconds()
            if patience is not None and self._around.seconds() - stalled_since > patience:
                self.counters.align_breaches += 1
                self._tell_breach(holder)
                return rows
            self.held = True
            await self._around.wait_progress()
            self.held = False

    def _tell_breach(self, holder: Partition | None) -> None:
        """Log that rows are folded out of step; at most once a minute, for each batch may do so."""
        now, told = self._around.seconds(), self._breach_told_at
        if told is None or now - told >= BREACH_LOG_INTERVAL_S:
            self._breach_told_at = now
            log.warning("alignment_breached", source=str(self.source), held_by=str(holder))

    def _is_worth_a_step(self, read: AnyRead, limit: int | None) -> bool:
        """Say whether the rows up to `limit` are worth a step of their own.

        Partitions that wait for each other would otherwise creep forward by a few rows
        and an acknowledgement each. The lowest head may always go on by the whole skew.
        """
        if limit is None or self._group is None:
            return False
        return limit - int(read.progress[self._next_row]) >= self._group.skew_ms // 2

    def refresh_head(self) -> None:
        """Tell the alignment group where this partition stands."""
        if self._group is None:
            return
        if self._tell_head(self._group):
            self._around.on_progress()

    def _tell_head(self, group: AlignmentGroup) -> bool:
        if self.phase in (Phase.ASSIGNED, Phase.RESTORING):
            return (
                group.set_unread(self.source)
                if self._has_unread()
                else group.set_read_to_end(self.source)
            )
        if self._sending_head is not None:
            return group.set_head(self.source, self._sending_head)
        reading = self._reading
        if reading is not None and self._next_row < len(reading.progress):
            return group.set_head(self.source, int(reading.progress[self._next_row]))
        if self._has_unread():
            return group.set_unread(self.source)
        return group.set_read_to_end(self.source)

    def _has_unread(self) -> bool:
        if self._queue or self._position < self.start.end:
            return True
        highwater = self._around.highwater(self.source)
        return highwater is not None and self._position < highwater


def _stub_refused(source: Partition, destination: Partition, answer: str) -> BrokerError:
    return BrokerError(
        "stub_refused",
        f"Topic {destination.topic} refuses even the stub of a record of {source}: {answer}.",
        f"Raise max.message.bytes of {destination.topic} to twice that of the input topic.",
        topic=destination.topic,
        partition=source.partition,
    )


def _rows_up_to(progress: NDArray[np.int64], start: int, limit: int | None) -> int:
    """Return the end of the run of rows from `start` whose time is not above `limit`."""
    if limit is None:
        return start
    if limit >= NO_LIMIT:
        return len(progress)
    above = np.flatnonzero(progress[start:] > limit)
    return len(progress) if len(above) == 0 else start + int(above[0])
