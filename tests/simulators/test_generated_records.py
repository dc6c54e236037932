from __future__ import annotations

import msgspec
import numpy as np
import pytest

from stream_infer.events.columns import EVENT, LABEL
from stream_infer.events.contract import FraudLabel, Transaction
from stream_infer.pipelines.fraud import pipeline
from stream_infer.simulators.fraud import Transactions, World, generate
from stream_infer.simulators.records import (
    label_columns,
    label_records,
    transaction_columns,
    transaction_records,
)


@pytest.fixture(scope="module")
def rows() -> Transactions:
    return generate(World(customers=200, terminals=100, days=4))


def test_transactions_on_the_wire_obey_the_contract(rows: Transactions) -> None:
    records = transaction_records(rows)
    read = [msgspec.json.decode(value, type=Transaction) for value in records.values]
    assert [each.transaction_id for each in read] == rows.ids
    assert [each.customer_id.encode() for each in read] == records.keys
    assert [each.terminal_id for each in read] == rows.terminal_ids
    assert [each.event_time for each in read] == records.timestamps == rows.event_time.tolist()
    assert [round(each.amount * 100) for each in read] == rows.amount_cents.tolist()


def test_amounts_print_with_two_decimals(rows: Transactions) -> None:
    few = rows.take(slice(0, 3))
    few.amount_cents[:] = [1, 1005, 120_000]
    texts = [value.rsplit(b":", 1)[1] for value in transaction_records(few).values]
    assert texts == [b"0.01}", b"10.05}", b"1200.00}"]


def test_labels_on_the_wire_obey_the_contract(rows: Transactions) -> None:
    labels = rows.by_label_time()
    records = label_records(labels)
    read = [msgspec.json.decode(value, type=FraudLabel) for value in records.values]
    assert [each.transaction_id.encode() for each in read] == records.keys
    assert [each.is_fraud for each in read] == labels.is_fraud.tolist()
    assert [each.event_time for each in read] == labels.event_time.tolist()
    assert [each.label_time for each in read] == records.timestamps
    assert records.timestamps == sorted(records.timestamps)


def test_columns_hold_what_the_fraud_pipeline_declares(rows: Transactions) -> None:
    events, labels = transaction_columns(rows), label_columns(rows.by_label_time())
    for columns in (events, labels):
        assert set(columns.entities) == set(pipeline.events.entities)
        assert set(columns.values) == set(pipeline.events.decimals)
        assert len(columns) == len(rows)
    assert (events.kind == EVENT).all()
    assert (labels.kind == LABEL).all()
    assert (labels.label == rows.by_label_time().is_fraud).all()
    assert (np.diff(labels.label_time) >= 0).all()
    assert events.values["amount"].tolist() == rows.amount_cents.tolist()
