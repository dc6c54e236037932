"""What a consumer group has read of each partition, and from where on."""

from __future__ import annotations

from typing import NamedTuple

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.offsets import declared_start
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import administration, committed_offsets


class GroupRead(NamedTuple):
    """What a group has read of one partition.

    declared   where its fold began; 0 where another tool wrote the offset
    committed  next offset that it will read
    """

    declared: int
    committed: int


async def read_by_group(connection: Connection, group: str) -> dict[Partition, GroupRead]:
    """Return what the group has committed, with the metadata that a worker writes beside it."""
    # Waits until the group has a coordinator; what it returns lacks the metadata.
    await committed_offsets(connection, group)
    async with administration(connection) as client:
        found = await client.list_consumer_group_offsets(group)
    return {
        Partition(tp.topic, tp.partition): GroupRead(
            declared_start(entry.metadata) or 0, entry.offset
        )
        for tp, entry in found.items()
        if entry.offset >= 0
    }
