"""Refuses to run on topics that got partitions while no worker was there to see it.

The partition of a key follows from the number of partitions, and its state is where its records
were. Each commit says how many there were; where there are more now, keys and state are apart.
"""

from __future__ import annotations

from collections.abc import Mapping

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.committed import read_committed_by_group
from stream_infer.dataplane.offsets import Committed, committed_partitions
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topic_changes import partitions_added
from stream_infer.pipeline import Pipeline


async def refuse_added_partitions(
    connection: Connection, pipeline: Pipeline, partitions: Mapping[str, int]
) -> None:
    """Compare the topics with what the group's commits say of them.

    All commits are looked at, whoever will be assigned which partitions: a partition that was
    added has none.
    Raises  ConflictError ``partitions_added``
    """
    said = partitions_said(await read_committed_by_group(connection, pipeline.name))
    change = partitions_added(pipeline, said, partitions)
    if change is not None:
        raise change


def partitions_said(committed: Mapping[Partition, Committed]) -> dict[str, int]:
    """Return how many partitions each topic had by its commits; the fewest, where they differ.

    Nothing of a topic whose commits were all made by another tool, or before they said it.
    """
    said: dict[str, int] = {}
    for source, commit in committed.items():
        count = committed_partitions(commit.metadata)
        if count is not None:
            said[source.topic] = min(count, said.get(source.topic, count))
    return said
