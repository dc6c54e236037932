"""Condemns a poison record: its dead letter and its skip, in one transaction.

Two supervisors may come to the same verdict. The transactional id is the partition's, so the
later one ends the earlier; and whoever comes second finds the skip and writes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors

from stream_infer.dataplane.at_work import Span
from stream_infer.dataplane.batch import BadRow, Partition, RecordBatch
from stream_infer.dataplane.outputs import Outputs
from stream_infer.dataplane.side import SideOutputs, SideTopic
from stream_infer.errors import NotFoundError
from stream_infer.events.skip import POISON, Skip, encode_skip
from stream_infer.events.topic_names import DEAD_LETTERS, LATE_EVENTS, skips_topic
from stream_infer.kafka.connection import Connection, translated
from stream_infer.kafka.reading import TopicPartition, log_reader
from stream_infer.kafka.skips import read_skips
from stream_infer.kafka.stretch import Stretch
from stream_infer.kafka.topics import create_specs, pipeline_topics, read_topics
from stream_infer.pipeline import Pipeline

log = structlog.get_logger("stream_infer.supervisor")

TRANSACTION_SECONDS_MAX = 60.0
REQUEST_BYTES_MAX = 16 * 1024 * 1024
TOO_LARGE = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)


async def condemn(connection: Connection, pipeline: Pipeline, span: Span, signal: str) -> bool:
    """Write the dead letter and the skip of one record; return False if it has its skip already.

    span    of one record
    Raises  NotFoundError ``offset_gone``; BrokerError
    """
    skip = Skip(
        topic=span.topic,
        partition=span.partition,
        offset=span.first,
        code=POISON,
        signal=signal,
        stage=span.stage,
        time=time.time_ns() // 1_000_000,
    )
    side = await _prepare_topics(connection, pipeline)
    batch = await _read_record(connection, span)
    async with translated(connection), _producer(connection, pipeline, span) as producer:
        known = {each.position for each in await read_skips(connection, pipeline)}
        if skip.position in known:
            return False
        message = f"It ends the process that works on it, by {signal}."
        bad = BadRow(0, POISON, message)
        whole, stub = Outputs(), Outputs()
        side.dead_letter(whole, batch, bad, span.stage)
        side.stub(stub, batch, bad, 0, DEAD_LETTERS, span.stage)
        try:
            await _write(producer, skips_topic(pipeline), skip, whole)
        except TOO_LARGE:
            log.warning("output_refused", topic=DEAD_LETTERS, cause="too large; a stub is written")
            await producer.abort_transaction()
            await _write(producer, skips_topic(pipeline), skip, stub)
    return True


async def _prepare_topics(connection: Connection, pipeline: Pipeline) -> SideOutputs:
    """Make the skips' topic if there is none; return what makes dead letters."""
    [spec] = [each for each in pipeline_topics(pipeline) if each.role == "skips"]
    facts = await read_topics(connection, [spec.name, DEAD_LETTERS, LATE_EVENTS])
    dead_letters = facts[DEAD_LETTERS]
    if spec.name not in facts:
        await create_specs(connection, [spec], replication_factor=dead_letters.replicas)
    return SideOutputs(
        group=pipeline.name,
        dead_letters=SideTopic(DEAD_LETTERS, dead_letters.partitions),
        late_events=SideTopic(LATE_EVENTS, facts[LATE_EVENTS].partitions),
    )


async def _read_record(connection: Connection, span: Span) -> RecordBatch:
    tp = TopicPartition(span.topic, span.partition)
    async with log_reader(connection) as reader:
        async for _tp, records in reader.read({tp: Stretch(span.first, span.first + 1)}):
            return RecordBatch(Partition(*tp), records)
    raise NotFoundError(
        "offset_gone",
        f"{span.topic}-{span.partition} has no record {span.first} any more.",
        "Nothing is to be done: nobody can read it, and nobody can stumble over it.",
        topic=span.topic,
        partition=span.partition,
        offset=span.first,
    )


@contextlib.asynccontextmanager
async def _producer(
    connection: Connection, pipeline: Pipeline, span: Span
) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        **connection.client_options(),
        transactional_id=f"{skips_topic(pipeline)}.{span.topic}-{span.partition}",
        acks="all",
        max_request_size=REQUEST_BYTES_MAX,
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def _write(producer: AIOKafkaProducer, topic: str, skip: Skip, letters: Outputs) -> None:
    """Write all in one transaction, and look at each answer: the client's commit does not."""
    async with asyncio.timeout(TRANSACTION_SECONDS_MAX):
        await producer.begin_transaction()
        key, value = encode_skip(skip)
        answers: list[Any] = [await producer.send(topic, value, key=key, partition=0)]
        for place, writes in letters.items():
            for letter_key, letter, headers in zip(
                writes.keys, writes.values, writes.headers, strict=True
            ):
                answers.append(
                    await producer.send(
                        place.topic,
                        letter,
                        key=letter_key,
                        partition=place.partition,
                        headers=list(headers),
                    )
                )
        await asyncio.gather(*answers)
        await producer.commit_transaction()
