"""One partition of one stage, from its assignment to its end.

`PartitionTask` owns the partition's state and the order of its work:

1. restore: fold the log silently from the declared start to the committed offset;
2. run: read a batch, fold as many rows as the alignment permits, and hand their outputs to
   the sender with the offset that they go up to;
3. close: let the writes that are under way finish, take nothing new.

While the outputs of one step are on their way the next step is computed, but never
sent: outputs of a partition reach Kafka in the order of its input.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter

from stream_infer.checkpoints.manifest import Mark
from stream_infer.dataplane.alignment import AlignmentGroup
from stream_infer.dataplane.batch import BATCH_ROWS_MAX, BadRow, Partition, RecordBatch, merge
from stream_infer.dataplane.counters import Counters
from stream_infer.dataplane.hold import Hold
from stream_infer.dataplane.lifecycle import UNDECIDED, Cause, Life, Phase
from stream_infer.dataplane.offsets import StartPoint
from stream_infer.dataplane.outputs import Outputs
from stream_infer.dataplane.refusals import Refusals
from stream_infer.dataplane.senders import Sending
from stream_infer.dataplane.stage import AnyRead, State, StepResult
from stream_infer.dataplane.standstill import StandstillError
from stream_infer.dataplane.surroundings import Surroundings
from stream_infer.dataplane.together import StageWork
from stream_infer.dataplane.transaction_rules import AssignmentMovedOnError
from stream_infer.errors import ConfigError
from stream_infer.observability.meter import SEND

LIVE_WITHIN_MS = 3_600_000
"""A record written more than this after its event is no news: its log is a replay of old data."""


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
        sender: Sending,
        group: AlignmentGroup | None,
        surroundings: Surroundings,
    ) -> None:
        self.stage = work.stage
        self.source = source
        self.start = start
        self.life = Life(source)
        self.counters = Counters()
        self.state = state
        self._work_together = work
        self._sender = sender
        self._group = group
        self._hold = None if group is None else Hold(source, group, surroundings, self.counters)
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
        self.waits_for: StandstillError | None = None
        """Why it stands still, if it does."""
        self._steps_folded = 0
        self._steps_acknowledged = 0
        self._worked_at: float | None = None
        self._written_ms = 0

    @property
    def phase(self) -> Phase:
        """Where it is in its life."""
        return self.life.phase

    @property
    def held(self) -> bool:
        """Whether it waits for another partition by alignment."""
        return self._hold is not None and self._hold.is_held

    @property
    def position(self) -> int:
        """Offset of the next record to be worked on."""
        return self._position

    def idle_clock(self) -> tuple[int, float] | None:
        """Return the log's clock, and for how many seconds that count nothing has moved it.

        None while there is anything to read or to restore, or nothing was read yet; and where
        the clock is of old data, which the time on the wall has nothing to do with.
        """
        idle = self.phase is Phase.RUNNING and self._taken is None and not self._has_unread()
        if not idle or self.state is None or self._worked_at is None:
            return None
        clock = self.state.clock_ms
        if clock is None or self._written_ms - clock > LIVE_WITHIN_MS:
            return None
        return clock, self._around.lived() - self._worked_at

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
        self._restored, self.waits_for = True, None
        await self._sender.start()
        self.life.move(Cause.RESTORED)
        while self.phase is Phase.RUNNING:
            batch = await self._next_batch()
            await self._work(batch)

    async def close(self) -> None:
        """Take nothing new, and let what is being sent finish."""
        self.life.move(Cause.REVOKED)
        if self._sending is not None:
            await asyncio.wait([self._sending])
        self.life.move(Cause.ENDED)

    def settled(self) -> tuple[int, State] | None:
        """Return ``(offset, state)`` if the state is exactly the fold up to that offset.

        Not so after a step whose outputs were not acknowledged: what is committed is then less
        than what was folded.
        """
        whole = self._steps_folded == self._steps_acknowledged
        if self.state is None or not whole or not self._restored:
            return None
        return self._position, self.state

    async def abandon(self) -> None:
        """Stop without waiting for acknowledgements; the state is worth nothing afterwards."""
        self.life.move(Cause.REVOKED)
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
            await asyncio.wait([self._sending])
        self.life.move(Cause.ENDED)
        self.state = None

    def drop_queued(self) -> None:
        """Let go of batches that were delivered and not worked on."""
        self._queue.clear()
        self._taken = self._reading = None

    async def _restore(self) -> None:
        if self.phase is Phase.ASSIGNED:  # else it tries again what it had to wait for
            self.life.move(Cause.STARTED)
        begin, end = self.start.replay_from, self.start.position
        checkpoints = self._around.checkpoints
        if self.state is None:
            restored = None
            if checkpoints is None and self.start.base is not None:
                raise ConfigError(
                    "base_needs_checkpoints",
                    f"The fold of {self.source} began with the state of history {self.start.base},"
                    " and checkpoints are off.",
                    "Set [worker] checkpoints to where that history's checkpoint is.",
                    topic=self.source.topic,
                    partition=self.source.partition,
                    base=self.start.base,
                )
            if checkpoints is not None:
                restored = await checkpoints.newest(
                    self.source, self.stage.name, self.start, self._open_state
                )
            self.state, begin = (
                (self._open_state(), begin)
                if restored is None
                # One that a fold began with may lie before what is left of the log.
                else (restored.state, max(restored.offset, begin))
            )
        if self.state is None:
            return
        if checkpoints is not None:
            checkpoints.assigned(self.source, begin)
        if begin >= end:
            return
        began = self._around.seconds()

        def fold(batch: RecordBatch) -> None:
            self._work_together.fold_silently(batch, self.state)
            self.counters.restored += len(batch)

        await self._around.replay(self.source, begin, end, fold)
        if checkpoints is not None:
            checkpoints.replayed(self.counters.restored, self._around.seconds() - began)

    def _open_state(self) -> State | None:
        state: State | None = self.stage.open_state(self._around.state_bytes_max)
        return state

    def _offer_checkpoint(self, batch: RecordBatch) -> None:
        """Have the state kept as it is now, before the batch's outputs are even sent."""
        checkpoints = self._around.checkpoints
        if checkpoints is not None and self.state is not None:
            written_ms = int(batch.records.timestamps[-1])
            checkpoints.maybe_take(
                self.source,
                self.stage.name,
                self.start,
                self._position,
                self.state,
                Mark.of(batch.last, written_ms, batch.values[-1]),
            )

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
        try:
            read = await self._work_together.read(batch)
        except StandstillError as error:
            before = None if error.offset is None else batch.before(error.offset)
            if before is not None:
                await self._work(before)
            await self._finish_sending()
            raise
        self._reading, self._next_row = read, 0
        self.counters.batches += 1
        rows = len(read.rows)
        while True:
            end = rows
            if self._hold is not None:
                end = await self._hold.permitted(read.progress, self._next_row, self.refresh_head)
            part = read.slice(self._next_row, end)
            result = await self._work_together.step(part, self.state, self._note_folding)
            self.counters.add(result)
            self._worked_at = self._around.lived()
            self._written_ms = int(batch.records.timestamps[-1])
            if result.emitted.scored:
                self._work_together.note_ages(part.columns)
            head = int(part.progress[0]) if len(part.progress) else None
            await self._finish_sending()
            self._next_row = end
            self._position = read.offset_after(end)
            if end >= rows:
                self._taken = self._reading = None
                self._offer_checkpoint(batch)
            self._begin_sending(result, batch, part.bad, head)
            if end >= rows:
                return
            # The rest of the batch waits for others; let this step's acknowledgement
            # move the head first.
            await self._finish_sending()

    def _note_folding(self) -> None:
        self._steps_folded += 1

    def _begin_sending(
        self,
        result: StepResult,
        batch: RecordBatch,
        bad: list[BadRow],
        head: int | None,
    ) -> None:
        if not result.outputs and self._sender.skip(self._position):
            self._acknowledged()
            return
        self._sending_head = head
        refusals = Refusals(self._work_together, batch, bad, self.counters)
        self._sending = asyncio.create_task(
            self._send(result.outputs, self._position, refusals), name=f"send-{self.source}"
        )
        self._sending.add_done_callback(self._note_failure)

    def _note_failure(self, sending: asyncio.Task[None]) -> None:
        # A task that idles would otherwise not learn that its last outputs failed.
        if not sending.cancelled() and sending.exception() is not None:
            self._failure = sending.exception()
            if isinstance(self._failure, AssignmentMovedOnError):
                self.life.move(Cause.MOVED_ON)
            self._arrived.set()

    async def _send(self, outputs: Outputs, until: int, refusals: Refusals) -> None:
        began = perf_counter()
        self._around.passes_on(outputs)
        await self._sender.deliver(outputs, until, refusals.replace)
        self._work_together.meter.lap(SEND, began)
        self._sending_head = None
        self._acknowledged()

    def _acknowledged(self) -> None:
        self._steps_acknowledged += 1
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

    def refresh_head(self) -> None:
        """Tell the alignment group where this partition stands."""
        if self._group is None:
            return
        if self._tell_head(self._group):
            self._around.on_progress()

    def _tell_head(self, group: AlignmentGroup) -> bool:
        if self.phase in UNDECIDED:
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
        return bool(self._queue) or self._around.has_unread(self.source, self._position)
