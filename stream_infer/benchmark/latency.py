"""From the append of an input record to the append of its output, at a steady pace.

Both topics carry LogAppendTime, so both times are the broker's own clock, whole
milliseconds, and nothing of the client that measures is in the figure. What one event
takes is off by less than one millisecond, either way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np
from aiokafka import AIOKafkaProducer

from stream_infer.benchmark.batches import batch_log
from stream_infer.benchmark.load import live_readings, live_rows
from stream_infer.benchmark.pipelines import labels_topic
from stream_infer.benchmark.subject import Subject
from stream_infer.errors import GateFailedError
from stream_infer.kafka.connection import Connection, translated
from stream_infer.kafka.reading import log_reader
from stream_infer.simulators.fraud import Transactions
from stream_infer.simulators.records import (
    Records,
    label_records,
    reading_records,
    transaction_records,
)
from stream_infer.simulators.traffic import Readings

TICK_S = 0.002
PROBE_S = 0.2
PROBE_TIMEOUT_S = 90.0
WARM_S = 3.0
LABEL_LAG_S = 1.0


class _Named(msgspec.Struct):
    """What tells an event from others: its id, or a sensor and a time."""

    transaction_id: str = ""
    sensor_id: str = ""
    event_time: int = 0

    @property
    def name(self) -> str:
        """The same in the input and in the output."""
        return self.transaction_id or f"{self.sensor_id}@{self.event_time}"


NAME_DECODER = msgspec.json.Decoder(_Named)


@dataclass(frozen=True, slots=True)
class Latency:
    """One run, in ms. `events` were matched; `missing` inputs had no output."""

    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None
    events: int
    missing: int


class Paced(Protocol):
    """Events to be sent at a pace, each as if it happened now."""

    def __len__(self) -> int: ...

    def due(self, start: int, end: int) -> list[tuple[str, Records]]:
        """Return the records of events ``start..end-1`` for the suffix of each topic."""


@dataclass(frozen=True, slots=True)
class PacedPayments:
    """Transactions, each followed by a label `LABEL_LAG_S` later where there are labels.

    rows        transactions
    label_rate  labels a second, None without labels
    """

    rows: Transactions
    label_rate: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def due(self, start: int, end: int) -> list[tuple[str, Records]]:
        """Return transactions, and the labels that become known at the same time."""
        now_ms = time.time_ns() // 1_000_000
        made = [("", transaction_records(live_rows(self.rows.take(slice(start, end)), now_ms)))]
        if self.label_rate is not None:
            lag = int(LABEL_LAG_S * self.label_rate)
            known = self.rows.take(slice(max(0, start - lag), max(0, end - lag)))
            made.append((labels_topic(""), label_records(live_rows(known, now_ms))))
        return made


@dataclass(frozen=True, slots=True)
class PacedReadings:
    """Readings of sensors; `sensor_ids` by index."""

    rows: Readings
    sensor_ids: list[str]

    def __len__(self) -> int:
        return len(self.rows)

    def due(self, start: int, end: int) -> list[tuple[str, Records]]:
        """Return the readings."""
        now_ms = time.time_ns() // 1_000_000
        piece = live_readings(self.rows.take(slice(start, end)), now_ms)
        return [("", reading_records(piece, self.sensor_ids))]


class PacedProducer:
    """Sends events one by one at a pace, each as if it happened now.

    topic   input topic
    """

    def __init__(self, connection: Connection, topic: str) -> None:
        self._connection = connection
        self._topic = topic

    async def run(self, rows: Paced, rate: int, ready: Callable[[], Awaitable[bool]]) -> int:
        """Send probes until `ready`, then the rest; return how many that were.

        rate  events a second
        """
        async with translated(self._connection):
            producer = AIOKafkaProducer(**self._connection.client_options(), linger_ms=0)
            await producer.start()
            try:
                probes = await self._probe(producer, rows, ready)
                await self._pace(producer, rows, probes, rate)
                await producer.flush()
            finally:
                await producer.stop()
        return len(rows) - probes

    async def _probe(
        self,
        producer: AIOKafkaProducer,
        rows: Paced,
        ready: Callable[[], Awaitable[bool]],
    ) -> int:
        """Send an event now and then until the subject answers; return how many."""
        until = time.monotonic() + PROBE_TIMEOUT_S
        for sent in range(len(rows) // 2):
            await self._send(producer, rows, sent, sent + 1)
            await asyncio.sleep(PROBE_S)
            if await ready():
                return sent + 1
            if time.monotonic() > until:
                break
        raise GateFailedError(
            "no_outputs",
            f"Nothing was written within {PROBE_TIMEOUT_S:.0f} s.",
            "Look at the logs of the process; run the benchmark on a quieter machine.",
        )

    async def _pace(self, producer: AIOKafkaProducer, rows: Paced, first: int, rate: int) -> None:
        started = time.monotonic()
        sent = first
        while sent < len(rows):
            await asyncio.sleep(TICK_S)
            due = min(len(rows), first + int((time.monotonic() - started) * rate))
            await self._send(producer, rows, sent, due)
            sent = due

    async def _send(self, producer: AIOKafkaProducer, rows: Paced, start: int, end: int) -> None:
        if start == end:
            return
        for suffix, records in rows.due(start, end):
            for key, value in zip(records.keys, records.values, strict=True):
                await producer.send(self._topic + suffix, value, key=key)


async def append_order(connection: Connection, topic: str) -> list[str]:
    """Return the names of a topic's events in the order of their append times."""
    times = await append_times(connection, topic)
    return sorted(times, key=times.__getitem__)


async def append_times(connection: Connection, topic: str) -> dict[str, int]:
    """Return when the broker appended the first record of each event, epoch ms, by its name."""
    times: dict[str, int] = {}
    async with log_reader(connection) as reader:
        stretches = await reader.bounds(await reader.partitions(topic))
        async for _, records in reader.read(stretches):
            for record in records:
                times.setdefault(NAME_DECODER.decode(record.value).name, record.timestamp)
    return times


async def count_records(connection: Connection, topic: str) -> int:
    """Return how many records a topic holds for readers of committed records."""
    async with batch_log(connection, [topic]) as log:
        await log.read_on()
        return log.readable()


async def wait_for_outputs(
    connection: Connection, topic: str, expected: int, subject: Subject, timeout_s: float = 15.0
) -> None:
    """Wait until `topic` holds `expected` records, or a moment has passed."""
    until = time.monotonic() + timeout_s
    async with batch_log(connection, [topic]) as log:
        while time.monotonic() < until:
            subject.check()
            await log.read_on()
            if log.readable() >= expected:
                return
            await asyncio.sleep(0.2)


def latency(sent: Mapping[str, int], written: Mapping[str, float], measured: set[str]) -> Latency:
    """Return percentiles over the `measured` ids.

    sent     append times of inputs, epoch ms
    written  of outputs, or when a reader had them
    """
    waits = np.array(
        [written[name] - sent[name] for name in measured if name in written], np.float64
    )
    if len(waits) == 0:
        return Latency(None, None, None, None, events=0, missing=len(measured))
    p50, p99, p999, most = (float(each) for each in np.percentile(waits, [50, 99, 99.9, 100]))
    return Latency(p50, p99, p999, most, len(waits), len(measured) - len(waits))
