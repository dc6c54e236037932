"""History read through several partitions at full speed gives what it would have given live."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream_infer.records import KeyPartitioner
from support.load import (
    Load,
    assert_features_equal,
    make_load,
    read_scored,
    send_labels,
    send_load,
    send_transactions,
    table_features,
)
from support.pipelines import own_pipeline
from support.worker import TESTED, make_topics, work_off

pytestmark = pytest.mark.kafka


async def test_delayed_features_are_exact_in_catch_up_through_four_partitions(kafka: str) -> None:
    pipeline, load = own_pipeline(), make_load(days=60, customers=150)
    await make_topics(kafka, pipeline, partitions=4)
    await send_load(kafka, pipeline, load)
    await work_off(kafka, pipeline)
    expected = table_features(pipeline, load)
    risks = sum((row[-1] or 0.0) > 0 for row in expected.values())
    assert risks > len(load) // 20, "the load shows nothing without known frauds"
    scored = await assert_features_equal(kafka, pipeline, expected)
    assert scored.doubles() == 0


async def test_labels_that_were_there_long_before_wait_for_their_time(kafka: str) -> None:
    """The label topic is full before the first transaction; then one partition after another."""
    pipeline, load = own_pipeline(), make_load(days=40)
    await make_topics(kafka, pipeline, partitions=4)
    await send_labels(kafka, pipeline, load.labels)
    rows = load.transactions
    places = np.array([partition for _, partition in KeyPartitioner(4).place(rows.customer_ids)])
    for partition in range(4):
        await send_transactions(kafka, pipeline, rows.take(places == partition))
    await work_off(kafka, pipeline)
    await assert_features_equal(kafka, pipeline, table_features(pipeline, load))


async def test_a_partition_with_little_in_it_holds_nobody_for_ever(kafka: str) -> None:
    """One customer, so three of four partitions are empty; his labels end long before him."""
    pipeline, load = own_pipeline(), make_load(days=40, customers=1, terminals=3)
    known = load.labels.take(slice(0, 10))
    load = Load(load.transactions, known)
    await make_topics(kafka, pipeline, partitions=4)
    await send_load(kafka, pipeline, load)
    await work_off(kafka, pipeline)
    await assert_features_equal(kafka, pipeline, table_features(pipeline, load))


async def test_without_patience_a_worker_breaches_the_alignment_and_still_loses_nothing(
    kafka: str,
) -> None:
    """`align_wait_max` of nothing: the features of terminals may differ, the count may not."""
    pipeline, load = own_pipeline(), make_load(days=40)
    await make_topics(kafka, pipeline, partitions=4)
    await send_load(kafka, pipeline, load)
    await work_off(kafka, pipeline, replace(TESTED, align_wait_max_ms=0))
    scored = await read_scored(kafka, pipeline)
    assert scored.ids() == dict.fromkeys(load.transactions.ids, 1)
