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
from collections.abc import Callable, Mapping

import structlog

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.outputs import Outputs, Replace
from stream_infer.dataplane.transaction_commit import Commits, ReadCommittedOffsets
from stream_infer.dataplane.transaction_gate import Gate, not_known
from stream_infer.dataplane.transaction_producer import CurrentProducer
from stream_infer.dataplane.transaction_rules import (
    FAILED,
    MARKERS_PER_S_MAX,
    Answer,
    Covers,
    answer_of,
    stop_error,
)
from stream_infer.dataplane.transaction_waves import Delivery, WaveFailedError, isolate
from stream_infer.kafka.transactions import GroupMember, GroupTransactionalProducer

log = structlog.get_logger("stream_infer.sender")

STOP_SECONDS_MAX = 2.0
"""For what is under way to notice that it was cancelled."""


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
    is_drained              says whether nothing more comes until more input is fetched

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
        read_committed_offsets: ReadCommittedOffsets,
        interval_s: float,
        markers_per_s_max: float = MARKERS_PER_S_MAX,
        is_drained: Callable[[], bool] = not_known,
    ) -> None:
        self.name = name
        self.commits = 0
        self.aborts = 0
        self.last_commit_s: float | None = None
        self._producer = CurrentProducer(name, make_producer)
        self._commits = Commits(name, self._producer, member, metadata, read_committed_offsets)
        self._committed = committed
        self._gate = Gate(name, interval_s, markers_per_s_max, is_drained)
        self._delivered: dict[Partition, int] = {}
        self._commits_asked: list[asyncio.Future[None]] = []
        self._running: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    @property
    def transactional_id(self) -> str:
        """Of the producer, empty before the first was made."""
        return self._producer.transactional_id

    @property
    def open_since_s(self) -> float | None:
        """Since when a transaction holds something, None while none does."""
        return self._gate.open_since_s

    # -- what the data plane calls ------------------------------------------------------------

    async def start(self) -> None:
        """Start the producer, waiting for the broker as long as it takes. Safe to repeat."""
        await self._producer.started()

    def own(self, source: Partition, position: int) -> None:
        """Take on a partition of this assignment; `position` is where it starts."""
        self._commits.own(source, position)
        self._delivered[source] = position

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
        self._gate.put(delivery)
        if self._running is None:
            self._running = loop.create_task(self._run(), name=f"transactions-{self.name}")
        try:
            await delivery.answer
        except asyncio.CancelledError:
            self._gate.take_back(delivery)
            raise

    def _check(self, covers: Covers | None) -> None:
        if self._failure is not None:
            raise self._failure
        if not self._delivered:
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
        wanted = self._gate.unsettled()
        while wanted & self._gate.unsettled():
            asked = asyncio.get_running_loop().create_future()
            self._commits_asked.append(asked)
            self._gate.hurry()
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
            await asyncio.wait([self._running], timeout=STOP_SECONDS_MAX)
        self._fail(self._failure)
        await self._producer.close()

    # -- transactions, one after another ------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._gate.unsettled():
                await self._transact()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            self.aborts += self._gate.open_since_s is not None
            await self._producer.abort()
            self._fail(stop_error(error, self.transactional_id))
        finally:
            self._running = None

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self._gate.fail(error)
        asked, self._commits_asked = self._commits_asked, []
        for each in asked:
            if not each.done():
                each.set_exception(error)

    async def _transact(self) -> None:
        """Fill one transaction and commit it; on failure leave everything to be sent again."""
        try:
            producer = await self._producer.in_transaction()
            await self._gate.fill(producer)
            if self._gate.kept:
                await self._commit()
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
        self._gate.note_abort()
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

    async def _commit(self) -> None:
        began_s = asyncio.get_running_loop().time()
        covered = await self._commits.commit(self._gate.kept)
        self.commits += 1
        self.last_commit_s = asyncio.get_running_loop().time()
        self._gate.note_commit(self.last_commit_s - began_s)
        self._committed(covered)
        asked, self._commits_asked = self._commits_asked, []
        for each in asked:
            if not each.done():
                each.set_result(None)
