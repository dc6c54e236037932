"""The demo's load: a generated world of payments, written to Kafka as its users would."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from stream_infer.kafka.connection import Connection
from stream_infer.pipeline import Pipeline
from stream_infer.simulators.feeding import Fed, TopicSink, feed, open_topics
from stream_infer.simulators.fraud import World
from stream_infer.simulators.pacing import ByRate
from stream_infer.simulators.pieces import Role, fraud_pieces
from stream_infer.simulators.records import Records

DAYS_MAX = 3650
LABEL_DELAY_MS = 86_400_000
"""A day instead of a week, so that the truth of some payments arrives while one watches."""
PIECES_PER_SECOND = 10


@dataclass(slots=True)
class Truth:
    """What the load knows and the pipeline does not.

    fed     what was written so far
    frauds  ids of the fraudulent transactions written
    """

    fed: Fed = field(default_factory=Fed)
    frauds: set[str] = field(default_factory=set)

    @property
    def sent(self) -> int:
        """Transactions written."""
        return self.fed.sent["events"]

    @property
    def labels(self) -> int:
        """Labels written."""
        return self.fed.sent["labels"]


class Load:
    """Writes generated transactions, and labels once they are due, at a steady rate.

    rate  transactions a second of wall time; event time runs as fast as that makes it
    """

    def __init__(
        self,
        pipeline: Pipeline,
        connection: Connection,
        *,
        seed: int,
        rate: int,
        start_ms: int,
    ) -> None:
        self.truth = Truth()
        self._connection = connection
        self._rate = rate
        self._topics: dict[Role, str] = {"events": pipeline.events.topic}
        if pipeline.labels is not None:
            self._topics["labels"] = pipeline.labels.topic
        self._world = World(
            seed=seed, days=DAYS_MAX, start_ms=start_ms, label_delay_ms=LABEL_DELAY_MS
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Write until `stop` is set; returns when every record is acknowledged."""
        pieces = fraud_pieces(self._world, rows_max=max(1, self._rate // PIECES_PER_SECOND))
        async with open_topics(self._connection, self._topics) as topics:
            sink = _Noting(topics, self.truth.frauds)
            await feed(pieces, sink, ByRate(self._rate), self.truth.fed, stop=stop)


class _Noting:
    """Topics that the truth does not go to: it is noted here."""

    def __init__(self, topics: TopicSink, frauds: set[str]) -> None:
        self._topics = topics
        self._frauds = frauds
        self.roles: tuple[Role, ...] = (*topics.roles, "truth")

    async def take(self, role: Role, records: Records, clock_ms: int | None) -> None:
        """Note the truth, send everything else."""
        if role == "truth":
            self._frauds.update(key.decode() for key in records.keys)
        else:
            await self._topics.take(role, records, clock_ms)

    async def flush(self) -> None:
        """Return when Kafka has acknowledged everything."""
        await self._topics.flush()
