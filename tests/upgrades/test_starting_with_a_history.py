"""A pipeline that begins with a history file scores its first event as if it had read it all."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from stream_infer.audit.recompute.run import Recomputation, recompute
from stream_infer.dataplane import standstill
from stream_infer.kafka.connection import Connection
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipeline import Pipeline
from stream_infer.settings.worker import WorkerSettings
from stream_infer.simulators.fraud import DAY_MS
from stream_infer.simulators.records import label_columns, label_records, transaction_records
from support.commands import Ran, run_command
from support.load import (
    START_MS,
    Load,
    make_load,
    read_scored,
    send_labels,
    send_transactions,
    table_features,
)
from support.load import assert_features_equal as assert_equal
from support.pipelines import own_pipeline, written
from support.upgrading import two_versions
from support.worker import TESTED, make_topics, serving, until

pytestmark = pytest.mark.kafka

SPLIT_MS = START_MS + 20 * DAY_MS


class World:
    """A history of 20 days as files, and the ten days behind it."""

    def __init__(self, folder: Path) -> None:
        self.whole = make_load(days=30, customers=40, terminals=20)
        rows, labels = self.whole.transactions, self.whole.labels
        is_past = rows.event_time < SPLIT_MS
        is_told = label_columns(labels).label_time < SPLIT_MS
        self.past = Load(rows.take(is_past), labels.take(is_told))
        self.now = Load(rows.take(~is_past), labels.take(~is_told))
        self.events, self.labels = folder / "events.jsonl", folder / "labels.jsonl"
        self.events.write_bytes(b"\n".join(transaction_records(self.past.transactions).values))
        self.labels.write_bytes(b"\n".join(label_records(self.past.labels).values))

    def build(self, kafka: str, file: Path, *options: str) -> Ran:
        words = ("checkpoint", "build", str(file), "--bootstrap", kafka, "--json")
        files = ("--from", str(self.events), "--labels", str(self.labels))
        return run_command(*words, *files, *options)

    async def send_now(self, kafka: str, pipeline: Pipeline) -> None:
        await send_transactions(kafka, pipeline, self.now.transactions)
        await send_labels(kafka, pipeline, self.now.labels)

    def expected(self, pipeline: Pipeline) -> dict[str, tuple[float | None, ...]]:
        every = table_features(pipeline, self.whole)
        ids = table_features(pipeline, self.now).keys()
        return {name: every[name] for name in ids}


async def judged(kafka: str, pipeline: Pipeline, settings: WorkerSettings) -> str:
    what = Recomputation(pipeline=pipeline, models=[ready_model_dir("fraud")], settings=settings)
    report = await recompute(Connection(bootstrap=kafka), what, lambda _done: None)
    return report.verdict


async def test_a_new_pipeline_begins_with_the_history_in_kafka(kafka: str, tmp_path: Path) -> None:
    world, pipeline = World(tmp_path), own_pipeline()
    file = written(pipeline, tmp_path)
    await make_topics(kafka, pipeline, partitions=2)
    ran = await asyncio.to_thread(world.build, kafka, file)
    assert ran.code == 0, ran
    assert {each["outcome"] for each in ran.json["checkpoints"]} == {"written"}
    assert [each["offset"] for each in ran.json["checkpoints"]] == [0] * 4
    again = await asyncio.to_thread(world.build, kafka, file)
    assert {each["outcome"] for each in again.json["checkpoints"]} == {"exists"}
    await world.send_now(kafka, pipeline)
    with capture_logs() as logs:
        async with serving(kafka, pipeline, TESTED) as worker:
            await worker.settle()
    adopted = [line for line in logs if line["event"] == "base_adopted"]
    assert {line["base"] for line in adopted} == {ran.json["base"]}
    assert len(adopted) == 4
    await assert_equal(kafka, pipeline, world.expected(pipeline))
    assert await judged(kafka, pipeline, TESTED) == "proven"
    await asyncio.to_thread(builds_of_newer_declarations, kafka, world, pipeline, tmp_path)
    # Another one would be put in front of what has begun.
    late = await asyncio.to_thread(world.build, kafka, file, "--until", "2025-01-10T00:00:00Z")
    assert (late.code, late.json["error"]["code"]) == (4, "history_too_late")


def builds_of_newer_declarations(
    kafka: str, world: World, pipeline: Pipeline, folder: Path
) -> None:
    """Build states of newer declarations from the log, on top of the history; twice."""
    _, new = two_versions(pipeline, folder)
    words = ("checkpoint", "build", str(new.file), "--bootstrap", kafka, "--json", "--from-log")
    without = run_command(*words)
    assert (without.code, without.json["error"]["code"]) == (4, "base_missing")
    assert {each["offset"] for each in world.build(kafka, new.file).json["checkpoints"]} == {0}
    built = run_command(*words).json["checkpoints"]
    state = [each for each in built if each["stage"] in ("customer", "terminal")]
    assert {each["outcome"] for each in state} == {"written"}
    assert sum(e["folded"] for e in state if e["stage"] == "customer") == len(world.now)
    again = run_command(*words).json["checkpoints"]
    assert {each["outcome"] for each in again} <= {"exists", "empty"}
    assert [each["checkpoint"] for each in again] == [each["checkpoint"] for each in built]


async def test_where_the_history_is_gone_nothing_is_published_until_it_is_built_again(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standstill, "TRY_AGAIN_S", 0.1)
    monkeypatch.setattr(standstill.run_or_stand_still, "__kwdefaults__", {"again_s": 0.1})
    world, pipeline = World(tmp_path), own_pipeline()
    file, store = written(pipeline, tmp_path), tmp_path / "kept"
    store.mkdir()
    settings = replace(TESTED, checkpoints=f"file://{store}")
    await make_topics(kafka, pipeline, partitions=1)
    await send_transactions(kafka, pipeline, world.now.transactions)
    where = ("--store", settings.checkpoints)
    assert (await asyncio.to_thread(world.build, kafka, file, *where)).code == 0
    async with serving(kafka, pipeline, settings) as worker:
        await worker.settle()
    first = len((await read_scored(kafka, pipeline)).events)
    assert await judged(kafka, pipeline, settings) == "proven"
    manifests = _manifests(store)
    for path in manifests:
        path.rename(path.with_suffix(".away"))
    assert await judged(kafka, pipeline, settings) == "unproven"
    await send_labels(kafka, pipeline, world.now.labels)
    more = make_load(days=31, customers=40, terminals=20)
    await send_transactions(
        kafka,
        pipeline,
        more.transactions.take(more.transactions.event_time >= START_MS + 30 * DAY_MS),
    )
    with capture_logs() as logs:
        async with serving(kafka, pipeline, settings) as worker:
            await until(
                lambda: sum(line["event"] == "partition_stands_still" for line in logs) >= 2,
                alive=worker.alive,
            )
            assert {line["code"] for line in logs if line["event"] == "partition_stands_still"} == {
                "base_missing"
            }
            assert len((await read_scored(kafka, pipeline)).events) == first
            again = await asyncio.to_thread(world.build, kafka, file, *where)
            assert {each["outcome"] for each in again.json["checkpoints"]} == {"written"}
            await worker.settle()
    assert len((await read_scored(kafka, pipeline)).events) > first
    assert await judged(kafka, pipeline, settings) == "proven"


def _manifests(store: Path) -> list[Path]:
    return list(store.rglob("*.json"))


async def test_a_history_that_overlaps_the_log_is_refused_and_cut_by_hand(
    kafka: str, tmp_path: Path
) -> None:
    world, pipeline = World(tmp_path), own_pipeline()
    file = written(pipeline, tmp_path)
    await make_topics(kafka, pipeline, partitions=2)
    # The log holds the history's last five days, too.
    rows = world.whole.transactions
    await send_transactions(kafka, pipeline, rows.take(rows.event_time >= SPLIT_MS - 5 * DAY_MS))
    ran = await asyncio.to_thread(world.build, kafka, file)
    assert (ran.code, ran.json["error"]["code"]) == (4, "history_overlaps_log")
    cut = ran.json["error"]["fix"].split("--until ")[1].split(". ")[0]
    ran = await asyncio.to_thread(world.build, kafka, file, "--until", cut)
    assert ran.code == 0, ran
    held = sum(each["folded"] for each in ran.json["checkpoints"] if each["stage"] == "customer")
    assert held == int((world.past.transactions.event_time < SPLIT_MS - 5 * DAY_MS).sum())
    latest = await asyncio.to_thread(world.build, kafka, file, "--config", str(_latest(tmp_path)))
    assert latest.code == 0  # what the log holds is not read then
    assert sum(each["offset"] for each in latest.json["checkpoints"]) > 0


def _latest(folder: Path) -> Path:
    path = folder / "latest.toml"
    path.write_text('[worker]\nstart = "latest"\n')
    return path
