"""A real Kafka for tests, and the few things that tests do with one.

`session_broker` yields the bootstrap of one embedded broker, or that of
STREAM_INFER_TEST_BOOTSTRAP when a test run shall use another. The helpers are plain
functions with an event loop of their own, so that synchronous and asynchronous tests can
use them; from a coroutine, await the ones with the prefix ``a``.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from stream_infer.broker import EmbeddedBroker

Headers = Sequence[tuple[str, bytes]]
Message = tuple[bytes | None, bytes | None, int | None, Headers]

# Short sessions let a test see a dead member leave its group within a second.
BROKER_CONFIG = {"group.min.session.timeout.ms": "1000"}
READ_IDLE_S_MAX = 30.0


@dataclass(frozen=True)
class Record:
    """One record as a consumer of the topic sees it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def session_broker() -> Iterator[str]:
    """Yield the bootstrap servers for a session of tests."""
    external = os.environ.get("STREAM_INFER_TEST_BOOTSTRAP")
    if external:
        yield external
        return
    with EmbeddedBroker(config=BROKER_CONFIG) as broker:
        yield broker.bootstrap


def unique(name: str) -> str:
    """Return a topic, group or application name that no other test uses."""
    return f"{name}-{uuid.uuid4().hex[:10]}"


async def acreate_topics(
    bootstrap: str, topics: Mapping[str, int], config: Mapping[str, str] | None = None
) -> None:
    """Create topics (name -> partitions), each with the same topic settings."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        response = await admin.create_topics(
            [
                NewTopic(name, count, 1, topic_configs=dict(config or {}))
                for name, count in topics.items()
            ]
        )
        for name, code, message in response.topic_errors:
            if code:
                raise for_code(code)(f"{name}: {message}")
        # The controller has them; the broker that is asked next may hear of them a moment later.
        async with asyncio.timeout(30):
            while True:
                known = {item["topic"] for item in await admin.describe_topics()}
                if set(topics) <= known:
                    break
                await asyncio.sleep(0.02)
    finally:
        await admin.close()


async def aproduce(
    bootstrap: str, topic: str, messages: Iterable[Message], **options: object
) -> list[tuple[int, int]]:
    """Send messages (key, value, partition, headers); return (partition, offset) of each.

    partition  None: chosen from the key as every Kafka client does
    options    for `AIOKafkaProducer`, such as compression_type
    """
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **options)
    await producer.start()
    try:
        futures = [
            await producer.send(topic, value, key=key, partition=partition, headers=list(headers))
            for key, value, partition, headers in messages
        ]
        sent = await asyncio.gather(*futures)
    finally:
        await producer.stop()
    return [(metadata.partition, metadata.offset) for metadata in sent]


async def aread_all(
    bootstrap: str,
    topic: str,
    isolation: Literal["read_uncommitted", "read_committed"] = "read_committed",
) -> list[Record]:
    """Return all records up to the end as it is now, by partition, then offset.

    Transaction markers and aborted records have offsets but are no records, so the end is
    reached when each partition's position is there, not when so many records came.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level=isolation,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, p) for p in await _partitions(consumer, topic)]
        consumer.assign(partitions)
        records: list[Record] = []
        ends = await consumer.end_offsets(partitions)
        async with asyncio.timeout(READ_IDLE_S_MAX) as patience:
            while [tp for tp in partitions if await consumer.position(tp) < ends[tp]]:
                batches = await consumer.getmany(*partitions, timeout_ms=200)
                for batch in batches.values():
                    records.extend(_record(r) for r in batch)
                if batches:
                    patience.reschedule(asyncio.get_running_loop().time() + READ_IDLE_S_MAX)
    finally:
        await consumer.stop()
    records = [r for r in records if r.offset < ends[TopicPartition(topic, r.partition)]]
    return sorted(records, key=lambda record: (record.partition, record.offset))


def _record(r: Any) -> Record:
    return Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)


async def _partitions(consumer: Any, topic: str) -> list[int]:
    # The first metadata request asks for no topic; this one asks for ours.
    await consumer._client.set_topics([topic])
    found = consumer.partitions_for_topic(topic)
    if not found:
        raise LookupError(f"topic {topic} does not exist")
    return sorted(found)


def create_topics(
    bootstrap: str, topics: Mapping[str, int], config: Mapping[str, str] | None = None
) -> None:
    """Like `acreate_topics`, outside an event loop."""
    asyncio.run(acreate_topics(bootstrap, topics, config))


def produce(
    bootstrap: str, topic: str, messages: Iterable[Message], **options: object
) -> list[tuple[int, int]]:
    """Like `aproduce`, outside an event loop."""
    return asyncio.run(aproduce(bootstrap, topic, messages, **options))


def read_all(
    bootstrap: str,
    topic: str,
    isolation: Literal["read_uncommitted", "read_committed"] = "read_committed",
) -> list[Record]:
    """Like `aread_all`, outside an event loop."""
    return asyncio.run(aread_all(bootstrap, topic, isolation))
