"""The record batches of a topic, read by their headers: records, markers, and when each came.

Markers of transactions take offsets, so the end of a log does not say how many records are before
it. The header of a batch does, and whether it is a marker. It costs the measured process nothing,
and the reader little: a batch of thousands of records is one header. Record batch v2, source:
Apache Kafka, ``DefaultRecordBatch.java``::

    0 base offset  i8        21 attributes  i2          43 producer id    i8
    8 length       i4        23 last offset delta  i4   51 producer epoch i2
   12 leader epoch i4        27 base timestamp  i8      53 base sequence  i4
   16 magic        i1        35 max timestamp   i8      57 records        i4
   17 crc          u4
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from aiokafka import TopicPartition
from aiokafka import errors as kafka_errors
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from numpy.typing import NDArray

from stream_infer.kafka.connection import Connection, topic_missing, translated

HEADER = np.dtype(
    [
        ("offset", np.int64),
        ("next", np.int64),
        ("records", np.int64),
        ("append_ms", np.int64),
        ("producer", np.int64),
        ("in_transaction", np.bool_),
        ("is_marker", np.bool_),
        ("is_commit", np.bool_),
    ]
)
"""One batch. ``next`` is the offset after it, ``append_ms`` its newest timestamp, epoch ms."""

FETCH_BYTES_MAX = 4 * 1024 * 1024
_LAYOUT = struct.Struct(">qiibIhiqqqhii")
_TRANSACTIONAL, _CONTROL = 0x10, 0x20
_OPEN_TOO = 0  # isolation level: also what no transaction has committed yet
LEADS_WITHIN_S = 10.0
"""So long the leader of a topic that has just been made may not know of it."""
LOOK_AGAIN_S = 0.05

Batches = NDArray[np.void]


def read_headers(content: bytes) -> Batches:
    """Return the headers of the whole batches in a stretch of a log, (n,) of `HEADER`."""
    found = []
    at = 0
    while at + _LAYOUT.size <= len(content):
        (base, length, _, _, _, attributes, delta, _, newest_ms, producer, _, _, records) = (
            _LAYOUT.unpack_from(content, at)
        )
        after = at + 12 + length
        if after > len(content):
            break  # Kafka cuts what it sends where the size ends.
        is_marker = bool(attributes & _CONTROL)
        found.append(
            (
                base,
                base + delta + 1,
                0 if is_marker else records,
                newest_ms,
                producer,
                bool(attributes & _TRANSACTIONAL),
                is_marker,
                is_marker and _is_commit(content, at + _LAYOUT.size),
            )
        )
        at = after
    return np.array(found, HEADER)


def _is_commit(content: bytes, at: int) -> bool:
    """Say whether the one record of a marker commits: its key is a version and a type, i2 each."""
    for step in ("length", "attributes", "timestamp", "offset", "key length"):
        while step != "attributes" and content[at] & 0x80:
            at += 1
        at += 1
    return int.from_bytes(content[at + 2 : at + 4]) == 1


def is_readable(batches: Batches) -> NDArray[np.bool_]:
    """Return which batches a reader of committed records is given, (n,) bool, none of markers.

    batches  of one partition; what is in an open transaction is not readable yet
    """
    readable = np.zeros(len(batches), np.bool_)
    commits: dict[int, bool] = {}
    rows = batches[["producer", "in_transaction", "is_marker", "is_commit"]].tolist()
    for at in range(len(rows) - 1, -1, -1):
        producer, in_transaction, is_marker, is_commit = rows[at]
        if is_marker:
            commits[producer] = is_commit
        else:
            readable[at] = not in_transaction or commits.get(producer, False)
    return readable


def stable_delays(batches: Batches) -> NDArray[np.int64]:
    """Return how long the last stable offset took to pass each batch of records, (n,) int64 ms.

    It stands at the first record of the oldest open transaction: whatever comes behind it waits
    too. Batches that it never passed are left out, and so are markers.
    """
    opened: dict[int, int] = {}  # producer -> its first batch of an open transaction
    waiting: list[tuple[int, int]] = []
    delays: list[int] = []
    rows = batches[["append_ms", "producer", "in_transaction", "is_marker"]].tolist()
    for at, (append_ms, producer, in_transaction, is_marker) in enumerate(rows):
        if is_marker:
            opened.pop(producer, None)
        else:
            waiting.append((at, append_ms))
            if in_transaction:
                opened.setdefault(producer, at)
        stable = min(opened.values(), default=at + 1)
        passed = [each for each in waiting if each[0] < stable]
        waiting = waiting[len(passed) :]
        delays += [append_ms - each_ms for _, each_ms in passed]
    return np.array(delays, np.int64)


class BatchLog:
    """The batches of some topics from their beginning on; each call of `read_on` adds to them.

    batches  of each partition
    """

    def __init__(self, client: Any, leaders: Mapping[TopicPartition, int]) -> None:
        self._client = client
        self._leaders = leaders
        self._read: dict[TopicPartition, list[Batches]] = {tp: [] for tp in leaders}
        self._next = dict.fromkeys(leaders, 0)
        self._readable: dict[TopicPartition, tuple[Batches, NDArray[np.int64]]] | None = None

    @property
    def batches(self) -> dict[TopicPartition, Batches]:
        """What was read until now."""
        empty = np.array([], HEADER)
        return {tp: np.concatenate([empty, *parts]) for tp, parts in self._read.items()}

    async def read_on(self) -> None:
        """Read what is there now, up to the ends of the logs."""
        unread = set(self._leaders)
        self._readable = None
        until = time.monotonic() + LEADS_WITHIN_S
        while unread:
            found = await self._fetch(unread, is_patient=time.monotonic() < until)
            if not found:
                await asyncio.sleep(LOOK_AGAIN_S)
            for tp, (batches, end) in found.items():
                if len(batches):
                    self._read[tp].append(batches)
                    self._next[tp] = int(batches["next"][-1])
                # An answer without batches may be one that had no room for them.
                if self._next[tp] >= end:
                    unread.discard(tp)

    def readable(self, ends: Mapping[TopicPartition, int] | None = None) -> int:
        """Return how many records a reader of committed records is given, below those offsets."""
        if self._readable is None:
            self._readable = {
                tp: (batches, np.cumsum([0, *(batches["records"] * is_readable(batches)).tolist()]))
                for tp, batches in self.batches.items()
            }
        return sum(
            int(counts[-1 if ends is None else np.searchsorted(batches["next"], ends[tp], "right")])
            for tp, (batches, counts) in self._readable.items()
        )

    async def _fetch(
        self, partitions: Collection[TopicPartition], *, is_patient: bool
    ) -> dict[TopicPartition, tuple[Batches, int]]:
        """Return what one request to each node brings, and where each log ends.

        is_patient  whether partitions are left out whose leader does not know yet that it leads
        """
        by_node: dict[int, dict[str, list[tuple[int, int, int]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for tp in partitions:
            wanted = (tp.partition, self._next[tp], FETCH_BYTES_MAX)
            by_node[self._leaders[tp]][tp.topic].append(wanted)
        found = {}
        for node, topics in by_node.items():
            request = FetchRequest(0, 0, 4 * FETCH_BYTES_MAX, _OPEN_TOO, list(topics.items()))
            response = await self._client.send(node, request)
            for topic, answers in response.topics:
                for partition, error, end, *_, content in answers:
                    if is_patient and error == kafka_errors.NotLeaderForPartitionError.errno:
                        continue
                    if error:
                        raise kafka_errors.for_code(error)(f"{topic}-{partition}")
                    tp = TopicPartition(topic, partition)
                    headers = read_headers(bytes(content or b""))
                    # A batch is sent whole, so the first may begin before what was asked for.
                    found[tp] = headers[headers["offset"] >= self._next[tp]], end
        return found


@contextlib.asynccontextmanager
async def batch_log(connection: Connection, topics: Sequence[str]) -> AsyncIterator[BatchLog]:
    """Open the batches of topics, which may be Kafka's own; raise NotFoundError for one missing."""
    async with translated(connection):
        client = AIOKafkaClient(**connection.client_options())
        await client.bootstrap()
        try:
            metadata = await client.fetch_all_metadata()
            leaders = {}
            for topic in topics:
                found = metadata.partitions_for_topic(topic)
                if not found:
                    raise topic_missing(topic)
                for tp in (TopicPartition(topic, partition) for partition in sorted(found)):
                    leaders[tp] = metadata.leader_for_partition(tp)
            yield BatchLog(client, leaders)
        finally:
            await client.close()
