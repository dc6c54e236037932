"""Versions of the model are exchanged under a worker that goes on scoring, on a real Kafka."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from stream_infer.audit.recompute.run import Recomputation, recompute
from stream_infer.events.topic_names import SHADOW_SCORES, models_topic
from stream_infer.kafka.connection import Connection
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipeline import Pipeline
from stream_infer.registry.control import what_serves
from stream_infer.registry.control_topic import tell
from stream_infer.registry.registry import Registry
from stream_infer.scoring.manifest import read_manifest
from stream_infer.serving.sides import KeySides
from stream_infer.worker import Worker
from support.kafka import aread_all
from support.load import make_load, read_scored, send_transactions
from support.pipelines import own_pipeline
from support.worker import TESTED, Serving, make_topics, until

pytestmark = pytest.mark.kafka

LOAD = make_load(days=6, customers=30, terminals=20).transactions
HALF = len(LOAD) // 2


def registry_in(folder: Path) -> Registry:
    """Return a registry with three versions of the model that ships; the first is champion."""
    registry = Registry.open(folder)
    shipped = ready_model_dir("fraud")
    content, manifest = (shipped / "model.onnx").read_bytes(), read_manifest(shipped)
    for version in ("1", "2", "3"):
        registry.publish(content, msgspec.structs.replace(manifest, version=version))
    registry.promote("fraud", "1")
    return registry


class Exchanging:
    """A worker, its registry and its topic."""

    def __init__(self, kafka: str, pipeline: Pipeline, folder: Path) -> None:
        self.kafka, self.pipeline, self.folder = kafka, pipeline, folder
        self.registry = registry_in(folder / "registry")
        self.serving = Serving(kafka, self.worker())

    def worker(self) -> Worker:
        return Worker(
            self.pipeline,
            Connection(bootstrap=self.kafka),
            TESTED,
            registry=self.registry,
            cache=self.folder / "cache",
        )

    async def tell(self) -> None:
        told = what_serves(self.registry, "fraud")
        assert told is not None
        await tell(Connection(bootstrap=self.kafka), models_topic(self.pipeline) or "", told)

    async def serves(self, number: int) -> None:
        """Wait until the worker serves what entry `number` says."""

        def met() -> bool:
            app = self.serving.worker.app
            return (
                app is not None
                and app._live is not None
                and app._live.router.serving.number == number
            )

        await until(met, alive=self.serving.alive)


@asynccontextmanager
async def exchanging(kafka: str, folder: Path) -> AsyncIterator[Exchanging]:
    pipeline = own_pipeline()
    await make_topics(kafka, pipeline, 2)
    running = Exchanging(kafka, pipeline, folder)
    try:
        yield running
    finally:
        if not running.serving._task.done():
            await running.serving.stop()


async def test_a_promotion_changes_the_version_of_what_comes_after_and_loses_nothing(
    kafka: str, tmp_path: Path
) -> None:
    async with exchanging(kafka, tmp_path) as running:
        await send_transactions(kafka, running.pipeline, LOAD.take(slice(0, HALF)))
        await running.serving.settle()
        running.registry.promote("fraud", "2")
        await running.tell()
        await running.serves(2)
        await send_transactions(kafka, running.pipeline, LOAD.take(slice(HALF, None)))
        await running.serving.settle()
        await running.serving.stop()
        scored = await read_scored(kafka, running.pipeline)
        assert scored.doubles() == 0
        assert Counter(event["version"] for event in scored.events) == {
            "1": HALF,
            "2": len(LOAD) - HALF,
        }
        folders = []
        for version in ("2", "1"):
            folder = tmp_path / version
            folder.mkdir()
            running.registry.copy_to("fraud", version, folder)
            folders.append(folder)
        report = await recompute(
            Connection(bootstrap=kafka),
            Recomputation(pipeline=running.pipeline, models=folders, settings=TESTED),
            lambda _: None,
        )
        assert (report.verdict, report.unproven) == ("proven", [])


async def test_a_challenger_decides_its_keys_and_a_shadow_is_published_beside(
    kafka: str, tmp_path: Path
) -> None:
    async with exchanging(kafka, tmp_path) as running:
        running.registry.assign("fraud", "challenger", "2", share=0.5)
        running.registry.assign("fraud", "shadow", "3")
        await running.tell()
        await running.serves(3)
        await send_transactions(kafka, running.pipeline, LOAD)
        await running.serving.settle()
        await running.serving.stop()
        scored = await read_scored(kafka, running.pipeline)
        assert len(scored.events) == len(LOAD)
        sides = KeySides("2")
        for event in scored.events:
            tried = bool(sides.tried([event["customer_id"]], 0.5)[0])
            assert event["version"] == ("2" if tried else "1")
        assert len({event["version"] for event in scored.events}) == 2
        records = await aread_all(kafka, SHADOW_SCORES)
        everybodys = [msgspec.json.decode(record.value or b"") for record in records]
        ours = f"{running.pipeline.events.topic}-"
        shadows = [each for each in everybodys if each["event_id"].startswith(ours)]
        assert {each["version"] for each in shadows} == {"3"}
        by_id = {event["event_id"]: event["score"] for event in scored.events}
        assert {each["event_id"]: each["score"] for each in shadows} == by_id


async def test_a_worker_that_is_told_of_a_version_that_is_gone_serves_on(
    kafka: str, tmp_path: Path
) -> None:
    async with exchanging(kafka, tmp_path) as running:
        await running.tell()
        await running.serves(1)
        running.registry.promote("fraud", "2")
        told = what_serves(running.registry, "fraud")
        assert told is not None
        (tmp_path / "registry/fraud/2/manifest.json").unlink()
        await tell(Connection(bootstrap=kafka), models_topic(running.pipeline) or "", told)
        live = running.serving.worker.app._live if running.serving.worker.app else None
        assert live is not None
        await until(lambda: "champion" in live.failures(), alive=running.serving.alive)
        await send_transactions(kafka, running.pipeline, LOAD)
        await running.serving.settle()
        assert live.failures()["champion"].code == "version_not_found"
        scored = await read_scored(kafka, running.pipeline)
        assert Counter(event["version"] for event in scored.events) == {"1": len(LOAD)}


async def test_a_worker_that_starts_serves_what_was_told_last_even_without_the_registry(
    kafka: str, tmp_path: Path
) -> None:
    async with exchanging(kafka, tmp_path) as running:
        running.registry.promote("fraud", "3")
        await running.tell()
        await running.serves(2)
        await send_transactions(kafka, running.pipeline, LOAD.take(slice(0, HALF)))
        await running.serving.settle()
        await running.serving.stop()
        (tmp_path / "registry").rename(tmp_path / "away")
        running.registry = Registry.open(tmp_path / "registry", create=False)
        running.serving = Serving(kafka, running.worker())
        await running.serves(2)
        await send_transactions(kafka, running.pipeline, LOAD.take(slice(HALF, None)))
        await running.serving.settle()
        app = running.serving.worker.app
        assert app is not None
        assert app.scored_by == ("fraud", "3")
        scored = await read_scored(kafka, running.pipeline)
        assert Counter(event["version"] for event in scored.events) == {"3": len(LOAD)}
