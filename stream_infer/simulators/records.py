"""Generated transactions in the two forms that others read: Kafka records and columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_infer.events.columns import EVENT, LABEL, NO_POSITION, EventColumns
from stream_infer.simulators.fraud import Transactions


@dataclass(frozen=True, slots=True)
class Records:
    """Keys, values and times of ``n`` records, ready to be sent.

    timestamps  ms since the epoch; what the record is about happened (or became known) then
    """

    keys: list[bytes]
    values: list[bytes]
    timestamps: list[int]


def transaction_records(transactions: Transactions) -> Records:
    """Return the records of the topic of transactions, keyed by customer."""
    times = transactions.event_time.tolist()
    customers = transactions.customer_ids
    rows = zip(
        transactions.ids,
        times,
        customers,
        transactions.terminal_ids,
        transactions.amount_cents.tolist(),
        strict=True,
    )
    # Text by hand: cents print exactly, and ids of ours need no escapes.
    values = [
        f'{{"transaction_id":"{name}","event_time":{time},"customer_id":"{customer}",'
        f'"terminal_id":"{terminal}","amount":{cents // 100}.{cents % 100:02d}}}'.encode()
        for name, time, customer, terminal, cents in rows
    ]
    return Records([customer.encode() for customer in customers], values, times)


def label_records(labels: Transactions) -> Records:
    """Return the records of the topic of labels, keyed by transaction."""
    ids = labels.ids
    known = labels.label_time.tolist()
    rows = zip(
        ids,
        labels.customer_ids,
        labels.terminal_ids,
        labels.event_time.tolist(),
        labels.is_fraud.tolist(),
        known,
        strict=True,
    )
    values = [
        f'{{"transaction_id":"{name}","customer_id":"{customer}","terminal_id":"{terminal}",'
        f'"event_time":{time},"is_fraud":{"true" if fraud else "false"},'
        f'"label_time":{label_time}}}'.encode()
        for name, customer, terminal, time, fraud, label_time in rows
    ]
    return Records([name.encode() for name in ids], values, known)


def transaction_columns(transactions: Transactions) -> EventColumns:
    """Return the transactions as EVENT rows of one partition, offsets counting from 0."""
    columns = _columns(transactions, EVENT)
    columns.values["amount"] = transactions.amount_cents
    return columns


def label_columns(labels: Transactions) -> EventColumns:
    """Return the labels as LABEL rows of one partition, offsets counting from 0."""
    columns = _columns(labels, LABEL)
    columns.values["amount"] = np.zeros(len(labels), np.int64)
    columns.label = labels.is_fraud.astype(np.int8)
    columns.label_time = labels.label_time
    return columns


def _columns(rows: Transactions, kind: int) -> EventColumns:
    n = len(rows)
    return EventColumns(
        kind=np.full(n, kind, np.int8),
        event_time=rows.event_time,
        ids=rows.ids,
        entities={"customer_id": rows.customer_ids, "terminal_id": rows.terminal_ids},
        values={},
        features=np.zeros((n, 0)),
        source_topic="transactions" if kind == EVENT else "fraud-labels",
        source_partition=np.zeros(n, np.int64),
        source_offset=np.arange(n, dtype=np.int64),
        late=np.zeros(n, np.bool_),
        duplicate_of=np.full(n, NO_POSITION, np.int64),
        label=np.full(n, -1, np.int8),
        label_time=np.zeros(n, np.int64),
    )
