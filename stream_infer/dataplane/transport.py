"""Faust's transport, changed so that one event carries the record batches of a fetch.

Faust keeps the group membership, the rebalance callbacks, the agents and the
ordinary topics. For the topics of our stages, five things differ:

- `getmany` yields one message per fetch instead of one per record (the
  per-message path costs about 50 us each, most of it four asyncio tasks per message);
- a batch's offsets are registered with the data plane before delivery, and only the
  data plane commits them: Faust acknowledges on exception and on cancellation too;
- a seek goes to the data plane's own position, because Faust's "seek to committed"
  skips a partition whose committed offset is 0 and would lose what was dropped;
- a fetch is taken only where it follows the one before (`dataplane/continuity`);
- partitions whose share of the in-flight budget is used up are left out of the fetch,
  instead of a one-second sleep once all of them are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol, cast

import faust
import structlog
from aiokafka.errors import IllegalStateError
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from stream_infer.dataplane.batch import BATCH_ROWS_MAX, Partition, RecordBatch
from stream_infer.dataplane.client import BatchClient, Fetched
from stream_infer.dataplane.continuity import Continuity
from stream_infer.dataplane.ledger import GROUP_MOVED_ON
from stream_infer.dataplane.offsets import NOTHING_READ, Committed, ReadTo
from stream_infer.dataplane.plane import DataPlane
from stream_infer.errors import BrokerError
from stream_infer.kafka.causes import BROKEN_WAY
from stream_infer.kafka.transactions import GroupMember

log = structlog.get_logger("stream_infer.dataplane")


class HasPlane(Protocol):
    """An app with a data plane; Faust types an app by an interface without our attributes."""

    plane: DataPlane


MARKERS_SECONDS = 0.1
"""How long a wait for records may last: one that only passed transaction markers brings none, and
that the log was read to its end is known when it is over."""

OPEN_AGAIN_SECONDS = 0.5

SETTLE_SECONDS = 15.0
"""How long Kafka may take beyond its time-out to end a transaction that was left open: it looks
for those every 10 s (transaction.abort.timed.out.transaction.cleanup.interval.ms)."""


class RecordBatchSchema(faust.Schema[Any, Any]):
    """Hands record batches through as the event's value; the stage decodes them."""

    def compile(self, app: Any, **_options: Any) -> Any:
        """Return a decode function that decodes nothing."""
        create_event = app.create_event

        async def decode(message: Any, **_propagate: bool) -> Any:
            return create_event(None, message.value, None, message)

        return decode


