"""The aiokafka client of a worker, on the event loop of its stages.

Faust gives the client a thread with an event loop of its own, and hands every call over by a
queue. Both threads then share the interpreter's lock: while a stage works, each system call of
the fetcher waits for it again (decision 31 has the figures). Here Faust's thread is a task.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from inspect import isawaitable
from typing import Any, NamedTuple, Protocol, cast

from aiokafka.errors import CommitFailedError, ConsumerStoppedError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.beat import Beat, Gathering, nobody
from stream_infer.dataplane.continuity import Span
from stream_infer.dataplane.dead_workers import client_id_of
from stream_infer.dataplane.draining import end_runners
from stream_infer.dataplane.fetching import (
    FETCH_MAX_WAIT_MS,
    FETCH_PARTITION_BYTES,
    pace_fetches,
)
from stream_infer.dataplane.offsets import Committed, LogBounds
from stream_infer.dataplane.patience import Patience
from stream_infer.dataplane.plane import DataPlane
from stream_infer.kafka.connection import Connection, translated
from stream_infer.kafka.stable_offsets import fetch_stable_offsets
from stream_infer.kafka.transactions import GroupMember

LEAVE_SECONDS_MAX = 10.0
"""How long a stopping worker tries to leave its group. After that the session expires."""


class HasConsumerPlane(Protocol):
    """A consumer that delivers to a data plane."""

    plane: DataPlane


class HasPatience(Protocol):
    """An app that knows where Kafka is, and how long it waits for it while it starts."""

    connection: Connection
    patience: Patience


class Fetched(NamedTuple):
    """Records by partition, and how the client's positions have moved."""

    records: Mapping[TP, list[Any]]
    spans: Mapping[Partition, Span]


