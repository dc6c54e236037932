"""A stream gives the features that a file gives, bit for bit, however it was cut up."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from stream_infer.dataplane import ledger, task
from stream_infer.simulators.fraud import DAY_MS, Transactions
from support.load import (
    Load,
    assert_features_equal,
    make_load,
    send_labels,
    send_load,
    send_transactions,
    table_features,
)
from support.pipelines import own_pipeline, written
from support.worker import make_topics, settle, work_off, worker_process

pytestmark = pytest.mark.kafka


def parts(rows: Transactions, count: int) -> list[Transactions]:
    return [rows.take(piece) for piece in np.array_split(np.arange(len(rows)), count)]


async def test_a_history_of_one_partition_gives_what_the_file_gives(kafka: str) -> None:
    pipeline, load = own_pipeline(), make_load()
    await make_topics(kafka, pipeline, partitions=1)
    await send_load(kafka, pipeline, load)
    await work_off(kafka, pipeline)
    scored = await assert_features_equal(kafka, pipeline, table_features(pipeline, load))
    assert scored.doubles() == 0


@pytest.mark.parametrize("rows_max", [1, 7, 500])
async def test_the_size_of_batches_changes_no_feature(
    kafka: str, rows_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "BATCH_ROWS_MAX", rows_max)  # cut into so many,
    monkeypatch.setattr(task, "BATCH_ROWS_MAX", rows_max)  # and not merged again
    load = make_load(days=40, customers=12 if rows_max == 1 else 60, terminals=20)
    pipeline = own_pipeline()
    await make_topics(kafka, pipeline, partitions=1)
    await send_load(kafka, pipeline, load)
    await work_off(kafka, pipeline)
    scored = await assert_features_equal(kafka, pipeline, table_features(pipeline, load))
    assert scored.doubles() == 0


async def test_clean_restarts_in_the_middle_change_no_feature_and_double_nothing(
    kafka: str, tmp_path: Path
) -> None:
    """SIGTERM between and during pieces; the state is built anew from the log each time."""
    pipeline, load = own_pipeline(), make_load()
    file = written(pipeline, tmp_path)
    await make_topics(kafka, pipeline, partitions=1)
    settings = {"align_wait_max": "1h", "commit_interval_ms": "100"}
    # Labels first: alignment holds them back until the transactions have come so far.
    await send_labels(kafka, pipeline, load.labels)
    for piece in parts(load.transactions, 3):
        async with worker_process(file, kafka, "--publish-features", settings=settings) as worker:
            await worker.says("assigned")
            await send_transactions(kafka, pipeline, piece)
            assert await worker.stop() == 0, worker.log
    async with worker_process(file, kafka, "--publish-features", settings=settings) as worker:
        await settle(kafka, pipeline, worker.alive)
        assert await worker.stop() == 0, worker.log
    scored = await assert_features_equal(kafka, pipeline, table_features(pipeline, load))
    assert scored.doubles() == 0


async def test_the_order_of_labels_of_equal_time_changes_no_feature(kafka: str) -> None:
    """All labels of a day become known at its end, as a daily file brings them, in any order."""
    pipeline, load = own_pipeline(), make_load()
    rows = load.transactions
    at_once = dataclasses.replace(
        rows, label_time=(rows.event_time + 5 * DAY_MS) // DAY_MS * DAY_MS + DAY_MS - 1
    )
    shuffled = at_once.take(np.random.default_rng(5).permutation(len(at_once)))
    await make_topics(kafka, pipeline, partitions=2)
    await send_transactions(kafka, pipeline, at_once)
    await send_labels(kafka, pipeline, shuffled.by_label_time())
    await work_off(kafka, pipeline)
    load = Load(at_once, at_once.by_label_time())
    await assert_features_equal(kafka, pipeline, table_features(pipeline, load))
