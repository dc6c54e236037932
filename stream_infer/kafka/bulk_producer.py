"""A producer for requests of megabytes.

Private names of aiokafka 0.14 (the version is pinned) that this module relies on:

    AIOKafkaProducer  ._sender ._txn_manager ._message_accumulator ._request_timeout_ms
    Sender            ._send_produce_req ._in_flight ._muted_partitions
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer import sender as client

from stream_infer.kafka.produce_requests import OnceJoinedProduceRequest


class BulkSender(client.Sender):  # type: ignore[misc] # aiokafka has no types
    """Sends requests whose bytes are put together once."""

    async def _send_produce_req(self, node_id: int, batches: Mapping[Any, Any]) -> None:
        await _Produce(self, batches).do(node_id)
        self._in_flight.remove(node_id)
        for tp in batches:
            self._muted_partitions.remove(tp)


class _Produce(client.SendProduceReqHandler):  # type: ignore[misc] # as above
    def create_request(self) -> OnceJoinedProduceRequest:
        return OnceJoinedProduceRequest.of(super().create_request())


class BulkProducer(AIOKafkaProducer):  # type: ignore[misc] # as above
    """An idempotent producer that waits for all replicas.

    Takes what `AIOKafkaProducer` takes.

    sender_type  of what sends for it
    """

    def __init__(self, *, sender_type: type[BulkSender] = BulkSender, **options: Any) -> None:
        super().__init__(acks="all", enable_idempotence=True, **options)
        self._sender: Any = sender_type(
            self.client,
            acks=-1,
            txn_manager=self._txn_manager,
            message_accumulator=self._message_accumulator,
            retry_backoff_ms=options.get("retry_backoff_ms", 100),
            request_timeout_ms=self._request_timeout_ms,
        )