class BatchConsumer(driver.Consumer):
    """Faust's consumer, delivering record batches to the data plane."""

    _thread: BatchClient

    def __init__(self, *args: Any, **options: Any) -> None:
        self._opening = asyncio.Lock()
        self._continuity = Continuity()
        self.member: GroupMember | None = None
        """Who this worker is in the group, as of the current assignment."""
        super().__init__(*args, **options)

    @property
    def plane(self) -> DataPlane:
        """The data plane of the app."""
        return cast("HasPlane", self.app).plane

    def _new_consumer_thread(self) -> BatchClient:
        return BatchClient(self, loop=self.loop, beacon=self.beacon)

    # -- delivery ----------------------------------------------------------------

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust's signature
        """Yield what the next fetch brings: the batches of a topic of ours, else records."""
        if not self.flow_active:
            await self.can_resume_flow.wait()
        self.plane.polled_s = time.monotonic()
        wanted = self._get_active_partitions()
        fetchable = {tp for tp in wanted if self.plane.has_room(tp)}
        if not fetchable:
            await self.plane.ledger.wait_for_room()
            return
        generation = self.app.consumer_generation_id
        fetched = await self._thread.getmany(fetchable, min(timeout, MARKERS_SECONDS))
        if self.should_stop or not self._is_current(generation):
            return  # What was taken is missed by the next fetch, and sought back then.
        for batches in _messages(await self._open(fetched)):
            yield self._batches_message(batches, generation)
        for tp, records in fetched.records.items():
            if tp.topic not in self.plane.topics:
                for record in records:
                    if not self._is_current(generation):
                        return
                    yield tp, self._to_message(tp, record)

    async def _open(self, fetched: Fetched) -> list[RecordBatch]:
        """Register what was fetched of our topics; what does not follow is sought back."""
        back = self._continuity.take(fetched.spans)
        opened: list[RecordBatch] = []
        for tp, records in fetched.records.items():
            partition = Partition(*tp)
            if tp.topic in self.plane.topics and partition not in back:
                # One run a fetch, see `dataplane/fetching`.
                for run in records:
                    opened += self.plane.open(partition, run)
        if fetched.records:
            self.plane.fed.is_coming = False
        if back:
            log.info("fetch_again", partitions=[f"{p} from {back[p]}" for p in sorted(back)])
            with suppress(IllegalStateError):  # Revoked meanwhile: whoever gets it next seeks.
                await self._thread.call_thread(self._thread.seek_now, back)
        return opened

    def _is_current(self, generation: int) -> bool:
        return bool(self.flow_active and self.app.consumer_generation_id == generation)

    def _batches_message(
        self, batches: list[RecordBatch], generation: int
    ) -> tuple[TP, ConsumerMessage]:
        """Return batches as a message of the first one's partition.

        Whichever stage's agent gets it hands each batch to its own task: Faust takes about
        0.3 ms a message, and looks only whether a partition's messages come in order.
        """
        first = batches[0]
        tp = TP(*first.source)
        return tp, ConsumerMessage(
            tp.topic,
            tp.partition,
            first.last,
            int(first.records.timestamps[-1]) / 1000.0,
            0,
            None,
            None,
            cast("Any", batches),
            None,
            0,
            sum(batch.bytes for batch in batches),
            tp,
            generation_id=generation,
        )

    # -- offsets: the data plane's, not Faust's -------------------------------------

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        for tp in super()._filter_tps_with_pending_acks(topics):
            if tp.topic not in self.plane.topics:
                yield tp

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if tp.topic not in self.plane.topics:
            await super()._add_gap(tp, offset_from, offset_to)

    async def perform_seek(self) -> None:
        """Seek stage partitions to the data plane's positions, others as Faust does."""
        ours = self.plane.ledger.positions()
        others = [tp for tp in self.assignment() if tp.topic not in self.plane.topics]
        if others:
            await super().perform_seek()
        self._continuity.seek(ours)
        await self._thread.call_thread(self._thread.seek_now, ours)
        for partition, offset in ours.items():
            # Faust drops a message below this offset without a word.
            self._read_offset[TP(*partition)] = offset or None

    async def committed(
        self, partitions: Collection[Partition]
    ) -> dict[Partition, Committed | None]:
        """Return what the group has committed; waits for transactions that may change it."""
        thread = self._thread
        timeout_ms = self.plane.settings.transaction_timeout_ms
        seconds_max = timeout_ms / 1000 + SETTLE_SECONDS
        found: dict[Partition, Committed | None] = await thread.call_thread(
            thread.commit_points, partitions, seconds_max
        )
        return found

    async def committed_offsets(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Return the committed offsets of those partitions that have one."""
        found = await self.committed(partitions)
        return {partition: each.offset for partition, each in found.items() if each is not None}

    async def commit_positions(self, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        """Commit offsets of stage partitions, as the member that the current assignment was for."""
        await self._thread.call_thread(self._thread.commit_as, self.member, offsets)

    def read_to(self, partition: Partition) -> ReadTo:
        """Return how far the records that were handed out go, and where the log ends."""
        consumer = self._thread._consumer
        tp = TopicPartition(*partition)
        if consumer is None or tp not in consumer.assignment():
            return NOTHING_READ
        stable, written = consumer.last_stable_offset(tp), consumer.highwater(tp)
        said_ms = consumer.last_poll_timestamp(tp)
        return ReadTo(self._continuity.taken_to(partition), stable, written, said_ms)

    def answered_ms(self) -> int | None:
        """Return when Kafka last answered about the partition that waits longest, epoch ms."""
        return self._thread.answered_ms(self.plane.topics)

    # -- the life of an assignment ----------------------------------------------------

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Find every partition's start and open the stages, then let Faust resume."""
        async with self._opening:
            if self._is_leaving():
                return
            try:
                await self._open_when_kafka_answers(assigned)
            except GROUP_MOVED_ON as error:
                # A rebalance within this one: the assignment is void, and the next one comes.
                log.info("assignment_void", cause=str(error))
                return
            except Exception as error:  # noqa: BLE001 - handed on to whoever runs the app
                # aiokafka logs what a rebalance callback raises and goes on with no stage
                # opened; a worker that cannot start its partitions must stop and say why.
                await self.app.crash(error)
                return
        await super().on_partitions_assigned(assigned, generation_id)

    async def _open_when_kafka_answers(self, assigned: set[TP]) -> None:
        """Open the stages; where Kafka goes away meanwhile, wait for it as long as it takes."""
        while not self._is_leaving():
            try:
                await self._open_assignment(assigned)
            except (BrokerError, *BROKEN_WAY) as error:
                if not _may_pass(error):
                    raise
                log.warning("assignment_waits", cause=str(error))
                await asyncio.sleep(OPEN_AGAIN_SECONDS)
            else:
                return

    def _is_leaving(self) -> bool:
        return bool(self.should_stop or self.app.should_stop)

    async def _open_assignment(self, assigned: set[TP]) -> None:
        readable = [tp for tp in assigned if not self._is_changelog_tp(tp)]
        thread = self._thread
        # Asked for once: what is committed later is committed as the member of this assignment.
        self.member = thread.membership()
        # Beside what follows: the committed offsets may wait for it.
        self.plane.look_for_dead_workers()
        committed = await self.committed([Partition(*tp) for tp in readable])
        bounds = await thread.call_thread(thread.log_bounds, readable)
        bases = await self.plane.find_bases(committed)
        starts = self.plane.decide_starts(committed, bounds, bases)
        first_commits = {
            partition: (start.position, self.plane.metadata(partition, start))
            for partition, start in starts.items()
            if start.must_commit
        }
        if first_commits:
            await self.commit_positions(first_commits)
        positions = {partition: start.position for partition, start in starts.items()}
        self._continuity.restart(
            {p: offset for p, offset in positions.items() if p.topic in self.plane.topics}
        )
        await thread.call_thread(thread.seek_now, positions)
        await self.plane.assign(starts)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish what is in flight and commit it, then give the partitions up."""
        try:
            await self.plane.revoke()
        except Exception as error:  # noqa: BLE001 - handed on to whoever runs the app
            await self.app.crash(error)
        if not self._is_leaving():
            await super().on_partitions_revoked(revoked)

    async def on_stop(self) -> None:
        """Finish what is in flight and commit it before the client goes away.

        An assignment that is being opened is finished first: the thread that it asks for
        offsets is stopped next, and a call that it cuts short would end aiokafka's
        coordination task in a way that its `stop` does not survive.
        """
        async with self._opening:
            await self.plane.revoke()
        await super().on_stop()


def _may_pass(error: BaseException) -> bool:
    """Say whether what stopped an assignment is Kafka's state, and no refusal of ours or its."""
    if not isinstance(error, BrokerError):
        return True
    return error.code == "offsets_not_stable" or error.code.startswith("broker_")


def _messages(batches: list[RecordBatch]) -> Iterator[list[RecordBatch]]:
    """Return batches in runs, each ended by the one with which it is large."""
    run: list[RecordBatch] = []
    for batch in batches:
        run.append(batch)
        if sum(map(len, run)) >= BATCH_ROWS_MAX:
            yield run
            run = []
    if run:
        yield run


class BatchTransport(driver.Transport):
    """aiokafka transport whose consumer delivers record batches."""

    Consumer = BatchConsumer
