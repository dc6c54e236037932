"""SIGKILL at any moment: nothing is lost, state is never doubled, and exactly once no output."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from stream_infer.audit.reconcile import audit
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import pipeline_topics
from support.load import (
    assert_features_equal,
    make_load,
    send_labels,
    send_transactions,
    table_features,
)
from support.pipelines import own_pipeline, written
from support.worker import GroupProgress, WorkerProcess, make_topics, settle, until, worker_process

pytestmark = pytest.mark.kafka

SETTINGS = {"align_wait_max": "1h", "commit_interval_ms": "50", "transaction_timeout": "1s"}
KILLS = 5


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
async def test_a_worker_killed_at_random_moments_loses_nothing_and_doubles_no_state(
    kafka: str, tmp_path: Path, seed: int, delivery: str
) -> None:
    """The moments are drawn in committed records, so that each falls into the middle of work."""
    chance = random.Random(seed)
    settings = SETTINGS | {"delivery": delivery}
    pipeline, load = own_pipeline(), make_load(customers=150, seed=seed)
    file = written(pipeline, tmp_path)
    await make_topics(kafka, pipeline, partitions=2)
    await send_labels(kafka, pipeline, load.labels)
    pieces = np.array_split(np.arange(len(load)), KILLS + 1)
    internal = next(s.name for s in pipeline_topics(pipeline) if s.role == "internal")
    async with GroupProgress(kafka, pipeline) as progress:
        for piece in pieces[:KILLS]:
            await send_transactions(kafka, pipeline, load.transactions.take(piece))
            topic = chance.choice([pipeline.events.topic, internal])
            goal = await progress.committed_of(topic) + chance.randrange(1, len(piece) // 3)
            process = WorkerProcess(file, kafka, "--publish-features", settings=settings)
            try:

                async def reached(topic: str = topic, goal: int = goal) -> bool:
                    return await progress.committed_of(topic) >= goal

                await until(reached, alive=process.alive)
            finally:
                process.kill()
    await send_transactions(kafka, pipeline, load.transactions.take(pieces[KILLS]))
    async with worker_process(file, kafka, "--publish-features", settings=settings) as process:
        await settle(kafka, pipeline, process.alive)
        assert await process.stop() == 0, process.log
    await assert_features_equal(kafka, pipeline, table_features(pipeline, load))
    report = await audit(Connection(bootstrap=kafka), pipeline, {}, lambda _read: None)
    assert (report.records, report.lost, report.in_flight) == (len(load), 0, 0)
    if delivery == "exactly_once":
        assert report.scored_twice == 0
