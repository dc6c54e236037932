"""A topic that one broker names and another has not heard of yet is read all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import UnknownTopicOrPartitionError

from stream_infer.errors import NotFoundError
from stream_infer.kafka import topics
from stream_infer.kafka.connection import Connection, translated
from stream_infer.kafka.topics import read_topics

UNKNOWN = UnknownTopicOrPartitionError.errno


class Cluster:
    """Of two brokers: the one that is asked for settings hears of the topic later."""

    def __init__(self, late_by: int) -> None:
        self.asked = 0
        self._late_by = late_by

    async def describe_topics(self) -> list[dict[str, Any]]:
        return [{"topic": "new", "partitions": [{"replicas": [1, 2]}]}]

    async def describe_configs(self, _asked: Any) -> list[Any]:
        self.asked += 1
        known = self.asked > self._late_by
        resource = (0 if known else UNKNOWN, None, 2, "new", [("retention.ms", "5")])
        return [SimpleNamespace(resources=[resource])]


def use(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def administration(connection: Connection) -> AsyncIterator[Any]:
        async with translated(connection):
            yield cluster

    monkeypatch.setattr(topics, "administration", administration)


async def test_it_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(late_by=3)
    use(cluster, monkeypatch)
    found = await read_topics(Connection(), ["new"])
    assert found["new"].config == {"retention.ms": "5"}
    assert cluster.asked == 4


async def test_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "VISIBLE_S_MAX", 0.1)
    use(Cluster(late_by=10**9), monkeypatch)
    with pytest.raises(NotFoundError):
        await read_topics(Connection(), ["new"])
