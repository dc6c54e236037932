"""A Kafka that goes away: the worker waits, says so, and goes on with nothing lost."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest

from stream_infer.audit.reconcile import audit
from stream_infer.broker import EmbeddedBroker
from stream_infer.kafka.connection import Connection
from support.kafka import BROKER_CONFIG
from support.load import (
    assert_features_equal,
    make_load,
    send_labels,
    send_transactions,
    table_features,
)
from support.pipelines import own_pipeline, written
from support.worker import COMMAND, GroupProgress, WorkerProcess, make_topics, settle, until

pytestmark = pytest.mark.kafka

AWAY_S = float(os.environ.get("STREAM_INFER_TEST_AWAY_S", "8"))
"""How long the broker is away; set it to 30 for what operators see in a rolling restart."""

SETTINGS = {"align_wait_max": "1h", "commit_interval_ms": "100"}


async def test_a_worker_outlives_its_broker_and_loses_nothing(tmp_path: Path) -> None:
    """Killed in the middle of work, so that sends, fetches and commits are all under way."""
    pipeline, load = own_pipeline(), make_load(customers=300)
    file = written(pipeline, tmp_path)
    half = len(load) // 2
    with EmbeddedBroker(config=BROKER_CONFIG) as broker:
        await make_topics(broker.bootstrap, pipeline, partitions=2)
        await send_labels(broker.bootstrap, pipeline, load.labels)
        await send_transactions(broker.bootstrap, pipeline, load.transactions.take(slice(0, half)))
        process = WorkerProcess(
            file, broker.bootstrap, "--publish-features", settings=SETTINGS, command=COMMAND
        )
        try:
            async with GroupProgress(broker.bootstrap, pipeline) as progress:

                async def in_the_middle() -> bool:
                    return await progress.committed_of(pipeline.events.topic) > half // 10

                await until(in_the_middle, alive=process.alive)
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(AWAY_S)
            process.alive()
            await process.says("waiting_for_broker")
            await asyncio.to_thread(broker.restart)
            rest = load.transactions.take(np.arange(half, len(load)))
            await send_transactions(broker.bootstrap, pipeline, rest)
            await settle(broker.bootstrap, pipeline, process.alive)
            assert await process.stop() == 0, process.log
            assert "Traceback" not in process.log, process.log
        finally:
            process.kill()
        await assert_features_equal(broker.bootstrap, pipeline, table_features(pipeline, load))
        connection = Connection(bootstrap=broker.bootstrap)
        report = await audit(connection, pipeline, {}, lambda _read: None)
        assert (report.records, report.lost, report.in_flight) == (len(load), 0, 0)


async def test_an_idle_worker_outlives_its_broker(tmp_path: Path) -> None:
    pipeline, load = own_pipeline(), make_load(days=5)
    file = written(pipeline, tmp_path)
    with EmbeddedBroker(config=BROKER_CONFIG) as broker:
        await make_topics(broker.bootstrap, pipeline, partitions=2)
        process = WorkerProcess(
            file, broker.bootstrap, "--publish-features", settings=SETTINGS, command=COMMAND
        )
        try:
            await process.says("assigned")
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(AWAY_S)
            await asyncio.to_thread(broker.restart)
            await send_transactions(broker.bootstrap, pipeline, load.transactions)
            await settle(broker.bootstrap, pipeline, process.alive)
            assert await process.stop() == 0, process.log
        finally:
            process.kill()
        await assert_features_equal(broker.bootstrap, pipeline, table_features(pipeline, load))
