"""Events and labels for a measurement, from the same generated world as the demo's.

The one-stage load keeps the world's own times. In the two-stage load time is pressed
together, for two reasons that a catch-up over a sparse history would hide: the alignment
of partitions shall not bind (it holds a partition that runs an hour of event time ahead),
and every transaction shall meet what it meets in steady operation, one label arriving for
every transaction and terminals whose labelled past lies in the delayed windows::

    first half of the transactions      second half, seven days later
    |--- 4 h ---|  ...                  |--- 4 h ---|
                                        |--- 4 h ---|  labels of the first half

Only the second half is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from stream_infer.benchmark.pipelines import bench_roads, labels_topic
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.sending import topic_sender
from stream_infer.simulators.fraud import DAY_MS, Transactions, World, generate
from stream_infer.simulators.records import label_records, reading_records, transaction_records
from stream_infer.simulators.traffic import Readings, sensor_table
from stream_infer.simulators.traffic import generate as generate_readings

CUSTOMERS = 50_000
TERMINALS = 20_000
SEED = 11
PRESSED_MS = 4 * 3_600_000
LABEL_DELAY_MS = 7 * DAY_MS
PIECE_ROWS = 20_000
WRITTEN = "events written"

Show = Callable[[str, int, int | None], None]
"""Called with what is done, how many, of how many."""


class Load(Protocol):
    """What is written before a run, and how it is measured."""

    @property
    def rows(self) -> int:
        """Records to send."""

    @property
    def expected(self) -> int:
        """Records that come out."""

    @property
    def measured(self) -> float:
        """Share of the outputs after which measuring may begin."""

    async def send(self, connection: Connection, topic: str, show: Show) -> None:
        """Write it to the input topic and those beside it."""


@dataclass(frozen=True, slots=True)
class PaymentLoad:
    """Transactions, and labels of some of them.

    transactions  in the order in which they are sent
    labels        in the order in which they become known; may be empty
    measured      share of the transactions after which measuring may begin
    """

    transactions: Transactions
    labels: Transactions
    measured: float

    @property
    def rows(self) -> int:
        """Records to send."""
        return len(self.transactions) + len(self.labels)

    @property
    def expected(self) -> int:
        """Records that come out: labels do not."""
        return len(self.transactions)

    async def send(self, connection: Connection, topic: str, show: Show) -> None:
        """Write transactions, and labels to their topic."""
        done = 0
        async with topic_sender(connection, topic) as sender:
            for start in range(0, len(self.transactions), PIECE_ROWS):
                piece = self.transactions.take(slice(start, start + PIECE_ROWS))
                await sender.send(piece.customer_ids, transaction_records(piece).values)
                done += len(piece)
                show(WRITTEN, done, self.rows)
        if len(self.labels) == 0:
            return
        async with topic_sender(connection, labels_topic(topic)) as sender:
            for start in range(0, len(self.labels), PIECE_ROWS):
                piece = self.labels.take(slice(start, start + PIECE_ROWS))
                await sender.send(piece.ids, label_records(piece).values)
                done += len(piece)
                show(WRITTEN, done, self.rows)


@dataclass(frozen=True, slots=True)
class ReadingLoad:
    """Readings of a road network.

    readings    in the order in which they are sent
    sensor_ids  by index
    """

    readings: Readings
    sensor_ids: list[str]
    measured: float = 0.3

    @property
    def rows(self) -> int:
        """Records to send."""
        return len(self.readings)

    @property
    def expected(self) -> int:
        """Records that come out."""
        return len(self.readings)

    async def send(self, connection: Connection, topic: str, show: Show) -> None:
        """Write the readings."""
        async with topic_sender(connection, topic) as sender:
            for start in range(0, len(self.readings), PIECE_ROWS):
                piece = self.readings.take(slice(start, start + PIECE_ROWS))
                keys = [self.sensor_ids[at] for at in piece.sensor.tolist()]
                await sender.send(keys, reading_records(piece, self.sensor_ids).values)
                show(WRITTEN, start + len(piece), self.rows)


def reading_load(readings: int, sensors: int) -> ReadingLoad:
    """Return so many readings of so many sensors, one a minute each."""
    roads = bench_roads(sensors)
    count = roads.corridors * roads.sensors_per_corridor
    # Silent detectors send less, so a tenth more than the mean asks for.
    roads = replace(roads, minutes=int(1.1 * readings / count) + 2)
    rows = generate_readings(roads).take(slice(0, readings))
    return ReadingLoad(rows, [row["sensor_id"] for row in sensor_table(roads)])


def single_load(events: int, customers: int = CUSTOMERS) -> PaymentLoad:
    """Return `events` transactions of a world, two a day and customer."""
    transactions = _transactions(events, customers)
    return PaymentLoad(transactions, transactions.take(slice(0, 0)), 0.2)


def two_stage_load(events: int, customers: int = CUSTOMERS) -> PaymentLoad:
    """Return `events` transactions and the labels of their first half."""
    rows = _transactions(events, customers)
    half = len(rows) // 2
    start_ms = int(rows.event_time[0])
    first = _pressed(rows.take(slice(0, half)), start_ms)
    second = _pressed(rows.take(slice(half, len(rows))), start_ms + LABEL_DELAY_MS)
    both = replace(rows, event_time=np.concatenate([first.event_time, second.event_time]))
    return PaymentLoad(both, replace(first, label_time=first.event_time + LABEL_DELAY_MS), 0.6)


def _transactions(events: int, customers: int) -> Transactions:
    world = World(
        seed=SEED,
        customers=customers,
        terminals=min(TERMINALS, 2 * customers),
        days=0,
        # Long past: an event ahead of its record would be a dead letter.
        start_ms=1_735_689_600_000,
    )
    # Customers differ in pace, so a tenth more days than the mean asks for, and one.
    world = replace(world, days=int(1.1 * events / (customers * world.pace)) + 1)
    return generate(world).take(slice(0, events))


def _pressed(rows: Transactions, start_ms: int) -> Transactions:
    steps = np.arange(len(rows), dtype=np.int64)
    return replace(rows, event_time=start_ms + steps * PRESSED_MS // max(1, len(rows)))


def live_rows(rows: Transactions, now_ms: int) -> Transactions:
    """Return the rows as if they happened, and became known, now."""
    now = np.full(len(rows), now_ms, np.int64)
    return replace(rows, event_time=now, label_time=now)


def live_readings(rows: Readings, now_ms: int) -> Readings:
    """Return the readings as if they were taken now."""
    now = np.full(len(rows), now_ms, np.int64)
    return replace(rows, event_time=now, time=now)
