"""The load of one run: payments and labels at a steady pace, some bad, late or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError

from stream_infer.pipeline import Pipeline
from stream_infer.simulators.records import label_records, transaction_records
from support.bad import BAD_VALUES, payment
from support.load import START_MS, make_load

CHUNK_S = 0.05
ODD_SHARE = 0.01
DAYS = 240
"""Of the load: three minutes at the usual pace. A machine that does other work needs so long."""
REFUSED_BYTES = 48 * 1024
"""Size of a field that makes an output too large for a topic of `SCORED_BYTES_MAX`."""
SCORED_BYTES_MAX = 32 * 1024


class Load:
    """Payments and labels, in the order in which they are sent, drawn from a seed."""

    def __init__(self, pipeline: Pipeline, seed: int) -> None:
        made = make_load(days=DAYS, customers=120, terminals=50, seed=seed)
        self._transactions = transaction_records(made.transactions)
        self._labels = label_records(made.labels)
        self._label_times: list[int] = made.labels.label_time.tolist()
        self._times: list[int] = made.transactions.event_time.tolist()
        self._pipeline = pipeline
        self._chance = random.Random(f"load {seed}")
        self._next = self._next_label = 0
        self.sent = 0

    def take(self, count: int) -> list[tuple[str, bytes | None, bytes | None]]:
        """Return the next payments, and the labels that are known by then."""
        assert self._pipeline.labels is not None
        records: list[tuple[str, bytes | None, bytes | None]] = []
        end = min(self._next + count, len(self._times))
        topic = self._pipeline.events.topic
        for at in range(self._next, end):
            key, value = self._transactions.keys[at], self._transactions.values[at]
            records.append((topic, key, value))
            if self._chance.random() < ODD_SHARE:
                records.append((topic, *self._odd(key, value)))
        self._next = end
        now = self._times[end - 1]
        while self._next_label < len(self._label_times) and (
            self._label_times[self._next_label] <= now
        ):
            at = self._next_label
            records.append(
                (self._pipeline.labels.topic, self._labels.keys[at], self._labels.values[at])
            )
            self._next_label += 1
        return records

    def _odd(self, key: bytes, value: bytes) -> tuple[bytes | None, bytes | None]:
        kind = self._chance.randrange(3)
        if kind == 0:
            return key, value  # a payment that was tried again
        if kind == 1:
            name = key.decode()
            return key, payment(transaction_id="late", event_time=START_MS, customer_id=name)
        return key, self._chance.choice(list(BAD_VALUES.values()))[0]

    def too_large(self) -> list[tuple[str, bytes | None, bytes | None]]:
        """Return payments whose scored events their topic refuses, among some that it takes."""
        records = self.take(20)
        for _ in range(2):
            key = self._chance.choice(self._transactions.keys)
            value = payment(
                transaction_id=f"large-{self._next}",
                event_time=self._times[self._next - 1],
                customer_id=key.decode(),
                note="x" * REFUSED_BYTES,
            )
            records.insert(
                self._chance.randrange(len(records)), (self._pipeline.events.topic, key, value)
            )
        return records


class Feeder:
    """Sends a load at a steady pace until told to stop, whatever happens to Kafka."""

    def __init__(self, bootstrap: str, load: Load, rate: int) -> None:
        self._load = load
        self._rate = rate
        self._futures: list[asyncio.Future[Any]] = []
        self._extra: list[Sequence[tuple[str, bytes | None, bytes | None]]] = []
        self._stop = asyncio.Event()
        self.paused = False
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            enable_idempotence=True,
            request_timeout_ms=60_000,  # a broker on a busy machine may need half of it to be back
            retry_backoff_ms=100,
            max_request_size=1 << 20,
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        await self._producer.start()
        self._task = asyncio.create_task(self._feed())

    def interject(self, records: Sequence[tuple[str, bytes | None, bytes | None]]) -> None:
        """Send some records out of turn."""
        self._extra.append(records)

    async def finish(self) -> int:
        """Stop, wait for every acknowledgement, and return how many records were sent."""
        self._stop.set()
        if self._task is not None:
            await self._task
        await asyncio.gather(*self._futures)
        await self._producer.stop()
        return len(self._futures)

    async def _feed(self) -> None:
        while not self._stop.is_set():
            records = [] if self.paused else self._load.take(max(1, round(self._rate * CHUNK_S)))
            for more in self._extra:
                records += more
            self._extra.clear()
            for record in records:
                self._futures.append(await self._put(*record))
            await asyncio.sleep(CHUNK_S)

    async def _put(self, topic: str, key: bytes | None, value: bytes | None) -> asyncio.Future[Any]:
        """Hand a record to the client, which gives up when it has had no room for it for long."""
        while True:
            with contextlib.suppress(KafkaTimeoutError):  # Kafka is away: this one was not taken
                future: asyncio.Future[Any] = await self._producer.send(topic, value, key=key)
                return future
