"""Whose open transaction readers wait for is asked of a real Kafka."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import TopicPartition

from stream_infer.kafka.connection import Connection
from stream_infer.kafka.open_transactions import holder_of
from support.kafka import acreate_topics, unique

pytestmark = pytest.mark.kafka


async def test_the_oldest_open_transaction_is_named_until_it_ends(kafka: str) -> None:
    topic, first, second = unique("in"), unique("first"), unique("second")
    await acreate_topics(kafka, {topic: 2})
    connection, partition = Connection(bootstrap=kafka), TopicPartition(topic, 1)
    assert await holder_of(connection, partition) is None
    async with (
        AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=first) as one,
        AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=second) as two,
    ):
        for producer in (one, two):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"value", partition=1)
        assert await holder_of(connection, partition) == first
        assert await holder_of(connection, TopicPartition(topic, 0)) is None
        await one.commit_transaction()
        await _until_it_is(connection, partition, second)
        await two.abort_transaction()
        await _until_it_is(connection, partition, None)


async def _until_it_is(
    connection: Connection, partition: TopicPartition, expected: str | None
) -> None:
    """Wait: Kafka answers the end of a transaction before its marker is in the log."""
    while await holder_of(connection, partition) != expected:
        pass
