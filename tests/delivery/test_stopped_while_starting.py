"""A worker that is stopped at any moment of its start leaves nothing open behind it."""

from __future__ import annotations

import asyncio
import gc
import random
import warnings
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from stream_infer.kafka.connection import Connection
from stream_infer.worker import Worker
from support.pipelines import own_pipeline
from support.worker import PATIENCE_S, TESTED, make_topics

pytestmark = pytest.mark.kafka

STEPS = 8
SEED = 1


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """Collect what Python says of things that were left open."""
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", ResourceWarning)
        warnings.showwarning = lambda message, *_rest: said.append(str(message))
        yield said


def connections(bootstrap: str) -> int:
    port = int(bootstrap.rpartition(":")[2])
    return sum(
        bool(each.raddr) and each.raddr.port == port
        for each in psutil.Process().net_connections("tcp")
    )


async def test_no_connection_no_task_and_no_warning_is_left(
    kafka: str, complaints: list[str]
) -> None:
    """The moments are spread over the steps of a start, which last very different times."""
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: complaints.append(str(context.get("message")))
    )
    draw = random.Random(SEED)
    gc.collect()
    complaints.clear()
    before, tasks = connections(kafka), asyncio.all_tasks()
    for step in range(STEPS):
        pipeline = own_pipeline()
        await make_topics(kafka, pipeline, 2)
        worker: Any = Worker(pipeline, Connection(bootstrap=kafka), TESTED)
        stop = asyncio.Event()
        running = asyncio.create_task(worker.run(stop))
        await _come_to(worker, step)
        await asyncio.sleep(draw.uniform(0, 0.06))
        stop.set()
        await asyncio.wait_for(running, PATIENCE_S)
        del worker, running
        gc.collect()
        assert (step, connections(kafka) - before) == (step, 0)
        assert (step, asyncio.all_tasks() - tasks) == (step, set())
        assert (step, complaints) == (step, [])


async def _come_to(worker: Any, step: int) -> None:
    """Wait until a worker's start has come to a step, or a moment beyond it."""
    reached = (
        lambda: True,
        lambda: worker.app is not None,
        lambda: worker.app.plane.stages,
        lambda: worker.app._consumer is not None,
        lambda: worker.app.plane.tasks,
        lambda: worker.app.plane.tasks,
        lambda: worker.app.plane.joined,
        lambda: worker.app.plane.joined,
    )
    async with asyncio.timeout(PATIENCE_S):
        for each in reached[: step + 1]:
            while not each():  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(0.001)
