"""Sends a stage's outputs in transactions that also commit the input they come from.

`TransactionSender` owns the transactional producer of a stage in this worker, and everything that
was delivered since its last commit. Readers of committed records see an output exactly when the
offset of its input is committed:

- a delivery is wholly in one transaction, with the input that it covers;
- a transaction is open for an interval. Then a gate closes: what is in is finished, every answer
  is looked at (the client's commit would go on without a batch that failed), the offsets are sent
  in the name of the group's member, and it is committed;
- a transaction that fails is aborted, and what was delivered since the last commit is sent again
  in the next one, in order and before anything newer, with it also what was answered. So an abort
  costs no state;
- when the answer to a commit is lost, the next producer of the same id makes Kafka settle the
  transaction, and then the group's committed offsets tell what became of it;
- only the group decides who owns a partition. When it refuses the commit, the transaction is
  aborted for good and every delivery raises `AssignmentMovedOnError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

import structlog
from aiokafka import TopicPartition

from stream_infer.dataplane.batch import ALONE_ROWS, Partition
from stream_infer.dataplane.outputs import Outputs, Replace
from stream_infer.dataplane.transaction_producer import CurrentProducer
from stream_infer.dataplane.transaction_rules import (
    FAILED,
    MARKERS_PER_S_MAX,
    Answer,
    AssignmentMovedOnError,
    Covers,
    Outcome,
    answer_of,
    markers_interval,
    next_interval,
    outcome_of,
    stop_error,
)
from stream_infer.dataplane.transaction_waves import (
    Delivery,
    WaveFailedError,
    isolate,
    send_wave,
)
from stream_infer.errors import BrokerError
from stream_infer.kafka.transactions import (
    GroupMember,
    GroupMovedOnError,
    GroupTransactionalProducer,
)

log = structlog.get_logger("stream_infer.sender")

COMMIT_SECONDS_MAX = 10.0
"""For each of the two requests of a commit. The client has no bound of its own."""

RECORDS_MAX = 100_000
"""In one transaction: they are kept in memory until it is committed."""


class TransactionSender:
    """Sends the outputs of one stage in one assignment, exactly once.

    name                    of the stage, for logs
    make_producer           makes a new, not yet started producer, always of the same id
    member                  the group's member that this process is now
    metadata                stored with each commit of a partition
    committed               called after each commit with the offsets that the group has now
    read_committed_offsets  reads them from the group, once no transaction can change them
    interval_s              for how long a transaction is open where nothing asks for longer
    markers_per_s_max       this sender's part of what the workers of a group may cause

    commits, aborts   how many there were
    last_commit_s     when the last commit was, by the event loop's clock; None before it
    open_since_s      since when a transaction holds something, None while none does
    transactional_id  of the producer, empty before the first was made
    """

    def __init__(
        self,
        name: str,
        make_producer: Callable[[], GroupTransactionalProducer],
        *,
        member: Callable[[], GroupMember],
        metadata: Callable[[Partition], str],
        committed: Callable[[Mapping[Partition, int]], None],
        read_committed_offsets: Callable[
            [Collection[Partition]], Awaitable[Mapping[Partition, int]]
        ],
        interval_s: float,
        markers_per_s_max: float = MARKERS_PER_S_MAX,
    ) -> None:
        self.name = name
        self.commits = 0
        self.aborts = 0
        self.last_commit_s: float | None = None
        self.open_since_s: float | None = None
        self._producer = CurrentProducer(name, make_producer)
        self._member = member
        self._metadata = metadata
        self._committed = committed
        self._read_committed_offsets = read_committed_offsets
        self._interval_s = interval_s
        self._markers_per_s_max = markers_per_s_max
        self._commit_cost_s = 0.0
        self._joined: GroupMember | None = None
        self._positions: dict[Partition, int] = {}
        self._delivered: dict[Partition, int] = {}
        self._waiting: list[Delivery] = []
        self._kept: list[Delivery] = []
        self._must_repeat = False
        self._commits_asked: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    @property
    def transactional_id(self) -> str:
        """Of the producer, empty before the first was made."""
        return self._producer.transactional_id

    # -- what the data plane calls ------------------------------------------------------------

    async def start(self) -> None:
        """Start the producer, waiting for the broker as long as it takes. Safe to repeat."""
        await self._producer.started()

    def own(self, source: Partition, position: int) -> None:
        """Take on a partition of this assignment; `position` is where it starts."""
        if self._joined is None:
            self._joined = self._member()
        self._positions[source] = self._delivered[source] = position

    async def deliver(self, outputs: Outputs, covers: Covers | None, on_refused: Replace) -> None:
        """Write outputs, and with them that the input is done up to an offset.

        covers      the input that they come from, None for what comes from none, such as a tick;
                    the offsets of one partition never go back
        on_refused  makes what is written in place of what the broker refuses for good, in the
                    same transaction; called again while that is refused too

        Returns when everything is acknowledged inside a transaction, not when it is committed.
        A caller that is cancelled takes back only what was not yet begun to be written.

        Raises AssignmentMovedOnError when the group has moved on, BrokerError when Kafka forbids
        it or the sender was stopped, and what `on_refused` raises; from then on each delivery does.
        """
        self._check(covers)
        if not outputs and covers is None:
            return
        loop = asyncio.get_running_loop()
        delivery = Delivery(covers, on_refused, loop.create_future())
        delivery.add(outputs)
        self._waiting.append(delivery)
        self._wake.set()
        if self._running is None:
            self._running = loop.create_task(self._run(), name=f"transactions-{self.name}")
        try:
            await delivery.answer
        except asyncio.CancelledError:
            if delivery in self._waiting:
                self._waiting.remove(delivery)
            raise

    def _check(self, covers: Covers | None) -> None:
        if self._failure is not None:
            raise self._failure
        if not self._positions:
            raise ValueError(f"the sender of {self.name} owns no partition")
        if covers is not None:
            source, offset = covers
            if offset < self._delivered[source]:
                raise ValueError(f"{source} was delivered up to {self._delivered[source]}")
            self._delivered[source] = offset

    async def commit(self) -> None:
        """Commit what is delivered now; return at once if that is nothing. Raises as `deliver`."""
        if self._failure is not None:
            raise self._failure
        wanted = {*self._kept, *self._waiting}
        while wanted & {*self._kept, *self._waiting}:
            asked = asyncio.get_running_loop().create_future()
            self._commits_asked.append(asked)
            self._wake.set()
            await asked

    async def stop(self) -> None:
        """Stop for good; what is not committed is aborted, what comes later refused."""
        await self._end()

    async def abandon(self) -> None:
        """Stop for good without waiting for answers, as `stop` does too.

        A commit that is under way may take place or not.
        """
        await self._end()

    async def _end(self) -> None:
        if self._failure is None:
            self._failure = self._producer.stopped()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        self._fail(self._failure)
        await self._producer.close()

    # -- transactions, one after another ------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._kept or self._waiting:
                await self._transact()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            await self._producer.abort()
            self._fail(stop_error(error, self.transactional_id))
        finally:
            self._running = None

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self.open_since_s = None
        waiting = [delivery.answer for delivery in (*self._kept, *self._waiting)]
        for answer in (*waiting, *self._commits_asked):
            if not answer.done():
                answer.set_exception(error)
        self._kept, self._waiting, self._commits_asked = [], [], []

    async def _transact(self) -> None:
        """Fill one transaction and commit it; on failure leave everything to be sent again."""
        try:
            producer = await self._producer.in_transaction()
            if self._must_repeat:
                self._note_open()
                # Nothing newer with it: else what is kept would grow with each failure.
                await send_wave(producer, self._kept)
                self._answer(self._kept)
            else:
                await self._fill(producer)
            if self._kept:
                await self._commit(producer)
        except WaveFailedError as failure:
            await self._aborted(failure.cause)
            await self._isolate(failure)
        except FAILED as error:
            await self._aborted(error)

    async def _aborted(self, cause: BaseException) -> None:
        """Give a transaction up, so that the next one holds the same."""
        if answer_of(cause) is Answer.STOP:
            raise cause
        self.aborts += 1
        self.open_since_s = None
        self._must_repeat = bool(self._kept)
        log.warning(
            "transaction_aborted",
            stage=self.name,
            transactional_id=self.transactional_id,
            cause=str(cause) or type(cause).__name__,
        )
        await self._producer.drop()
        if answer_of(cause) is not Answer.REFUSED:
            await self._producer.back_off()

    async def _isolate(self, failure: WaveFailedError) -> None:
        try:
            for delivery, destination in failure.refused:
                refused = await isolate(delivery, destination, self._producer.fresh)
                for _, _, answer in refused:
                    log.warning("output_refused", destination=str(destination), cause=answer)
                if refused:
                    delivery.add(delivery.replace(refused))
        except WaveFailedError as stop:
            raise stop.cause from stop
        if failure.refused:
            await self._producer.drop()  # which aborts what was tried

    # -- filling ------------------------------------------------------------------------------

    async def _fill(self, producer: GroupTransactionalProducer) -> None:
        """Send what comes until the gate closes, and wait for all answers.

        What is much goes at once in a wave of its own; the rest gathers while the wave before it
        is under way.
        """
        waves: set[asyncio.Task[None]] = set()
        gathering: asyncio.Task[None] | None = None
        try:
            while True:
                self._wake.clear()
                for wave in [wave for wave in waves if wave.done()]:
                    waves.discard(wave)
                    wave.result()
                if not self._is_closed():
                    waves |= {self._wave(producer, [each]) for each in self._admit(is_large=True)}
                    may_gather = gathering is None or gathering.done()
                    if may_gather and (together := self._admit(is_large=False)):
                        gathering = self._wave(producer, together)
                        waves.add(gathering)
                if not waves and self._is_over():
                    return
                await self._wait()
        finally:
            for wave in waves:
                wave.cancel()
            await asyncio.gather(*waves, return_exceptions=True)

    def _wave(
        self, producer: GroupTransactionalProducer, deliveries: list[Delivery]
    ) -> asyncio.Task[None]:
        async def send() -> None:
            await send_wave(producer, deliveries)
            self._answer(deliveries)

        wave = asyncio.get_running_loop().create_task(send(), name=f"wave-{self.name}")
        wave.add_done_callback(lambda _: self._wake.set())
        return wave

    def _admit(self, *, is_large: bool) -> list[Delivery]:
        """Take those waiting deliveries into the transaction that are large, or that are not."""
        taken = [each for each in self._waiting if (each.records() >= ALONE_ROWS) is is_large]
        if taken:
            self._waiting = [each for each in self._waiting if each not in taken]
            self._kept += taken
            self._note_open()
        return taken

    def _note_open(self) -> None:
        if self.open_since_s is None:
            self.open_since_s = asyncio.get_running_loop().time()

    def _answer(self, deliveries: Collection[Delivery]) -> None:
        for delivery in deliveries:
            if not delivery.answer.done():
                delivery.answer.set_result(None)

    # -- the gate -----------------------------------------------------------------------------

    def _closes_at(self) -> float | None:
        if self.open_since_s is None:
            return None
        destinations = {each for delivery in self._kept for each in delivery.writes}
        # A stage that has time to spare pays nothing for committing often.
        is_loaded = any(delivery.records() >= ALONE_ROWS for delivery in self._kept)
        return self.open_since_s + max(
            next_interval(self._interval_s, self._commit_cost_s if is_loaded else 0.0),
            markers_interval(len(destinations), self._markers_per_s_max),
        )

    def _is_closed(self) -> bool:
        """Say whether nothing more is taken into the transaction."""
        closes_at = self._closes_at()
        return closes_at is not None and (
            asyncio.get_running_loop().time() >= closes_at
            or sum(delivery.records() for delivery in self._kept) >= RECORDS_MAX
        )

    def _is_over(self) -> bool:
        """Say whether it is to be committed, or never was begun, once no wave is under way."""
        if not self._kept:
            return not self._waiting
        return self._is_closed() or (bool(self._commits_asked) and not self._waiting)

    async def _wait(self) -> None:
        """Wait until something comes, a wave is answered, or the gate closes."""
        closes_at = self._closes_at()
        loop = asyncio.get_running_loop()
        timer = None if closes_at is None else loop.call_at(closes_at, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    # -- committing ---------------------------------------------------------------------------

    async def _commit(self, producer: GroupTransactionalProducer) -> None:
        began = asyncio.get_running_loop().time()
        offsets = self._offsets()
        await self._send_offsets(producer, offsets)
        try:
            async with asyncio.timeout(COMMIT_SECONDS_MAX):
                await self._producer.commit()
        except FAILED as error:
            if not await self._was_committed(offsets, error):
                raise
        ended = asyncio.get_running_loop().time()
        self._commit_cost_s += (ended - began - self._commit_cost_s) / 4
        self._note_commit(offsets, ended)

    def _offsets(self) -> dict[Partition, int]:
        """Return what is to be committed of each input partition.

        Never nothing: it is by its offsets that the group can refuse a transaction.
        """
        # Of each partition the last one counts: its deliveries are kept in order.
        offsets = dict(delivery.covers for delivery in self._kept if delivery.covers is not None)
        return offsets or dict([min(self._positions.items())])

    async def _send_offsets(
        self, producer: GroupTransactionalProducer, offsets: Mapping[Partition, int]
    ) -> None:
        member = self._member()
        if member != self._joined:
            await self._move_on("the worker has joined it anew since")
        try:
            async with asyncio.timeout(COMMIT_SECONDS_MAX):
                await producer.send_offsets(
                    {
                        TopicPartition(*source): (offset, self._metadata(source))
                        for source, offset in offsets.items()
                    },
                    member,
                )
        except GroupMovedOnError as error:
            await self._move_on(error.message)

    async def _move_on(self, cause: str) -> None:
        self.aborts += 1
        # Not left to the time-out: readers of committed records wait for it.
        await self._producer.abort()
        raise AssignmentMovedOnError(self.name, cause)

    async def _was_committed(self, meant: Mapping[Partition, int], cause: BaseException) -> bool:
        """Find out what became of a commit that was not answered; True if it took place."""
        log.warning("commit_not_answered", stage=self.name, cause=str(cause))
        await self._producer.drop()
        await self._producer.started()  # Kafka has settled the transaction before it answers
        before = {source: self._positions[source] for source in meant}
        outcome = outcome_of(before, meant, await self._read_until_known(meant.keys()))
        log.warning("commit_settled", stage=self.name, outcome=outcome.value)
        if outcome is Outcome.MOVED_ON:
            raise AssignmentMovedOnError(self.name, "others have committed its partitions.")
        return outcome is Outcome.COMMITTED

    async def _read_until_known(self, sources: Collection[Partition]) -> Mapping[Partition, int]:
        while True:
            try:
                return await self._read_committed_offsets(sources)
            except (*FAILED, BrokerError) as error:
                log.warning("commit_not_settled", stage=self.name, cause=str(error))
                await self._producer.back_off()

    def _note_commit(self, offsets: dict[Partition, int], now_s: float) -> None:
        moved = {source: offset for source, offset in offsets.items() if self._is_new(source)}
        self._positions |= offsets
        self.commits += 1
        self.last_commit_s = now_s
        self.open_since_s = None
        self._kept, self._must_repeat = [], False
        self._committed(moved)
        asked, self._commits_asked = self._commits_asked, []
        for each in asked:
            if not each.done():
                each.set_result(None)

    def _is_new(self, source: Partition) -> bool:
        return any(delivery.covers and delivery.covers[0] == source for delivery in self._kept)
