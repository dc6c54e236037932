"""Faust's transport, changed so that one event carries the record batches of a fetch.

Faust keeps the group membership, the rebalance callbacks, the agents and the
ordinary topics. For the topics of our stages, four things differ:

- `getmany` yields one message per fetch instead of one per record (the
  per-message path costs about 50 us each, most of it four asyncio tasks per message);
- a batch's offsets are registered with the data plane before delivery, and only the
  data plane commits them: Faust acknowledges on exception and on cancellation too;
- a seek goes to the data plane's own position, because Faust's "seek to committed"
  skips a partition whose committed offset is 0 and would lose what was dropped;
- partitions whose share of the in-flight budget is used up are left out of the fetch,
  instead of a one-second sleep once all of them are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol, cast

import faust
import structlog
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from stream_infer.dataplane.batch import BATCH_ROWS_MAX, Partition, RecordBatch
from stream_infer.dataplane.fetching import (
    FETCH_MAX_WAIT_MS,
    FETCH_PARTITION_BYTES,
    pace_fetches,
)
from stream_infer.dataplane.offsets import NOTHING_READ, Committed, LogBounds, ReadTo
from stream_infer.dataplane.plane import GROUP_MOVED_ON, DataPlane
from stream_infer.kafka.stable_offsets import fetch_stable_offsets
from stream_infer.kafka.transactions import GroupMember

log = structlog.get_logger("stream_infer.dataplane")


class HasPlane(Protocol):
    """An app with a data plane; Faust types an app by an interface without our attributes."""

    plane: DataPlane


MARKERS_SECONDS = 0.1
"""How long a wait for records may last: one that only passed transaction markers brings none, and
that the log was read to its end is known when it is over."""

SETTLE_SECONDS = 15.0
"""How long Kafka may take beyond its time-out to end a transaction that was left open: it looks
for those every 10 s (transaction.abort.timed.out.transaction.cleanup.interval.ms)."""

LEAVE_SECONDS_MAX = 10.0
"""How long a stopping worker tries to leave its group. After that the session expires."""


class RecordBatchSchema(faust.Schema[Any, Any]):
    """Hands record batches through as the event's value; the stage decodes them."""

    def compile(self, app: Any, **_options: Any) -> Any:
        """Return a decode function that decodes nothing."""
        create_event = app.create_event

        async def decode(message: Any, **_propagate: bool) -> Any:
            return create_event(None, message.value, None, message)

        return decode


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that owns the aiokafka consumer, with fetch settings of our own."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust hard-codes a wait of 1,500 ms and passes no fetch sizes. These are plain
        # attributes that aiokafka reads when it starts its fetcher.
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        consumer._max_partition_fetch_bytes = FETCH_PARTITION_BYTES
        # What a transaction that was aborted has written is nobody's event.
        consumer._isolation_level = "read_committed"
        return consumer

    async def on_start(self) -> None:
        """Start the consumer, and change how it fetches."""
        await super().on_start()
        consumer = cast("BatchConsumer", self.consumer)
        plane = consumer.plane
        pace_fetches(
            self._ensure_consumer()._fetcher,
            lambda topic: topic in plane.topics,
            plane.settings.gather_ms,
        )

    async def on_thread_stop(self) -> None:
        """Leave the group and close the client, within a bound.

        A rebalance callback may be under way when the queues between the threads are
        stopped; then nobody answers it, and aiokafka would wait for it for ever.
        """
        try:
            async with asyncio.timeout(LEAVE_SECONDS_MAX):
                await super().on_thread_stop()
        except (TimeoutError, asyncio.CancelledError):
            consumer = self._consumer
            if consumer is not None:
                await consumer._client.close()

    async def commit_points(
        self, partitions: Iterable[Partition | TP], seconds_max: float
    ) -> dict[Partition, Committed | None]:
        """Return what the group has committed, with metadata, once no transaction can change it."""
        coordinator = self._ensure_consumer()._coordinator
        wanted = [TopicPartition(*tp) for tp in partitions]
        found = await fetch_stable_offsets(coordinator, wanted, seconds_max=seconds_max)
        return {
            Partition(*tp): None if entry is None else Committed(entry.offset, entry.metadata)
            for tp, entry in found.items()
        }

    def membership(self) -> GroupMember:
        """Return who this worker is in the group now."""
        coordinator = self._ensure_consumer()._coordinator
        return GroupMember(
            coordinator.group_id,
            coordinator.generation,
            coordinator.member_id,
            coordinator._group_instance_id,
        )

    async def log_bounds(self, partitions: Iterable[TP]) -> dict[Partition, LogBounds]:
        """Return where the logs start and end now."""
        consumer = self._ensure_consumer()
        wanted = [TopicPartition(tp.topic, tp.partition) for tp in partitions]
        starts = await consumer.beginning_offsets(wanted)
        ends = await consumer.end_offsets(wanted)
        return {Partition(*tp): LogBounds(starts[tp], ends[tp]) for tp in wanted}

    async def commit_with_metadata(self, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        """Commit offsets; raises the client's error when the group refuses."""
        await self._ensure_consumer().commit(
            {
                TopicPartition(*partition): OffsetAndMetadata(offset, metadata)
                for partition, (offset, metadata) in offsets.items()
            }
        )

    async def seek_now(self, positions: Mapping[Partition, int]) -> None:
        """Move the fetch positions, dropping what was prefetched."""
        consumer = self._ensure_consumer()
        for partition, offset in positions.items():
            consumer.seek(TopicPartition(*partition), offset)


class BatchConsumer(driver.Consumer):
    """Faust's consumer, delivering record batches to the data plane."""

    _thread: BatchConsumerThread

    def __init__(self, *args: Any, **options: Any) -> None:
        self._opening = asyncio.Lock()
        self._taken_to: dict[TopicPartition, int | None] = {}
        self.member: GroupMember | None = None
        """Who this worker is in the group, as of the current assignment."""
        super().__init__(*args, **options)

    @property
    def plane(self) -> DataPlane:
        """The data plane of the app."""
        return cast("HasPlane", self.app).plane

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- delivery ----------------------------------------------------------------

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust's signature
        """Yield what the next fetch brings: the batches of a topic of ours, else records."""
        if not self.flow_active:
            await self.can_resume_flow.wait()
        self.plane.polled_s = time.monotonic()
        wanted = self._get_active_partitions()
        fetchable = {tp for tp in wanted if self.plane.has_room(tp)}
        if not fetchable:
            await self.plane.wait_for_room()
            return
        generation = self.app.consumer_generation_id
        fetched = await self._getmany(fetchable, min(timeout, MARKERS_SECONDS))
        opened: list[RecordBatch] = []
        for tp, records in fetched.items():
            if self.should_stop or not self._is_current(generation):
                # Dropped records come again: every (re)assignment seeks to the position
                # up to which the data plane has taken records.
                return
            if tp.topic not in self.plane.topics:
                for record in records:
                    yield tp, self._to_message(tp, record)
                continue
            opened += self.plane.open(Partition(*tp), records)
            if sum(map(len, opened)) >= BATCH_ROWS_MAX:
                yield self._batches_message(opened, generation)
                opened = []
        if opened:
            yield self._batches_message(opened, generation)
        self._note_taken(fetchable)

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
            first.records[-1].timestamp / 1000.0,
            first.records[-1].timestamp_type,
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
        ours = self.plane.positions()
        others = [tp for tp in self.assignment() if tp.topic not in self.plane.topics]
        if others:
            await super().perform_seek()
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
        """Commit offsets of stage partitions."""
        await self._thread.call_thread(self._thread.commit_with_metadata, offsets)

    def thread_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the event loop of the thread that owns the client, None before it has started."""
        thread = self._thread
        return thread.thread_loop if thread._consumer is not None else None

    def read_to(self, partition: Partition) -> ReadTo:
        """Return how far the records that were handed out go, and where the log ends."""
        consumer = self._thread._consumer
        tp = TopicPartition(*partition)
        if consumer is None or tp not in consumer.assignment():
            return NOTHING_READ
        return ReadTo(self._taken_to.get(tp), consumer.last_stable_offset(tp))

    def _note_taken(self, partitions: Iterable[TP]) -> None:
        """Note how far the client has read, now that what it read is handed out.

        Asked for later, it may have read more, which is then on its way from its thread.
        """
        consumer = self._thread._consumer
        subscription = None if consumer is None else consumer._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return
        for tp in partitions:
            if tp in subscription.assignment.tps:
                self._taken_to[tp] = subscription.assignment.state_value(tp)._position

    # -- the life of an assignment ----------------------------------------------------

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Find every partition's start and open the stages, then let Faust resume."""
        async with self._opening:
            if self._is_leaving():
                return
            try:
                await self._open_assignment(assigned)
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

    def _is_leaving(self) -> bool:
        return bool(self.should_stop or self.app.should_stop)

    async def _open_assignment(self, assigned: set[TP]) -> None:
        readable = [tp for tp in assigned if not self._is_changelog_tp(tp)]
        thread = self._thread
        # Asked for once: what is committed later is committed as the member of this assignment.
        self.member = thread.membership()
        committed = await self.committed([Partition(*tp) for tp in readable])
        bounds = await thread.call_thread(thread.log_bounds, readable)
        self._taken_to.clear()
        starts = self.plane.decide_starts(committed, bounds)
        first_commits = {
            partition: (start.position, self.plane.metadata(partition, start))
            for partition, start in starts.items()
            if start.must_commit
        }
        if first_commits:
            await self.commit_positions(first_commits)
        await thread.call_thread(
            thread.seek_now, {partition: start.position for partition, start in starts.items()}
        )
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


class BatchTransport(driver.Transport):
    """aiokafka transport whose consumer delivers record batches."""

    Consumer = BatchConsumer
