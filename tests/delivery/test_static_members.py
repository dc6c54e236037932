"""A worker with an instance id comes back within the session time-out, and no partition moves."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from support.load import make_load, send_transactions
from support.pipelines import own_pipeline, written
from support.worker import WorkerProcess, make_topics, settle, until

pytestmark = pytest.mark.kafka

PARTITIONS = 2
LOAD = make_load(days=1, customers=10)
SESSION = {"session_timeout": "20s", "transaction_timeout": "5s", "delivery": "exactly_once"}


def assignments(worker: WorkerProcess) -> list[list[str]]:
    """Return the partitions of each assignment that a worker has had."""
    said = re.findall(r"\] assigned +partitions=(\[.*\])", worker.log)
    return [ast.literal_eval(partitions) for partitions in said]


async def test_a_worker_that_is_killed_or_stopped_and_restarted_moves_no_partition(
    kafka: str, tmp_path: Path
) -> None:
    pipeline = own_pipeline()
    file = written(pipeline, tmp_path)
    await make_topics(kafka, pipeline, partitions=PARTITIONS)

    def process(name: str) -> WorkerProcess:
        settings = {**SESSION, "instance_id": name}
        return WorkerProcess(file, kafka, log=tmp_path / f"{name}.log", settings=settings)

    workers = [process("one"), process("two")]

    def is_shared() -> bool:
        found = [assignments(worker) for worker in workers]
        if not all(found):
            return False
        mine, others = (set(each[-1]) for each in found)
        return bool(mine and others) and not mine & others

    async def restart(number: int, name: str) -> None:
        """Start one again, which has ended, and see that both have what they had."""
        workers[number] = process(name)
        alive = workers[number].alive
        await until(lambda: bool(assignments(workers[number])), alive=alive)
        await send_transactions(kafka, pipeline, LOAD.transactions)
        await settle(kafka, pipeline, alive)
        assert assignments(workers[number]) == [before[number]]

    try:
        await until(is_shared, alive=workers[1].alive)
        before = [assignments(worker)[-1] for worker in workers]
        stood = len(assignments(workers[1]))
        workers[0].kill()
        await restart(0, "one")
        assert len(assignments(workers[1])) == stood
        assert await workers[1].stop() == 0
        await restart(1, "two")
        assert len(assignments(workers[0])) == 1
    finally:
        for worker in workers:
            worker.kill()
