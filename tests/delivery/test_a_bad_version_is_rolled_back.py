"""A version that alerts on everything is promoted, and is gone before anybody looked."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from stream_infer.events.evidence import encode_evidence
from stream_infer.events.told import Told
from stream_infer.events.topic_names import MODEL_EVIDENCE, guard_group, models_topic
from stream_infer.guarding.guard import Guard
from stream_infer.guarding.topic import evidence_sender, guard_forever
from stream_infer.kafka.connection import Connection
from stream_infer.models.ready import ready_model_dir
from stream_infer.registry.control import what_serves
from stream_infer.registry.control_topic import tell
from stream_infer.registry.registry import Registry
from stream_infer.scoring.manifest import Thresholds, read_manifest
from stream_infer.scoring.reference import Reference
from stream_infer.worker import Worker
from support.guarding import evidence
from support.load import make_load, read_scored, send_transactions
from support.onnx_models import logistic_model
from support.pipelines import own_pipeline
from support.registries import registry_with
from support.worker import TESTED, Serving, make_topics, until

pytestmark = pytest.mark.kafka

LOAD = make_load(days=6, customers=30, terminals=20).transactions
HALF = len(LOAD) // 2


def registry_with_a_bad_version(folder: Path) -> Registry:
    """Return a registry with the model that ships, champion, and one that alerts on everything."""
    registry = Registry.open(folder)
    shipped = ready_model_dir("fraud")
    good = read_manifest(shipped)
    registry.publish((shipped / "model.onnx").read_bytes(), good)
    content = logistic_model(weights=np.zeros((len(good.features), 1), np.float32))
    registry.publish(
        content,
        msgspec.structs.replace(
            good,
            version="bad",
            sha256=hashlib.sha256(content).hexdigest(),
            thresholds=Thresholds(review=0.4, decline=0.9),
            reference=Reference(alerting=0.01),
        ),
    )
    registry.promote("fraud", good.version)
    return registry


async def test_a_bad_version_is_rolled_back_and_what_comes_after_is_scored_by_the_good_one(
    kafka: str, tmp_path: Path
) -> None:
    pipeline, connection = own_pipeline(), Connection(bootstrap=kafka)
    await make_topics(kafka, pipeline, 2)
    registry = registry_with_a_bad_version(tmp_path / "registry")
    good = registry.standing("fraud").champion
    registry.promote("fraud", "bad", who="ada")
    told = what_serves(registry, "fraud")
    assert told is not None
    await tell(connection, models_topic(pipeline) or "", told)
    worker = Worker(pipeline, connection, TESTED, registry=registry, cache=tmp_path / "cache")
    serving = Serving(kafka, worker)
    try:
        await until(lambda: worker.app is not None and worker.app._live is not None)
        # A guard looks at what comes after it became the owner, so some rows come more than once.
        sent = 0

        async def gone() -> bool:
            nonlocal sent
            if sent < HALF:
                await send_transactions(kafka, pipeline, LOAD.take(slice(sent, sent + 40)))
                sent += 40
            serving.alive()
            await asyncio.sleep(0.3)
            return worker.app is not None and worker.app.scored_by == ("fraud", good)

        await until(gone, alive=serving.alive)
        await serving.settle()
        before = len((await read_scored(kafka, pipeline)).events)
        await send_transactions(kafka, pipeline, LOAD.take(slice(sent, sent + 100)))
        await serving.settle()
        scored = await read_scored(kafka, pipeline)
        versions = [event["version"] for event in scored.events]
        assert len(versions) - before == 100
        assert "bad" in versions
        # Rows sent after the rollback are scored by the version that came back.
        assert versions.count(good) >= 100
        last = registry.history("fraud")[-1]
        assert (last.action, last.automatic, last.barred) == ("rollback", True, "bad")
        assert "alert" in last.why
    finally:
        await serving.stop()


async def test_when_the_guard_that_decides_ends_another_one_takes_its_place(
    kafka: str,
) -> None:
    pipeline, connection = own_pipeline(), Connection(bootstrap=kafka)
    await make_topics(kafka, pipeline, 2)
    registry = registry_with("1", "2", now=True)
    told: list[Told] = []

    async def note(word: Told) -> None:
        told.append(word)

    def guard(name: str) -> Guard:
        return Guard(registry, "tiny", note, pipeline=pipeline.name, who=name)

    def run(guard: Guard) -> asyncio.Task[None]:
        group = guard_group(pipeline.name)
        return asyncio.create_task(
            guard_forever(connection, MODEL_EVIDENCE, guard, group=group, every_s=0.1)
        )

    bad: dict[str, Any] = {"errors": 500, "rows": 500, "pipeline": pipeline.name}
    first, second = run(guard("first")), run(guard("second"))
    try:
        async with evidence_sender(connection, MODEL_EVIDENCE) as send:

            async def moved(entries: int) -> bool:
                now_ms = time.time_ns() // 1_000_000
                await send(b"k", encode_evidence(evidence("2", now_ms, **bad)))
                await asyncio.sleep(0.1)
                return len(registry.history("tiny")) == entries

            registry.promote("tiny", "1")
            registry.promote("tiny", "2")
            await until(lambda: moved(3))
            owner = registry.history("tiny")[-1].who
            ending, staying = (first, second) if owner == "first" else (second, first)
            ending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ending
            registry.clear("tiny", "2", why="once more")
            registry.promote("tiny", "2")
            await until(lambda: moved(6))
            last = registry.history("tiny")[-1]
            assert {owner, last.who} == {"first", "second"}
            assert [word.served["champion"].version for word in told] == ["1", "1"]
            assert not staying.done()
    finally:
        for task in (first, second):
            task.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