class BatchClient(driver.AIOKafkaConsumerThread):
    """What owns the aiokafka consumer, with fetch settings of our own: no thread, but a task.

    loop  the app's, and the client's
    """

    def __init__(self, *args: Any, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        self._position: dict[Partition, int] = {}
        self._serving: asyncio.Task[None] | None = None
        super().__init__(*args, loop=loop, thread_loop=loop, **options)

    async def start(self) -> None:
        """Start the client. Raises what its start raises."""
        self._thread_started.set()
        self._thread_running = self.parent_loop.create_future()
        self._serving = self.parent_loop.create_task(self._serve(), name="kafka-client")
        # What ends it `_serve` has told the app, which raises it.
        self._serving.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        try:
            if not self.should_stop:
                await self._thread_running
        finally:
            self._thread_running = None

    async def stop(self) -> None:
        """Stop the client, and wait for that."""
        await super().stop()
        if self._serving is not None:
            await asyncio.wait([self._serving])

    async def _gather_remaining_tasks(self) -> None:
        """Leave the loop's other tasks alone: they are the app's."""

    async def on_thread_started(self) -> None:
        """Start no queue: nothing crosses over."""

    async def call_thread(self, fun: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Return what a call of the client answers. It goes on where the caller is cancelled."""
        answer = fun(*args, **options)
        return await asyncio.shield(answer) if isawaitable(answer) else answer

    async def getmany(self, active_partitions: set[TP] | None, timeout: float) -> Fetched:  # type: ignore[override]  # noqa: ASYNC109 - Faust's signature, read by our consumer only
        """Return what was fetched, at once or as soon as there is any."""
        consumer = self._ensure_consumer()
        partitions = active_partitions or ()
        if not self.consumer.flow_active:
            return Fetched({}, self._spans(consumer, partitions))
        if consumer._closed or consumer._fetcher._closed:
            raise ConsumerStoppedError
        with _polling(consumer._fetcher._subscriptions):
            records = await consumer._fetcher.fetched_records(partitions, timeout=timeout)
        return Fetched(records, self._spans(consumer, partitions))

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust hard-codes a wait of 1,500 ms and passes no fetch sizes. These are plain
        # attributes that aiokafka reads when it starts its fetcher.
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        consumer._max_partition_fetch_bytes = FETCH_PARTITION_BYTES
        # What a transaction that was aborted has written is nobody's event.
        consumer._isolation_level = "read_committed"
        # By it the others see whose transactions have a member of the group behind them.
        client = consumer._client
        client._client_id = client_id_of(client._client_id, self._plane().instance)
        return consumer

    async def on_start(self) -> None:
        """Start the consumer, and change how it fetches."""
        await cast("HasPatience", self.app).patience.through(self._start_client)
        plane = self._plane()
        fetcher = self._ensure_consumer()._fetcher
        gathering = Gathering(*plane.settings.beat_ms, time.monotonic, time.process_time)
        beat = Beat(gathering, plane.fed)
        look_again = plane.handing_on.look_again
        fetches = pace_fetches(fetcher, lambda topic: topic in plane.topics, beat, look_again)
        plane.handing_on.attach(fetcher, fetches)
        plane.fed.wake = lambda: fetcher._notify(fetcher._wait_consume_future)

    async def _start_client(self) -> None:
        connection = cast("HasPatience", self.app).connection
        async with translated(connection):
            await super().on_start()

    def _plane(self) -> DataPlane:
        return cast("HasConsumerPlane", self.consumer).plane

    async def on_thread_stop(self) -> None:
        """Leave the group and close the client, within a bound.

        A rebalance callback may be under way when Faust's queue for those is stopped; then
        nobody answers it, and aiokafka would wait for it for ever.
        """
        self._plane().fed.wake = nobody
        self._plane().handing_on.detach()
        try:
            async with asyncio.timeout(LEAVE_SECONDS_MAX):
                await super().on_thread_stop()
        except (TimeoutError, asyncio.CancelledError):
            consumer = self._consumer
            if consumer is not None:
                # No loop of its own ends with it: a heartbeat would go on in the app's.
                await end_runners(tasks_of(consumer))
                await consumer._client.close()

    def answered_ms(self, topics: Collection[str]) -> int | None:
        """Return the oldest of the times at which partitions of topics were answered about.

        Epoch ms; 0 where one was not yet, None where there is none.
        """
        consumer = self._consumer
        subscription = None if consumer is None else consumer._subscription.subscription
        assignment = None if subscription is None else subscription.assignment
        if assignment is None:
            return None
        times = [
            assignment.state_value(tp).timestamp or 0 for tp in assignment.tps if tp.topic in topics
        ]
        return min(times, default=None)

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

    async def commit_as(
        self, member: GroupMember | None, offsets: Mapping[Partition, tuple[int, str]]
    ) -> None:
        """Commit offsets with metadata, in the name of a member of the group.

        The client commits as whoever this process is by now: after its session has expired, as
        nobody, which an empty group takes; or as a member of a later generation, in which others
        may have come further.

        Raises CommitFailedError when this process is that member no more, and the client's error
        when the group refuses.
        """
        if self.membership() != member:
            raise CommitFailedError("this process is another member of the group by now")
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
            self._position[partition] = offset

    def _spans(self, consumer: Any, partitions: Iterable[TP]) -> dict[Partition, Span]:
        subscription = consumer._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return {}
        assignment = subscription.assignment
        spans: dict[Partition, Span] = {}
        for tp in partitions:
            partition = Partition(*tp)
            before = self._position.get(partition)
            if before is not None and tp in assignment.tps:
                after = assignment.state_value(tp)._position
                if after is not None:
                    spans[partition] = Span(before, after)
                    self._position[partition] = after
        return spans


def tasks_of(consumer: Any) -> list[asyncio.Task[Any]]:
    """Return the tasks of an aiokafka consumer, as far as it has come up."""
    coordinator, fetcher = consumer._coordinator, consumer._fetcher
    names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task")
    tasks = [getattr(coordinator, name, None) for name in names]
    if fetcher is not None:
        tasks += [fetcher._fetch_task, *fetcher._pending_tasks]
    return [task for task in tasks if task is not None]


@contextmanager
def _polling(subscriptions: Any) -> Iterator[None]:
    """Let aiokafka know that records are asked for: who does not for long leaves the group.

    Its own way never forgets one that was cancelled, and from then on finds nobody too slow.
    """
    subscriptions._fetch_count += 1
    try:
        yield
    finally:
        subscriptions._fetch_count -= 1
        if not subscriptions._fetch_count:
            subscriptions._last_fetch_ended = time.monotonic()
