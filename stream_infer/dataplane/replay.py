"""Reads a stretch of a partition's log apart from the group: the silent replay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.fetching import fetch_in_runs
from stream_infer.errors import BrokerError
from stream_infer.kafka.coming_up import come_up, go_down
from stream_infer.records.run import RecordRun

log = structlog.get_logger("stream_infer.replay")

RECORDS_MAX = 4096
"""Rows folded at a time; between two such steps the event loop breathes."""

STALL_SECONDS = 60
RETRY_SECONDS = 0.5
REPORT_EVERY_RECORDS = 500_000


async def replay_log(
    source: Partition,
    start: int,
    end: int,
    on_batch: Callable[[RecordBatch], None],
    make_consumer: Callable[[], AIOKafkaConsumer],
) -> None:
    """Hand every record of offsets ``start..end-1`` to `on_batch`, in order.

    Waits for a Kafka that is away, or a partition without a leader, as long as it takes.
    Raises BrokerError when the broker answers for a minute and gives nothing.
    """
    tp = TopicPartition(*source)
    consumer = await _started(source, make_consumer)
    try:
        consumer.assign([tp])
        consumer.seek(tp, start)
        position, waited_s, reported = start, 0, start
        answered_ms: int | None = None
        while position < end:
            fetched: dict[Any, list[RecordRun]] = await consumer.getmany(tp, timeout_ms=1000)
            for run in fetched.get(tp, []):
                wanted = run.before(end)
                for at in range(0, len(wanted), RECORDS_MAX):
                    on_batch(RecordBatch(source, wanted[at : at + RECORDS_MAX]))
                    await asyncio.sleep(0)
            # Markers and compacted records are passed over without being returned.
            reached = await consumer.position(tp)
            # Seconds in which it did not answer at all do not count.
            answered_before_ms, answered_ms = answered_ms, consumer.last_poll_timestamp(tp)
            if reached > position:
                waited_s = 0
            elif answered_ms != answered_before_ms:
                waited_s += 1
            position = reached
            if waited_s > STALL_SECONDS:
                raise _stalled(source, position, end)
            if position - reported >= REPORT_EVERY_RECORDS:
                reported = position
                log.info("restoring", source=str(source), at=position, until=end)
    finally:
        await go_down(consumer.stop())


async def _started(
    source: Partition, make_consumer: Callable[[], AIOKafkaConsumer]
) -> AIOKafkaConsumer:
    """Return a started consumer, waiting for the broker as long as it takes."""
    while True:
        consumer = make_consumer()
        try:
            await come_up(consumer.start())
            fetch_in_runs(consumer)
        except KafkaError as error:
            log.debug("consumer_not_started", source=str(source), cause=str(error))
            await consumer.stop()
            await asyncio.sleep(RETRY_SECONDS)
        except asyncio.CancelledError:
            # Revoked before it was up: without this its connections stay open.
            await go_down(consumer.stop())
            raise
        else:
            return consumer


def _stalled(source: Partition, position: int, end: int) -> BrokerError:
    return BrokerError(
        "restore_stalled",
        f"Kafka gives no records of {source} at offset {position}, though its log ends at {end}.",
        "Look at the broker's log; start the worker again when the partition has a leader.",
        topic=source.topic,
        partition=source.partition,
        offset=position,
    )
