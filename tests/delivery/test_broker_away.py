"""A Kafka that goes away: the worker waits, says so, and goes on with nothing lost."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_infer import app as app_module
from stream_infer.audit.reconcile import audit
from stream_infer.broker import EmbeddedBroker
from stream_infer.dataplane import replay, transaction_commit, transport
from stream_infer.dataplane.topic_watch import watch_topics
from stream_infer.dataplane.watch import watch_broker
from stream_infer.kafka.connection import Connection
from stream_infer.settings.worker import WorkerSettings
from stream_infer.worker import Worker
from support.kafka import BROKER_CONFIG
from support.load import (
    assert_features_equal,
    make_load,
    send_labels,
    send_transactions,
    table_features,
)
from support.pipelines import own_pipeline, written
from support.worker import (
    COMMAND,
    GroupProgress,
    Serving,
    WorkerProcess,
    make_topics,
    settle,
    until,
)

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


async def test_a_worker_that_starts_while_its_broker_is_away_waits_for_it(tmp_path: Path) -> None:
    pipeline, load = own_pipeline(), make_load(days=3)
    file = written(pipeline, tmp_path)
    with EmbeddedBroker(config=BROKER_CONFIG) as broker:
        await make_topics(broker.bootstrap, pipeline, partitions=2)
        await asyncio.to_thread(broker.kill)
        process = WorkerProcess(
            file, broker.bootstrap, "--publish-features", settings=SETTINGS, command=COMMAND
        )
        try:
            await process.says("waiting_for_broker")
            await asyncio.to_thread(broker.restart)
            await send_transactions(broker.bootstrap, pipeline, load.transactions)
            await settle(broker.bootstrap, pipeline, process.alive)
            assert await process.stop() == 0, process.log
            assert "Traceback" not in process.log, process.log
        finally:
            process.kill()


@pytest.mark.parametrize(
    "delivery", ["exactly_once", pytest.param("at_least_once", marks=pytest.mark.thorough)]
)
async def test_a_running_worker_waits_however_long_its_broker_is_away(
    delivery: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every wait that has a bound is made so short that seconds stand for an hour."""
    for module, name in (
        (app_module, "SETTLE_SECONDS"),
        (transport, "SETTLE_SECONDS"),
        (transaction_commit, "COMMIT_SECONDS_MAX"),
        (replay, "STALL_SECONDS"),
    ):
        monkeypatch.setattr(module, name, 0.2)
    monkeypatch.setattr(app_module, "watch_topics", partial(watch_topics, every_s=0.1))
    monkeypatch.setattr(app_module, "watch_broker", partial(watch_broker, every_s=0.1))
    pipeline, load = own_pipeline(), make_load(days=3)
    settings = WorkerSettings(
        delivery=delivery,
        align_wait_max_ms=None,
        session_timeout_ms=1_500,
        transaction_timeout_ms=1_000,
        connect_wait_ms=0,
    )
    with EmbeddedBroker(config=BROKER_CONFIG) as broker:
        await make_topics(broker.bootstrap, pipeline, partitions=2)
        connection = Connection(
            bootstrap=broker.bootstrap, connect_timeout_ms=500, request_timeout_ms=1_000
        )
        serves = Serving(broker.bootstrap, Worker(pipeline, connection, settings))
        try:
            await until(lambda: serves.worker.app is not None and serves.worker.app.plane.joined)
            await send_transactions(broker.bootstrap, pipeline, load.transactions)
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(AWAY_S / 2)
            serves.alive()
            await asyncio.to_thread(broker.restart)
            await serves.settle()
            report = await audit(connection, pipeline, {}, lambda _read: None)
            assert (report.records, report.lost, report.in_flight) == (len(load), 0, 0)
        finally:
            await serves.stop()


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
