"""Asks Kafka for a group's open transactions and its members, and ends such a transaction.

A transaction that a killed process has left open is ended by whoever takes its transactional id
over: InitProducerId makes the coordinator abort what is open and give the id a new epoch, so that
the dead one, should it wake up, can write nothing more (KIP-98). To write the abort in the name of
the dead one's own epoch instead (EndTxn) would end it too, and leave its epoch good: a sleeper that
wakes up would go on writing into a transaction that is over.

Rights: who may write a transactional id may list and take it over, who may read a group may see
its members. The role of a worker has both.

Private names of aiokafka 0.14 (the version is pinned) that this module relies on:

    AIOKafkaAdminClient   ._client (cluster, coordinator_lookup), ._send_request_to_node
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import errors as kafka_errors
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from stream_infer.kafka.connection import Connection
from stream_infer.kafka.open_transactions import ListTransactions
from stream_infer.kafka.topics import administration

NONE = 0
CONCURRENT_TRANSACTIONS = 51
_GROUP, _TRANSACTION = 0, 1
"""Kinds of coordinators."""

OPEN = ("Ongoing",)
"""The state of a transaction that nobody has begun to end."""


class Listed(NamedTuple):
    """Open transactions of a group.

    ids          transactional ids that begin as asked for
    is_complete  whether every broker has told what it knows
    """

    ids: frozenset[str]
    is_complete: bool


class GroupTransactions:
    """What Kafka knows of the open transactions of one group, by one connection.

    group       the consumer group
    timeout_ms  time-out of transactions, as its workers have it
    """

    def __init__(self, admin: Any, group: str, timeout_ms: int) -> None:
        self._admin = admin
        self._group = group
        self._timeout_ms = timeout_ms

    async def open_ids(self) -> Listed:
        """Return the ids of open transactions that begin with the group's name and a dot.

        Those that this user may not describe are missing without a word: Kafka leaves them out.
        Raises KafkaError where the brokers are older than 3.0.
        """
        nodes = [broker.nodeId for broker in self._admin._client.cluster.brokers()]
        answers = await asyncio.gather(*map(self._listed_by, nodes))
        found = {name for ids in answers if ids is not None for name in ids}
        mine = frozenset(name for name in found if name.startswith(f"{self._group}."))
        return Listed(mine, is_complete=None not in answers)

    async def _listed_by(self, node: int) -> list[str] | None:
        """Return the ids that a broker coordinates; None while it cannot tell."""
        try:
            answer = await self._admin._send_request_to_node(node, ListTransactions(states=OPEN))
        except kafka_errors.IncompatibleBrokerVersion:
            raise
        except (kafka_errors.KafkaError, TimeoutError):
            return None  # it is away: what it coordinated another one will tell
        if answer.error_code != NONE:
            return None
        return [str(transactional_id) for transactional_id, *_ in answer.transactions or ()]

    async def members(self) -> list[str]:
        """Return the client ids of the group's members, also of those that are joining again.

        Raises KafkaError when Kafka refuses to tell, or its coordinator has moved.
        """
        client = self._admin._client
        node = await client.coordinator_lookup(_GROUP, self._group)
        request = DescribeGroupsRequest([self._group])
        answer = await self._admin._send_request_to_node(node, request)
        ((code, _, _, _, _, members, *_),) = answer.groups
        if code != NONE:
            raise kafka_errors.for_code(code)(f"group {self._group}")
        return [str(client_id) for _, client_id, *_ in members]

    async def end(self, transactional_id: str) -> None:
        """Have what is open under an id aborted, and whoever has the id fenced. Safe to repeat.

        Returns when Kafka has taken it on; the readers that wait go on moments later.
        """
        node = await self._admin._client.coordinator_lookup(_TRANSACTION, transactional_id)
        request = InitProducerIdRequest(transactional_id, self._timeout_ms)
        answer = await self._admin._send_request_to_node(node, request)
        # Kafka answers so when it begins to abort; the same when another is at it already.
        if answer.error_code not in (NONE, CONCURRENT_TRANSACTIONS):
            raise kafka_errors.for_code(answer.error_code)(transactional_id)


@asynccontextmanager
async def group_transactions(
    connection: Connection, group: str, timeout_ms: int
) -> AsyncIterator[GroupTransactions]:
    """Open a connection; whatever Kafka refuses inside becomes one of our errors."""
    async with administration(connection) as admin:
        yield GroupTransactions(admin, group, timeout_ms)
