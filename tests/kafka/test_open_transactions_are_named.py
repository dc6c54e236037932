"""Whose open transaction readers wait for is asked of a real Kafka."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import TopicPartition

from stream_infer.dataplane.facts import PlaneObserver
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.open_transactions import holder_of
from support.kafka import acreate_topics, unique
from support.pipelines import own_pipeline
from support.worker import make_topics, serving, until

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


async def test_a_worker_tells_whose_transaction_its_input_waits_for(kafka: str) -> None:
    pipeline, holder = own_pipeline(), unique("loader")
    await make_topics(kafka, pipeline, partitions=1)
    options = {"bootstrap_servers": kafka, "transactional_id": holder}
    async with serving(kafka, pipeline) as serves, AIOKafkaProducer(**options) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(pipeline.events.topic, b"{}", partition=0)
        await until(lambda: serves.worker.app is not None, alive=serves.alive)
        worker = serves.worker
        assert worker.app is not None
        observe = PlaneObserver(
            worker.app.plane, model=lambda: None, is_stopping=bool, find_holder=worker._holder_of
        )

        def named() -> list[tuple[str, str]]:
            return [(p.topic, p.stalled_by) for p in observe().partitions if p.stalled_by]

        await until(lambda: bool(named()), alive=serves.alive)
        await until(lambda: named() == [(pipeline.events.topic, holder)], alive=serves.alive)
        await producer.abort_transaction()
        await until(lambda: named() == [], alive=serves.alive)


async def _until_it_is(
    connection: Connection, partition: TopicPartition, expected: str | None
) -> None:
    """Wait: Kafka answers the end of a transaction before its marker is in the log."""
    while await holder_of(connection, partition) != expected:
        pass
