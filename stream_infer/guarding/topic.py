"""The evidence topic: a producer for a worker's evidence, and the group whose member decides."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.abc import ConsumerRebalanceListener

from stream_infer.guarding.guard import Guard
from stream_infer.guarding.publishing import Send
from stream_infer.kafka.coming_up import COME_UP_S_MAX, come_up, end_consumer
from stream_infer.kafka.connection import Connection, translated
from stream_infer.kafka.reading import TopicPartition

LOOK_EVERY_S = 1.0
SESSION_MS = 10_000
"""After so long another worker decides in place of one that died."""
_COMMANDED_MS = 200


@contextlib.asynccontextmanager
async def evidence_sender(
    connection: Connection, topic: str, *, keeps: bool = False
) -> AsyncIterator[Send]:
    """Open what sends to a topic of one partition; what Kafka refuses becomes one of our errors.

    keeps  whether a record must outlive its broker: evidence of a second need not
    """
    producer = AIOKafkaProducer(**connection.client_options(), acks="all" if keeps else 1)

    async def send(key: bytes, value: bytes) -> None:
        async with translated(connection):
            await producer.send_and_wait(topic, value, key=key, partition=0)

    try:
        async with translated(connection):
            await come_up(producer.start())
        yield send
    finally:
        await producer.stop()


class _Ownership(ConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
    """Lets the guard begin anew whenever the partition becomes ours, and end when it is not."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self.is_ours = False
        self.times = 0
        self.joined = asyncio.Event()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Stop looking."""
        self.is_ours = False
        self._guard.end()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin to look at what comes from now on."""
        self.is_ours = bool(list(assigned))
        self.times += 1
        if self.is_ours:
            self._guard.begin()
        self.joined.set()


async def guard_forever(
    connection: Connection,
    topic: str,
    guard: Guard,
    *,
    group: str,
    every_s: float = LOOK_EVERY_S,
    beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Look each second while the partition is ours, for ever.

    group   of the guards of one pipeline. Nothing is committed: evidence of before is of no use
    beside  what is done beside while the partition is ours, anew each time; runs for ever
    """
    async with translated(connection):
        consumer = AIOKafkaConsumer(
            **connection.client_options(),
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=SESSION_MS // 4,
            fetch_max_wait_ms=250,
        )
        ownership = _Ownership(guard)
        consumer.subscribe([topic], listener=ownership)
        work = _Beside(beside)
        try:
            await come_up(consumer.start())
            look_s = time.monotonic() + every_s
            while True:
                fetched = await consumer.getmany(timeout_ms=_COMMANDED_MS)
                await work.go_on(ownership.times if ownership.is_ours else None)
                for records in fetched.values():
                    for record in records:
                        guard.take(record.value)
                if time.monotonic() >= look_s:
                    look_s = time.monotonic() + every_s
                    if ownership.is_ours:
                        await guard.look()
        finally:
            await work.stop()
            # One that is closed while it joins its group leaves the connection that it opens.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ownership.joined.wait(), COME_UP_S_MAX)
            await end_consumer(consumer)


class _Beside:
    """What an owner does beside looking; it ends when the partition goes, and begins with it."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
        self._make = make
        self._task: asyncio.Task[None] | None = None
        self._times: int | None = None

    async def go_on(self, times: int | None) -> None:
        """Do what belongs to the `times`-th assignment; None: nothing. Raises what ended it."""
        if self._task is not None and self._task.done():
            self._task.result()
        if times == self._times:
            return
        await self.stop()
        self._times = times
        if times is not None and self._make is not None:
            self._task = asyncio.create_task(self._make(), name="beside the guard")

    async def stop(self) -> None:
        """End it."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
