"""Whether a log is still the one that a checkpoint was made of, by one record of it."""

from __future__ import annotations

import asyncio

from aiokafka import TopicPartition

from stream_infer.checkpoints.manifest import Mark
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.ungrouped import ungrouped_consumer

_WAIT_S = 10.0


async def read_mark(connection: Connection, topic: str, partition: int, offset: int) -> Mark | None:
    """Return the mark of the record at an offset; None where the log has no record there."""
    tp = TopicPartition(topic, partition)
    async with ungrouped_consumer(connection) as consumer:
        consumer.assign([tp])
        start = (await consumer.beginning_offsets([tp]))[tp]
        end = (await consumer.end_offsets([tp]))[tp]
        if not start <= offset < end:
            return None
        consumer.seek(tp, offset)
        async with asyncio.timeout(_WAIT_S):
            while await consumer.position(tp) <= offset:
                fetched = await consumer.getmany(tp, timeout_ms=200, max_records=1)
                for record in fetched.get(tp, []):
                    if record.offset == offset:
                        return Mark.of(offset, record.timestamp, record.value)
    return None
