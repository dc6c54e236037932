"""A started broker serves clients as a Kafka in production does."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from stream_infer.broker import EmbeddedBroker
from support.kafka import (
    Message,
    acreate_topics,
    aproduce,
    aread_all,
    create_topics,
    produce,
    read_all,
    unique,
)

pytestmark = pytest.mark.kafka


def test_records_come_back_as_they_were_sent(kafka: str) -> None:
    topic = unique("serving")
    create_topics(kafka, {topic: 2})
    sent = produce(
        kafka,
        topic,
        [
            (b"k", b"first", 1, [("h", b"1"), ("h", b"2")]),
            (None, b"second", 0, []),
            (b"k", None, 1, []),
        ],
    )
    assert sent == [(1, 0), (0, 0), (1, 1)]
    records = read_all(kafka, topic)
    assert [(r.partition, r.offset, r.key, r.value) for r in records] == [
        (0, 0, None, b"second"),
        (1, 0, b"k", b"first"),
        (1, 1, b"k", None),
    ]
    assert list(records[1].headers) == [("h", b"1"), ("h", b"2")]


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd", "snappy"])
async def test_compressed_batches_are_checked_and_kept(kafka: str, codec: str) -> None:
    # The broker unpacks each batch to check it: its native libraries must have loaded.
    topic = unique(codec)
    await acreate_topics(kafka, {topic: 1})
    messages: list[Message] = [(None, b"x" * 500, 0, []) for _ in range(50)]
    await aproduce(kafka, topic, messages, compression_type=codec)
    assert [r.value for r in await aread_all(kafka, topic)] == [m[1] for m in messages]


def test_a_misspelt_topic_is_not_created(kafka: str) -> None:
    topic = unique("misspelt")
    with pytest.raises(KafkaError):
        produce(kafka, topic, [(None, b"x", None, [])], request_timeout_ms=1000)
    with pytest.raises(LookupError):
        read_all(kafka, topic)


def test_topic_settings_reach_the_topic(kafka: str) -> None:
    topic = unique("small")
    create_topics(kafka, {topic: 1}, {"max.message.bytes": "1000"})
    with pytest.raises(MessageSizeTooLargeError):
        produce(kafka, topic, [(None, b"x" * 2000, 0, [])])


def test_broker_settings_reach_the_broker() -> None:
    topic = unique("large")
    with EmbeddedBroker(config={"message.max.bytes": "3000000"}) as broker:
        create_topics(broker.bootstrap, {topic: 1})
        value = b"x" * 2_500_000
        produce(broker.bootstrap, topic, [(None, value, 0, [])], max_request_size=3_000_000)
        assert [r.value for r in read_all(broker.bootstrap, topic)] == [value]


async def test_aborted_records_are_read_only_when_uncommitted_ones_are(kafka: str) -> None:
    topic = unique("aborted")
    await acreate_topics(kafka, {topic: 1})
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=unique("id"))
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted")
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"committed")
    finally:
        await producer.stop()
    assert [r.value for r in await aread_all(kafka, topic)] == [b"committed"]
    uncommitted = await aread_all(kafka, topic, "read_uncommitted")
    assert [r.value for r in uncommitted] == [b"aborted", b"committed"]
