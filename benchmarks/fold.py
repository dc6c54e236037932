"""Time and memory of one stage's fold, on one core.

    python benchmarks/fold.py [--customers 5000,50000] [--events 1000000] [--batch 1000]

Prints, for the fraud pipeline's customer stage (6 features over 1, 7 and 30 days, duplicates
looked for), the CPU time of this thread that an event takes after a warm-up of 40 days, everything
included (strings to slots, id hashes, kernel), and the memory that an entry and a customer take.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np

from stream_infer.events.columns import EVENT, NO_POSITION, EventColumns
from stream_infer.features.fold import StageFold
from stream_infer.features.plan import compile_plan
from stream_infer.pipelines.fraud import pipeline

DAY_MS = 86_400_000
PER_CUSTOMER_AND_DAY = 1.9
"""The handbook's rate; it makes some 57 entries a customer in 31 days."""


def _log(customers: int, events: int, seed: int) -> EventColumns:
    """Return one log of evenly spread transactions at the handbook's rate."""
    rng = np.random.default_rng(seed)
    days = events / (customers * PER_CUSTOMER_AND_DAY)
    names = [f"customer-{i}" for i in range(customers)]
    return EventColumns(
        kind=np.full(events, EVENT, np.int8),
        event_time=np.sort(rng.integers(0, int(days * DAY_MS), events)),
        ids=[f"transaction-{i}" for i in range(events)],
        entities={"customer_id": [names[i] for i in rng.integers(0, customers, events)]},
        values={"amount": rng.integers(1, 50_000, events)},
        features=np.empty((events, 0)),
        source_topic="transactions",
        source_partition=np.zeros(events, np.int64),
        source_offset=np.arange(events),
        late=np.zeros(events, np.bool_),
        duplicate_of=np.full(events, NO_POSITION, np.int64),
        label=np.full(events, -1, np.int8),
        label_time=np.zeros(events, np.int64),
    )


def _batches(log: EventColumns, rows: int) -> Iterator[EventColumns]:
    for first in range(0, len(log), rows):
        yield log.slice(first, min(first + rows, len(log)))


def measure(customers: int, events: int, batch: int) -> None:
    """Print the figures for one number of customers."""
    warm = int(40 * customers * PER_CUSTOMER_AND_DAY)
    log = _log(customers, warm + events, seed=1)
    fold = StageFold(compile_plan(pipeline).stages[0])
    seconds: list[float] = []
    for columns in _batches(log, batch):
        before = time.thread_time()
        fold.fold(columns)
        seconds.append(time.thread_time() - before)
    steady = np.array(seconds[-(events // batch) :]) / batch * 1e6
    print(
        f"{customers:>7,} customers, batches of {batch:,}: median {np.median(steady):.2f}, "
        f"p90 {np.quantile(steady, 0.9):.2f}, mean {steady.mean():.2f} µs an event; "
        f"{fold.entries:,} entries, {fold.bytes / 1e6:.0f} MB, "
        f"{fold.bytes / fold.entries:.0f} bytes an entry, "
        f"{fold.bytes / fold.keys:,.0f} bytes a customer"
    )


def main() -> None:
    """Measure each number of customers that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", default="5000,50000")
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--batch", type=int, default=1_000)
    given = parser.parse_args()
    for customers in given.customers.split(","):
        measure(int(customers), given.events, given.batch)


if __name__ == "__main__":
    main()
