"""A worker that is killed, or falls asleep, inside a transaction stops nobody for long."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from stream_infer.audit.reconcile import audit
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.dead_transactions import group_transactions
from support.load import (
    assert_features_equal,
    make_load,
    send_labels,
    send_transactions,
    table_features,
)
from support.pipelines import own_pipeline, written
from support.worker import WorkerProcess, make_topics, settle, until

pytestmark = pytest.mark.kafka

LONG = {
    "commit_interval_ms": "1500",  # so that the victim has something open
    "session_timeout": "3s",
    "transaction_timeout": "8s",  # Kafka looks for such every 10 s
    "align_wait_max": "1h",
}
ENDED = "dead_worker_transaction_ended"


@pytest.mark.parametrize("fate", ["killed", "asleep"])
async def test_the_next_owner_ends_what_is_open_and_nothing_is_lost_or_doubled(
    kafka: str, tmp_path: Path, fate: str
) -> None:
    pipeline, load = own_pipeline(), make_load(days=10, customers=40)
    file = written(pipeline, tmp_path)
    await make_topics(kafka, pipeline, partitions=2)
    connection = Connection(bootstrap=kafka)

    def worker(name: str) -> WorkerProcess:
        log = tmp_path / f"{name}.log"
        return WorkerProcess(file, kafka, "--publish-features", log=log, settings=LONG)

    async def stopped_inside_a_transaction() -> bool:
        victim._process.send_signal(signal.SIGSTOP)
        async with group_transactions(connection, pipeline.name, 1_000) as known:
            if (await known.open_ids()).ids:
                return True
        victim._process.send_signal(signal.SIGCONT)
        return False

    victim = worker("victim")
    successor = None
    try:
        await victim.says("assigned")
        await send_labels(kafka, pipeline, load.labels)
        await send_transactions(kafka, pipeline, load.transactions)
        await until(stopped_inside_a_transaction, alive=victim.alive)
        if fate == "killed":
            victim.kill()
        successor = worker("successor")
        await successor.says(ENDED)
        if fate == "asleep":
            victim._process.send_signal(signal.SIGCONT)
            await victim.says("] assigned", times=2)
            # Two that keep step commit once for each hour of the load: that takes minutes here.
            assert await victim.stop() == 0, victim.log
        await settle(kafka, pipeline, successor.alive)
        assert await successor.stop() == 0, successor.log
    finally:
        for each in (victim, successor):
            if each is not None:
                each.kill()
    await assert_features_equal(kafka, pipeline, table_features(pipeline, load))
    report = await audit(connection, pipeline, {}, lambda _read: None)
    assert (report.records, report.lost, report.scored_twice) == (len(load), 0, 0)
