"""Generated load: transactions and labels on their topics, and what must come out.

The expectation is computed by `features.table` from the same rows as one log. It holds for
a stream with many partitions too: a customer's rows keep their order in one partition, and
what a terminal's delayed windows see lies days back.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.features.plan import compile_plan
from stream_infer.features.table import compute_features
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.sending import topic_sender
from stream_infer.pipeline import Pipeline
from stream_infer.simulators.fraud import Transactions, World, generate
from stream_infer.simulators.records import (
    Records,
    label_columns,
    label_records,
    transaction_columns,
    transaction_records,
)
from support.kafka import aread_all

START_MS = 1_735_689_600_000
"""2025-01-01T00:00:00Z: long past, so that no event is ahead of the record that carries it."""

Row = tuple[float | None, ...]
"""One event's features, None for what is not a number."""


@dataclass(frozen=True)
class Load:
    """Transactions in event-time order, and all their labels in the order of label times."""

    transactions: Transactions
    labels: Transactions

    def __len__(self) -> int:
        return len(self.transactions)


def make_load(*, days: int = 45, customers: int = 100, terminals: int = 60, seed: int = 11) -> Load:
    """Return a small dense world: every terminal has labels, and frauds among them."""
    world = World(
        seed=seed,
        customers=customers,
        terminals=terminals,
        days=days,
        start_ms=START_MS,
        terminals_lost=0.01,
        cards_lost=0.005,
    )
    transactions = generate(world)
    return Load(transactions, transactions.by_label_time())


async def send_records(bootstrap: str, topic: str, records: Records) -> None:
    """Send records in their order, each to the partition of its key."""
    async with topic_sender(Connection(bootstrap=bootstrap), topic) as sender:
        await sender.send([key.decode() for key in records.keys], records.values)


async def send_load(bootstrap: str, pipeline: Pipeline, load: Load) -> None:
    """Send all transactions and all labels, as history that is already there."""
    await send_transactions(bootstrap, pipeline, load.transactions)
    await send_labels(bootstrap, pipeline, load.labels)


async def send_transactions(bootstrap: str, pipeline: Pipeline, rows: Transactions) -> None:
    """Send transactions."""
    await send_records(bootstrap, pipeline.events.topic, transaction_records(rows))


async def send_labels(bootstrap: str, pipeline: Pipeline, rows: Transactions) -> None:
    """Send labels, in the order of the rows."""
    assert pipeline.labels is not None
    await send_records(bootstrap, pipeline.labels.topic, label_records(rows))


def table_features(pipeline: Pipeline, load: Load) -> dict[str, Row]:
    """Return transaction id -> features, as the same code computes them for a file."""
    events = transaction_columns(load.transactions)
    matrix = compute_features(pipeline, events, label_columns(load.labels))
    return dict(zip(events.ids, map(_row, matrix), strict=True))


def _row(features: NDArray[np.float64]) -> Row:
    return tuple(None if math.isnan(value) else value for value in features.tolist())


@dataclass(frozen=True)
class ScoredLog:
    """What stands on a pipeline's output topic, by partition, then offset."""

    events: list[dict[str, Any]]

    def ids(self) -> Counter[str]:
        """Return how many times each transaction was scored."""
        return Counter(event["transaction_id"] for event in self.events)

    def doubles(self) -> int:
        """Return how many outputs there are beyond one an event."""
        return len(self.events) - len(self.ids())

    def features(self, names: Sequence[str]) -> dict[str, set[Row]]:
        """Return transaction id -> every different row of features that was published for it."""
        found: dict[str, set[Row]] = {}
        for event in self.events:
            row = tuple(event["features"][name] for name in names)
            found.setdefault(event["transaction_id"], set()).add(row)
        return found


async def read_scored(bootstrap: str, pipeline: Pipeline) -> ScoredLog:
    """Return all scored events."""
    records = await aread_all(bootstrap, pipeline.scored)
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    return ScoredLog([decode(record.value or b"") for record in records])


async def assert_features_equal(
    bootstrap: str, pipeline: Pipeline, expected: Mapping[str, Row]
) -> ScoredLog:
    """Check that each event was scored, and with these features, bit for bit, each time."""
    scored = await read_scored(bootstrap, pipeline)
    names = compile_plan(pipeline).feature_names
    found = scored.features(names)
    missing = expected.keys() - found.keys()
    assert not missing, (
        f"{len(missing)} of {len(expected)} were never scored: {sorted(missing)[:5]}"
    )
    assert not found.keys() - expected.keys()
    wrong = {name: rows for name, rows in found.items() if rows != {expected[name]}}
    if wrong:
        name = min(wrong)
        different = {
            feature: (expected[name][at], sorted({str(row[at]) for row in wrong[name]}))
            for at, feature in enumerate(names)
            if {row[at] for row in wrong[name]} != {expected[name][at]}
        }
        raise AssertionError(f"{len(wrong)} of {len(expected)} differ; {name}: {different}")
    return scored
