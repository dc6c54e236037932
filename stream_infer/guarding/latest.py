"""The newest record of each key of a small compacted topic, read once."""

from __future__ import annotations

from stream_infer.kafka.coming_up import opened
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader


async def read_latest(connection: Connection, topic: str) -> dict[bytes, bytes]:
    """Return key -> the newest value; keys that were deleted are left out.

    Raises  NotFoundError ``topic_missing``; BrokerError
    """
    found: dict[bytes, bytes] = {}
    async with opened(log_reader(connection, wait_ms=10)) as reader:
        bounds = await reader.bounds(await reader.partitions(topic))
        async for _, records in reader.read(bounds):
            for record in records:
                if record.key is None:
                    continue
                if record.value is None:
                    found.pop(record.key, None)
                else:
                    found[record.key] = record.value
    return found
