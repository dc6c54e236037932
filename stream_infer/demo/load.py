"""The demo's load: a generated world of payments, written to Kafka as its users would."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer

from stream_infer.kafka.connection import Connection
from stream_infer.pipeline import Pipeline
from stream_infer.simulators.fraud import Slice, World, stream
from stream_infer.simulators.records import label_records, transaction_records

SLICE_SECONDS = 0.1
DAYS_MAX = 3650
LABEL_DELAY_MS = 86_400_000
"""A day instead of a week, so that the truth of some payments arrives while one watches."""


@dataclass(slots=True)
class Truth:
    """What the load knows and the pipeline does not.

    sent        transactions written
    labels      labels written
    frauds      ids of the fraudulent ones
    """

    sent: int = 0
    labels: int = 0
    frauds: set[str] = field(default_factory=set)


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
        self._pipeline = pipeline
        self._connection = connection
        self._rate = rate
        self._world = World(
            seed=seed, days=DAYS_MAX, start_ms=start_ms, label_delay_ms=LABEL_DELAY_MS
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Write until `stop` is set; returns when every record is acknowledged."""
        producer = AIOKafkaProducer(
            **self._connection.client_options(), acks="all", enable_idempotence=True, linger_ms=5
        )
        await producer.start()
        try:
            begun = time.monotonic()
            for piece in stream(self._world, rows_max=max(1, int(self._rate * SLICE_SECONDS))):
                await self._write(producer, piece)
                ahead = self.truth.sent / self._rate - (time.monotonic() - begun)
                if await _stopped(stop, ahead):
                    return
        finally:
            await producer.stop()

    async def _write(self, producer: AIOKafkaProducer, piece: Slice) -> None:
        labels = self._pipeline.labels
        topics = [(self._pipeline.events.topic, transaction_records(piece.transactions))]
        if labels is not None:
            topics.append((labels.topic, label_records(piece.labels)))
        futures = [
            await producer.send(topic, value, key=key)
            for topic, records in topics
            for key, value in zip(records.keys, records.values, strict=True)
        ]
        await asyncio.gather(*futures)
        self.truth.sent += len(piece.transactions)
        self.truth.labels += len(piece.labels)
        ids, fraud = piece.transactions.ids, piece.transactions.is_fraud
        self.truth.frauds.update(ids[row] for row in fraud.nonzero()[0].tolist())


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    """Wait so long, or until `stop` is set; say whether it is."""
    try:
        await asyncio.wait_for(stop.wait(), timeout=max(seconds, 0.001))
    except TimeoutError:
        return False
    return True
