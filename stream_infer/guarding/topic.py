"""The evidence topic: a producer for a worker's evidence, and the group whose member decides."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.abc import ConsumerRebalanceListener

from stream_infer.guarding.guard import Guard
from stream_infer.guarding.publishing import Send
from stream_infer.kafka.coming_up import COME_UP_S_MAX, come_up
from stream_infer.kafka.connection import Connection, translated
from stream_infer.kafka.reading import TopicPartition

LOOK_EVERY_S = 1.0
SESSION_MS = 10_000
"""After so long another worker decides in place of one that died."""
_COMMANDED_MS = 200


@contextlib.asynccontextmanager
async def evidence_sender(connection: Connection, topic: str) -> AsyncIterator[Send]:
    """Open what sends evidence; what Kafka refuses becomes one of our errors."""
    producer = AIOKafkaProducer(**connection.client_options(), acks=1)

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
    """Lets the guard begin anew whenever the partition becomes ours."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self.is_ours = False
        self.joined = asyncio.Event()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Stop looking."""
        self.is_ours = False

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin to look at what comes from now on."""
        self._guard.begin()
        self.is_ours = bool(list(assigned))
        self.joined.set()


async def guard_forever(
    connection: Connection, topic: str, guard: Guard, *, group: str, every_s: float = LOOK_EVERY_S
) -> None:
    """Look each second while the partition is ours, for ever.

    group  of the guards of one pipeline. Nothing is committed: evidence of before is of no use
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
        try:
            await come_up(consumer.start())
            look_s = time.monotonic() + every_s
            while True:
                fetched = await consumer.getmany(timeout_ms=_COMMANDED_MS)
                for records in fetched.values():
                    for record in records:
                        guard.take(record.value)
                if time.monotonic() >= look_s:
                    look_s = time.monotonic() + every_s
                    if ownership.is_ours:
                        await guard.look()
        finally:
            # One that is closed while it joins its group leaves the connection that it opens.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ownership.joined.wait(), COME_UP_S_MAX)
            await consumer.stop()
