"""Two workers share a group: one joins and leaves during the load, and no feature changes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from aiokafka.errors import CommitFailedError, KafkaConnectionError

from stream_infer.audit.reconcile import audit
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.offsets import Committed
from stream_infer.dataplane.transport import BatchConsumer
from stream_infer.errors import BrokerError
from stream_infer.kafka.connection import Connection
from stream_infer.simulators.fraud import DAY_MS, concatenate
from support.load import (
    START_MS,
    Load,
    assert_features_equal,
    make_load,
    send_labels,
    send_transactions,
    table_features,
)
from support.pipelines import own_pipeline, written
from support.worker import (
    TESTED,
    GroupProgress,
    make_topics,
    settle,
    until,
    work_off,
    worker_process,
)

pytestmark = pytest.mark.kafka

SETTINGS = {"align_wait_max": "1h", "commit_interval_ms": "100"}


def history_and_now() -> tuple[Load, Load]:
    """Return two weeks with all labels, and the week after the one in which those come in.

    Without a breach of the alignment or with one, nothing of the second load depends on how far
    another worker is: its delayed windows see the first load only.

        day      0 ........ 14 ........ 21 ........ 28
                 [ history  )           [   now     )
        labels        6 ........ 20.5
    """
    load = make_load(days=28, customers=200)
    day = (load.transactions.event_time - START_MS) / DAY_MS
    history, now = load.transactions.take(day < 14), load.transactions.take(day >= 21)
    return Load(history, history.by_label_time()), Load(now, concatenate([]))


async def test_a_worker_that_joins_and_leaves_loses_nothing_and_changes_no_feature(
    kafka: str, tmp_path: Path
) -> None:
    pipeline = own_pipeline()
    file = written(pipeline, tmp_path)
    history, now = history_and_now()
    await make_topics(kafka, pipeline, partitions=4)
    await send_transactions(kafka, pipeline, history.transactions)
    await send_labels(kafka, pipeline, history.labels)
    await work_off(kafka, pipeline, replace(TESTED, publish_features=True))

    pieces = [now.transactions.take(rows) for rows in np.array_split(np.arange(len(now)), 12)]
    async with GroupProgress(kafka, pipeline) as progress:

        async def moved_on(goal: int) -> bool:
            return await progress.committed_of(pipeline.events.topic) >= goal

        async def feed(count: int) -> None:
            """Send some pieces, each once half of the one before is done."""
            for _ in range(count):
                goal = await progress.committed_of(pipeline.events.topic) + len(pieces[0]) // 2
                await send_transactions(kafka, pipeline, pieces.pop(0))
                await until(partial(moved_on, goal), alive=stays.alive)

        async with worker_process(file, kafka, "--publish-features", settings=SETTINGS) as stays:
            await stays.says("assigned")
            await feed(3)
            (tmp_path / "joins").mkdir()
            other = written(pipeline, tmp_path / "joins")
            for _ in range(2):
                async with worker_process(
                    other, kafka, "--publish-features", settings=SETTINGS
                ) as joins:
                    await feed(1)
                    await joins.says("assigned")
                    await feed(2)
                    assert await joins.stop() == 0, joins.log
                await feed(1)
            assert len(pieces) == 1
            await feed(1)
            await settle(kafka, pipeline, stays.alive)
            assert await stays.stop() == 0, stays.log
            assert stays.log.count("assigned") >= 3, stays.log
    whole = Load(concatenate([history.transactions, now.transactions]), history.labels)
    await assert_features_equal(kafka, pipeline, table_features(pipeline, whole))
    report = await audit(Connection(bootstrap=kafka), pipeline, {}, lambda _read: None)
    assert (report.records, report.lost, report.in_flight) == (len(whole), 0, 0)
    # A clean leave finishes and commits what it has read: nothing is done twice.
    assert report.scored_twice == 0


async def test_workers_that_start_and_end_all_at_once_lose_nothing(
    kafka: str, tmp_path: Path
) -> None:
    """Every start and every end interrupts the assignment that the one before it brought."""
    pipeline = own_pipeline()
    history, now = history_and_now()
    await make_topics(kafka, pipeline, partitions=4)
    await send_transactions(kafka, pipeline, history.transactions)
    await send_labels(kafka, pipeline, history.labels)
    await work_off(kafka, pipeline)
    await send_transactions(kafka, pipeline, now.transactions)
    async with AsyncExitStack() as ends:
        workers = []
        for number in range(4):
            (tmp_path / str(number)).mkdir()
            file = written(pipeline, tmp_path / str(number))
            starting = worker_process(file, kafka, "--publish-features", settings=SETTINGS)
            workers.append(await ends.enter_async_context(starting))
        first, *others = workers
        for worker in workers:
            await worker.says("assigned")
        codes = await asyncio.gather(*(worker.stop() for worker in others))
        assert codes == [0, 0, 0], [worker.log for worker in others]
        await settle(kafka, pipeline, first.alive)
        assert await first.stop() == 0, first.log
    whole = Load(concatenate([history.transactions, now.transactions]), history.labels)
    await assert_features_equal(kafka, pipeline, table_features(pipeline, whole))


async def test_a_rebalance_while_an_assignment_is_opened_is_waited_for(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = own_pipeline()
    await make_topics(kafka, pipeline, partitions=2)
    load = make_load(days=1, customers=20)
    await send_transactions(kafka, pipeline, load.transactions)
    commit = BatchConsumer.commit_positions
    refused: list[Mapping[Partition, tuple[int, str]]] = []

    async def refuse_once(
        self: BatchConsumer, offsets: Mapping[Partition, tuple[int, str]]
    ) -> None:
        """Let the group move on just before the first commit, as another member would."""
        if not refused:
            refused.append(offsets)
            self._thread._ensure_consumer()._coordinator.request_rejoin()
            raise CommitFailedError("the group has rebalanced")
        await commit(self, offsets)

    monkeypatch.setattr(BatchConsumer, "commit_positions", refuse_once)
    await work_off(kafka, pipeline, TESTED)
    assert refused
    report = await audit(Connection(bootstrap=kafka), pipeline, {}, lambda _read: None)
    assert (report.lost, report.scored_twice) == (0, 0)


async def test_a_kafka_that_goes_away_while_an_assignment_is_opened_is_waited_for(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = own_pipeline()
    await make_topics(kafka, pipeline, partitions=2)
    await send_transactions(kafka, pipeline, make_load(days=1, customers=20).transactions)
    committed = BatchConsumer.committed
    failures: list[Exception] = [
        BrokerError("broker_refused", "nothing listens there"),
        KafkaConnectionError("closed"),
        BrokerError("offsets_not_stable", "a transaction is open"),
    ]

    async def fail_at_first(
        self: BatchConsumer, partitions: Collection[Partition]
    ) -> dict[Partition, Committed | None]:
        if failures:
            raise failures.pop(0)
        return await committed(self, partitions)

    monkeypatch.setattr(BatchConsumer, "committed", fail_at_first)
    await work_off(kafka, pipeline, TESTED)
    assert not failures
    report = await audit(Connection(bootstrap=kafka), pipeline, {}, lambda _read: None)
    assert (report.lost, report.scored_twice) == (0, 0)
