"""Features that no window says: how unusual an amount is for this very customer.

    stream-infer topics create examples/custom_step.py
    stream-infer worker examples/custom_step.py

A custom step is a numba function over a small record that each customer has. It runs
on every transaction in the order of the log, beside declared features of any kind.
"""

from typing import Any

import numba
import numpy as np

from stream_infer import Count, Custom, Events, Pipeline, Value
from stream_infer.events.contract import Transaction

OUTLIER = 3.0
"""An amount above so many times the mean is an outlier."""
LEARNING = 3
"""Amounts that are only learnt from, before any of them is called unusual."""
MEMORY = 100
"""The mean follows the last hundred or so amounts."""
WEEK_MS = 7 * 86_400_000

# One record a customer; it starts as zeros, and only plain numbers fit into it.
HABIT = np.dtype(
    [
        ("mean", np.float64),
        ("seen", np.int64),
        ("outliers", np.int64),
        ("outlier_time", np.int64, 16),  # of the last sixteen, in a ring
    ]
)


@numba.njit
def outlier_step(record: Any, event_time: int, values: Any, out: Any) -> None:
    """Write the amount over the running mean, and how many outliers the last week had."""
    amount = values[0]
    known = record.seen >= LEARNING and record.mean > 0
    ratio = amount / record.mean if known else 1.0
    if ratio > OUTLIER:
        record.outlier_time[record.outliers % 16] = event_time
        record.outliers += 1
        # Robust: the mean learns a capped amount, or one fraud would make the next look usual.
        amount = OUTLIER * record.mean
    record.seen += 1
    record.mean += (amount - record.mean) / min(record.seen, MEMORY)

    recent = 0
    for i in range(min(record.outliers, 16)):
        # Both ends: in the order of the log, an event may come after a later one.
        if event_time - WEEK_MS < record.outlier_time[i] <= event_time:
            recent += 1
    out[0] = ratio
    out[1] = recent


pipeline = Pipeline(
    name="habits",
    events=Events(
        topic="transactions",
        type=Transaction,
        id="transaction_id",
        time="event_time",
        key="customer_id",
        entities=("customer_id", "terminal_id"),
        decimals={"amount": 2},
    ),
    features=(
        Value(of="amount", name="amount"),
        Count(by="customer_id", over=("1d", "7d"), name="transactions_{window}"),
        Custom(
            by="customer_id",
            names=("amount_over_mean", "outliers_7d"),
            state=HABIT,
            step=outlier_step,
            of=("amount",),
            version=1,  # raise it with every change of what the step computes
            forget_after="30d",
        ),
    ),
    scored="transaction-habits",
)
