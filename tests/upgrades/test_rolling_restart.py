"""Two workers are replaced one after the other by those of newer declarations, under load."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from stream_infer.audit.reconcile import audit
from stream_infer.dataplane.alerting import ALERT_STAGE
from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.build import Parts, build_stages
from stream_infer.features.plan import compile_plan
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import pipeline_topics
from stream_infer.observability.meter import StageMeter
from stream_infer.settings.worker import WorkerSettings
from stream_infer.simulators.fraud import DAY_MS, Transactions, concatenate
from stream_infer.worker import Worker
from support.commands import run_command
from support.kafka import Record, aread_all
from support.load import (
    START_MS,
    Load,
    Row,
    make_load,
    read_scored,
    send_labels,
    send_transactions,
    table_features,
)
from support.pipelines import own_pipeline
from support.upgrading import Version, two_versions
from support.worker import TESTED, Serving, WorkerProcess, make_topics, settle

pytestmark = pytest.mark.kafka

PARTITIONS = 2
SETTINGS = {"align_wait_max": "1h", "commit_interval_ms": "100", "session_timeout": "6s"}


def history_and_now() -> tuple[Load, Load]:
    """Return two weeks with all labels, and a day after the week in which those come in."""
    load = make_load(days=22, customers=150)
    day = (load.transactions.event_time - START_MS) / DAY_MS
    history, now = load.transactions.take(day < 14), load.transactions.take(day >= 21)
    return Load(history, history.by_label_time()), Load(now, concatenate([]))


class Feeding:
    """Sends a load in small pieces, a third of it once all newer workers are there."""

    def __init__(self, kafka: str, version: Version, load: Load) -> None:
        self._kafka, self._pipeline = kafka, version.pipeline
        rows = np.array_split(np.arange(len(load)), 30)
        pieces = [load.transactions.take(each) for each in rows]
        self._last = pieces[20:]
        self._task = asyncio.create_task(self._feed(pieces[:20]))

    async def _feed(self, pieces: Sequence[Transactions]) -> None:
        for piece in pieces:
            await send_transactions(self._kafka, self._pipeline, piece)
            await asyncio.sleep(0.3)

    async def rest(self) -> None:
        await self._task
        for piece in self._last:
            await send_transactions(self._kafka, self._pipeline, piece)


class Processes:
    """Workers as processes, each with a log of its own; what still runs at the end is killed."""

    def __init__(self, kafka: str, folder: Path, ends: AsyncExitStack) -> None:
        self._kafka, self._folder, self._ends = kafka, folder, ends
        self.started: list[WorkerProcess] = []

    async def start(self, version: Version) -> None:
        """Start a worker, and wait until it has partitions."""
        log = self._folder / f"worker-{len(self.started)}.log"
        process = WorkerProcess(
            version.file, self._kafka, *version.options, log=log, settings=SETTINGS
        )
        self._ends.callback(process.kill)
        self.started.append(process)
        await process.says("assigned")

    async def stop(self, number: int) -> None:
        """Stop a worker by SIGTERM."""
        assert await self.started[number].stop() == 0, self.started[number].log

    async def settle(self, version: Version) -> None:
        """Wait until everything is done."""
        await settle(self._kafka, version.pipeline, self.started[-1].alive)


async def begun(kafka: str, old: Version, history: Load) -> None:
    """Let one worker of the old version do the history."""
    await make_topics(kafka, old.pipeline, PARTITIONS)
    await send_transactions(kafka, old.pipeline, history.transactions)
    await send_labels(kafka, old.pipeline, history.labels)
    past = Serving(
        kafka, Worker(old.pipeline, Connection(bootstrap=kafka), TESTED, model=old.model)
    )
    try:
        await past.settle()
    finally:
        await past.stop()


async def rolled(workers: Processes, old: Version, new: Version, feeding: Feeding) -> None:
    """Do as an operator does: stop one, start the newer one in its place; then the other."""
    for number in range(2):
        await workers.stop(number)
        await workers.start(new)
    await feeding.rest()
    await workers.settle(new)
    for number in (2, 3):
        await workers.stop(number)


async def judged(kafka: str, old: Version, new: Version, history: Load, now: Load) -> None:
    rows = concatenate([history.transactions, now.transactions])
    await judge_scores(kafka, old, new, Load(rows, history.labels))
    await judge_alerts(kafka, new)


async def test_states_are_built_beside_the_workers_that_are_then_replaced(
    kafka: str, tmp_path: Path
) -> None:
    old, new = two_versions(own_pipeline(), tmp_path)
    history, now = history_and_now()
    await begun(kafka, old, history)
    async with AsyncExitStack() as ends:
        workers = Processes(kafka, tmp_path, ends)
        await workers.start(old)
        await workers.start(old)
        feeding = Feeding(kafka, old, now)
        words = ("checkpoint", "build", str(new.file), "--from-log", "--bootstrap", kafka)
        ran = await asyncio.to_thread(run_command, *words, "--json")
        assert ran.code == 0, ran
        made = Counter((each["stage"], each["outcome"]) for each in ran.json["checkpoints"])
        assert made["customer", "written"] == made["terminal", "written"] == PARTITIONS
        await rolled(workers, old, new, feeding)
        newer = "".join(process.log for process in workers.started[2:])
        assert "checkpoint_restored" in newer
        assert "rebuilding_from_log" not in newer
    await judged(kafka, old, new, history, now)


async def test_where_nothing_was_built_the_newer_workers_fold_the_log(
    kafka: str, tmp_path: Path
) -> None:
    old, new = two_versions(own_pipeline(), tmp_path)
    history, now = history_and_now()
    await begun(kafka, old, history)
    async with AsyncExitStack() as ends:
        workers = Processes(kafka, tmp_path, ends)
        await workers.start(old)
        await workers.start(old)
        await rolled(workers, old, new, Feeding(kafka, old, now))
        newer = "".join(process.log for process in workers.started[2:])
        assert "rebuilding_from_log" in newer
    await judged(kafka, old, new, history, now)


async def judge_scores(kafka: str, old: Version, new: Version, whole: Load) -> None:
    report = await audit(Connection(bootstrap=kafka), new.pipeline, {}, lambda _read: None)
    assert (report.records, report.lost, report.scored_twice) == (len(whole), 0, 0)
    assert report.dead_letters == 0
    expected = {_version(each): table_features(each.pipeline, whole) for each in (old, new)}
    scored = (await read_scored(kafka, new.pipeline)).events
    by_version: Counter[tuple[str, bool]] = Counter()
    names = {_version(each): compile_plan(each.pipeline).feature_names for each in (old, new)}
    for event in scored:
        version = event["features_version"]
        row: Row = tuple(event["features"][name] for name in names[version])
        right = expected[version][event["transaction_id"]]
        is_whole = row == right
        if not is_whole:
            # What the old first stage wrote and the new second one scored, as documented.
            assert version == _version(new)
            right = tuple(
                None if name.startswith("CUSTOMER_ID") else value
                for name, value in zip(names[version], right, strict=True)
            )
            assert row == right
            assert event["decision"] == "review"
        by_version[event["version"], is_whole] += 1
    assert by_version["old", True] > 0
    assert by_version["new", True] > 0
    assert by_version["new", True] > by_version["new", False], by_version


def _version(version: Version) -> str:
    return compile_plan(version.pipeline).fingerprint


async def judge_alerts(kafka: str, version: Version) -> None:
    """Fold the candidates again: what was said about alerts is that, each change once."""
    pipeline = version.pipeline
    specs = pipeline_topics(pipeline, PARTITIONS)
    topics = {spec.name: spec.partitions for spec in specs}
    stages = build_stages(Parts(compile_plan(pipeline), None, topics, WorkerSettings()))
    [stage] = [each for each in stages if each.name == ALERT_STAGE]
    alerts = pipeline.alerts
    assert alerts is not None
    expected: Counter[bytes] = Counter()
    for records in _parted(await aread_all(kafka, stage.topic)):
        batch = RecordBatch(Partition(stage.topic, records[0].partition), records)
        [read] = stage.read([batch])
        [result] = stage.step([(read, stage.open_state(None))], StageMeter())
        for destination, writes in result.outputs.items():
            if destination.topic == alerts.topic:
                expected.update(value or b"" for value in writes.values)
    said = await aread_all(kafka, alerts.topic)
    assert Counter(record.value for record in said) == expected
    opened = Counter(
        alert["alert_id"]
        for record in said
        if (alert := msgspec.json.decode(record.value or b"{}", type=dict[str, Any]))["change"]
        == "opened"
    )
    assert opened
    assert set(opened.values()) == {1}


def _parted(records: Sequence[Record]) -> list[list[Record]]:
    found: dict[int, list[Record]] = {}
    for record in records:
        found.setdefault(record.partition, []).append(record)
    return list(found.values())
