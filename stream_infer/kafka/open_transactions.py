"""Whose open transaction readers of committed records wait for (KIP-664).

Layouts from Apache Kafka's message definitions `DescribeProducersRequest.json` and
`ListTransactionsRequest.json` (v0 of both, Kafka 3.0). Both are "flexible" versions (KIP-482), as
those in `stream_infer.kafka.transaction_requests`.

Private names of aiokafka 0.14 (the version is pinned) that this module relies on:

    AIOKafkaAdminClient   ._client (cluster, force_metadata_update), ._send_request_to_node
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)
from aiokafka.structs import TopicPartition

from stream_infer.kafka.coming_up import come_up, go_down
from stream_infer.kafka.connection import Connection

_TEXT = CompactString("utf-8")
_TAGS = ("tags", TaggedFields)


class DescribeProducersResponseV0(Response):  # type: ignore[misc] # aiokafka has no types
    """The producers that have written to each partition lately."""

    API_KEY = 61
    API_VERSION = 0
    _PRODUCER = (
        ("producer_id", Int64),
        ("producer_epoch", Int32),
        ("last_sequence", Int32),
        ("last_timestamp", Int64),
        ("coordinator_epoch", Int32),
        ("current_txn_start_offset", Int64),
        _TAGS,
    )
    _PARTITION = (
        ("partition", Int32),
        ("error_code", Int16),
        ("error_message", _TEXT),
        ("producers", CompactArray(*_PRODUCER)),
        _TAGS,
    )
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(("topic", _TEXT), ("partitions", CompactArray(*_PARTITION)), _TAGS),
        ),
        _TAGS,
    )


class DescribeProducersRequestV0(RequestStruct):  # type: ignore[misc] # as above
    """Asked of the leader of the partitions."""

    FLEXIBLE_VERSION = True
    API_KEY = 61
    API_VERSION = 0
    RESPONSE_TYPE = DescribeProducersResponseV0
    SCHEMA = Schema(
        ("topics", CompactArray(("topic", _TEXT), ("partitions", CompactArray(Int32)), _TAGS)),
        _TAGS,
    )


class ListTransactionsResponseV0(Response):  # type: ignore[misc] # as above
    """Transactions that a broker coordinates."""

    API_KEY = 66
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("unknown_state_filters", CompactArray(_TEXT)),
        (
            "transactions",
            CompactArray(
                ("transactional_id", _TEXT), ("producer_id", Int64), ("state", _TEXT), _TAGS
            ),
        ),
        _TAGS,
    )


class ListTransactionsRequestV0(RequestStruct):  # type: ignore[misc] # as above
    """Asked of every broker, since each coordinates some."""

    FLEXIBLE_VERSION = True
    API_KEY = 66
    API_VERSION = 0
    RESPONSE_TYPE = ListTransactionsResponseV0
    SCHEMA = Schema(
        ("state_filters", CompactArray(_TEXT)),
        ("producer_id_filters", CompactArray(Int64)),
        _TAGS,
    )


class DescribeProducers(Request[DescribeProducersRequestV0]):  # type: ignore[misc] # as above
    """Sends `DescribeProducersRequestV0`."""

    API_KEY = 61

    def __init__(self, partition: TopicPartition) -> None:
        self._partition = partition

    def build(self, request_class: Any) -> Any:
        """Return the request to send."""
        topic, number = self._partition
        return request_class(topics=[(topic, [number], {})], tags={})


class ListTransactions(Request[ListTransactionsRequestV0]):  # type: ignore[misc] # as above
    """Sends `ListTransactionsRequestV0`.

    states        such as ``Ongoing``; none: all
    producer_ids  none: all
    """

    API_KEY = 66

    def __init__(self, *, states: Sequence[str] = (), producer_ids: Sequence[int] = ()) -> None:
        self._states = list(states)
        self._producer_ids = list(producer_ids)

    def build(self, request_class: Any) -> Any:
        """Return the request to send."""
        return request_class(
            state_filters=self._states, producer_id_filters=self._producer_ids, tags={}
        )


async def holder_of(
    connection: Connection, partition: tuple[str, int], *, seconds_max: float = 10.0
) -> str | None:
    """Return the transactional id of the oldest open transaction on a partition.

    None where there is none, or where its id is not to be had: the user may not describe it.
    Raises KafkaError or TimeoutError when Kafka does not answer, or is older than 3.0.
    """
    async with asyncio.timeout(seconds_max):
        admin = AIOKafkaAdminClient(**connection.client_options())
        try:
            await come_up(admin.start())
            return await _holder(admin, TopicPartition(*partition))
        finally:
            await go_down(admin.close())


async def _holder(admin: Any, partition: TopicPartition) -> str | None:
    client = admin._client
    client.add_topic(partition.topic)
    await client.force_metadata_update()
    leader = client.cluster.leader_for_partition(partition)
    if leader is None or leader < 0:
        return None
    described = await admin._send_request_to_node(leader, DescribeProducers(partition))
    producer_id = oldest_open(described)
    if producer_id is None:
        return None
    for broker in client.cluster.brokers():
        asked = ListTransactions(producer_ids=[producer_id])
        listed = await admin._send_request_to_node(broker.nodeId, asked)
        for transactional_id, _, _, _ in listed.transactions or ():
            return str(transactional_id)
    return None


def oldest_open(described: Any) -> int | None:
    """Return the id of the producer whose open transaction begins first, None where none is."""
    opened = [
        (start, producer_id)
        for _, partitions, _ in described.topics
        for _, code, _, producers, _ in partitions
        if code == 0
        for producer_id, _, _, _, _, start, _ in producers
        if start >= 0
    ]
    return min(opened)[1] if opened else None
