"""What a consumer group has read of each partition, and from where on."""

from __future__ import annotations

from typing import NamedTuple

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.committed import read_committed_by_group
from stream_infer.dataplane.offsets import committed_base, declared_start
from stream_infer.kafka.connection import Connection


class GroupRead(NamedTuple):
    """What a group has read of one partition.

    declared   where its fold began; 0 where another tool wrote the offset
    committed  next offset that it will read
    base       which history its fold began with; None for an empty state
    """

    declared: int
    committed: int
    base: str | None = None


async def read_by_group(connection: Connection, group: str) -> dict[Partition, GroupRead]:
    """Return what the group has committed, with the metadata that a worker writes beside it."""
    return {
        source: GroupRead(
            declared_start(commit.metadata) or 0, commit.offset, committed_base(commit.metadata)
        )
        for source, commit in (await read_committed_by_group(connection, group)).items()
    }
