"""What a consumer group has committed, with the metadata that a worker writes beside it."""

from __future__ import annotations

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.offsets import Committed
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import administration, committed_offsets


async def read_committed_by_group(connection: Connection, group: str) -> dict[Partition, Committed]:
    """Return the offsets that a group has committed, and their metadata."""
    # Waits until the group has a coordinator; what it returns lacks the metadata.
    await committed_offsets(connection, group)
    async with administration(connection) as client:
        found = await client.list_consumer_group_offsets(group)
    return {
        Partition(tp.topic, tp.partition): Committed(entry.offset, entry.metadata or "")
        for tp, entry in found.items()
        if entry.offset >= 0
    }
