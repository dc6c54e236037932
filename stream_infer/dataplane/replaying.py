"""Reads a partition's log back from Kafka for a restore, without the records to be passed over."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from aiokafka import AIOKafkaConsumer

from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.replay import replay_log
from stream_infer.dataplane.skips import without_skipped
from stream_infer.kafka.connection import Connection

FETCH_BYTES_MAX = 4 * 1024 * 1024
"""Of one partition: a restore reads one log as fast as it comes."""


class LogReplayer:
    """Replays logs of a Kafka.

    connection  where Kafka is
    skipped     returns the offsets of a partition that every fold passes over
    """

    def __init__(
        self, connection: Connection, skipped: Callable[[Partition], Collection[int]]
    ) -> None:
        self._connection = connection
        self._skipped = skipped

    async def __call__(
        self,
        source: Partition,
        start: int,
        end: int,
        on_batch: Callable[[RecordBatch], None],
    ) -> None:
        """Hand every record of offsets ``start..end-1`` that counts to `on_batch`, in order."""
        skipped = self._skipped(source)

        def fold(batch: RecordBatch) -> None:
            if kept := without_skipped(batch.records, skipped):
                on_batch(RecordBatch(source, kept))

        await replay_log(source, start, end, fold, replaying_consumer(self._connection))


def replaying_consumer(connection: Connection) -> Callable[[], AIOKafkaConsumer]:
    """Return what makes consumers that read a log apart from the group, committed records alone."""
    return partial(
        AIOKafkaConsumer,
        **connection.client_options(),
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
    )
