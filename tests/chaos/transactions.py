"""Which transactional ids a cluster knows, and somebody who takes one over and dies."""

from __future__ import annotations

from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
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

_KEY = 66


class _ListedV0(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = _KEY
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("unknown_state_filters", CompactArray(CompactString("utf-8"))),
        (
            "transaction_states",
            CompactArray(
                ("transactional_id", CompactString("utf-8")),
                ("producer_id", Int64),
                ("state", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _ListV0(RequestStruct):  # type: ignore[misc]  # as above
    API_KEY = _KEY
    API_VERSION = 0
    RESPONSE_TYPE = _ListedV0
    FLEXIBLE_VERSION = True
    SCHEMA = Schema(
        ("state_filters", CompactArray(CompactString("utf-8"))),
        ("producer_id_filters", CompactArray(Int64)),
        ("tags", TaggedFields),
    )


class _List(Request[_ListV0]):  # type: ignore[misc]  # as above
    API_KEY = _KEY
    CLASSES = (_ListV0,)

    def build(self, request_struct_class: type[_ListV0]) -> _ListV0:
        return request_struct_class([], [], {})


async def transactional_ids(bootstrap: str, prefix: str) -> list[str]:
    """Return the transactional ids that begin so, from every node (KIP-664, ListTransactions)."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        found: set[str] = set()
        for broker in client.cluster.brokers():
            answer = await client.send(broker.nodeId, _List())
            found |= {state[0] for state in answer.transaction_states}
    finally:
        await client.close()
    return sorted(name for name in found if name.startswith(f"{prefix}."))


async def fence(bootstrap: str, transactional_id: str) -> None:
    """Take an id over from its owner, as a late starter does, and go away without a word."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=transactional_id)
    await producer.start()
    await producer.stop()
