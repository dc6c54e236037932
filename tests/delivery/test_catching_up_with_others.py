"""History that several workers share is read in step across them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_infer.dataplane.plane import DataPlane
from stream_infer.pipeline import Pipeline
from stream_infer.records import KeyPartitioner
from support.load import (
    Load,
    assert_features_equal,
    make_load,
    send_load,
    table_features,
)
from support.pipelines import own_pipeline, written
from support.worker import (
    TESTED,
    WorkerProcess,
    make_topics,
    serving,
    settle,
    until,
    worker_process,
)

pytestmark = pytest.mark.kafka

PARTITIONS = 4
DELIVERIES = ("exactly_once", "at_least_once")
# Labels come half a day before the windows that count them: a skew below that, in few rounds.
SETTINGS = {"align_wait_max": "none", "align_skew": "6h", "session_timeout": "6s"}


def uneven_load() -> Load:
    """Return a load whose first partition holds all of its payments, the others one in eight.

    So at equal offsets the partitions are days apart in event time.
    """
    load = make_load(days=10, customers=200)
    rows = load.transactions
    places = np.array(
        [partition for _, partition in KeyPartitioner(PARTITIONS).place(rows.customer_ids)]
    )
    rows = rows.take((places == 0) | (np.arange(len(rows)) % 8 == 0))
    return Load(rows, rows.by_label_time())


async def two_workers(
    ends: AsyncExitStack, kafka: str, pipeline: Pipeline, folder: Path
) -> list[WorkerProcess]:
    """Start two workers that share what is there from the first record on.

    A third member, inside this process, reads nothing and so holds them until both have joined.
    """
    async with serving(kafka, pipeline, replace(TESTED, session_timeout_ms=6_000)) as gate:
        workers = []
        for delivery in DELIVERIES:
            (folder / delivery).mkdir()
            file = written(pipeline, folder / delivery)
            options = SETTINGS | {"delivery": delivery}
            starting = worker_process(file, kafka, "--publish-features", settings=options)
            workers.append(await ends.enter_async_context(starting))
        for worker in workers:
            await worker.says("in_step_with_others")
        app = gate.worker.app
        assert app is not None
        await until(lambda: app.plane.joined and len(app.plane.tasks) <= 2 * PARTITIONS)
    return workers


@pytest.fixture
def reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers inside this process fetch nothing."""
    nothing: Any = lambda _self, _source: False  # noqa: E731 - stands in for a method
    monkeypatch.setattr(DataPlane, "has_room", nothing)


@pytest.mark.usefixtures("reads_nothing")
async def test_two_workers_that_catch_up_see_what_one_would(kafka: str, tmp_path: Path) -> None:
    """One of them delivers exactly once, the other at least once: both say how far they are."""
    pipeline, load = own_pipeline(), uneven_load()
    await make_topics(kafka, pipeline, partitions=PARTITIONS)
    await send_load(kafka, pipeline, load)
    async with AsyncExitStack() as ends:
        workers = await two_workers(ends, kafka, pipeline, tmp_path)
        await settle(kafka, pipeline, workers[0].alive)
        for worker in workers:
            assert await worker.stop() == 0, worker.log
            assert "alignment_breached" not in worker.log
    scored = await assert_features_equal(kafka, pipeline, table_features(pipeline, load))
    assert scored.doubles() == 0
