"""On a real Kafka: the fast version serves while events wait; forecasts change their version."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream_infer.events.topic_names import models_topic
from stream_infer.guarding.running import LiveWork
from stream_infer.kafka.connection import Connection
from stream_infer.models.ready import ready_model_dir
from stream_infer.observability.facts import ModelFacts
from stream_infer.pipeline import Pipeline
from stream_infer.pipelines.traffic import traffic_pipeline
from stream_infer.registry.control import what_serves
from stream_infer.registry.control_topic import tell
from stream_infer.registry.registry import Registry
from stream_infer.scoring.manifest import read_manifest
from stream_infer.serving.overload import OverloadLimits
from stream_infer.simulators.records import Records
from stream_infer.traffic.sensors import sensor_table
from stream_infer.worker import Worker
from support.load import read_scored, send_records
from support.pipelines import own_pipeline
from support.worker import TESTED, Serving, make_topics, until

pytestmark = pytest.mark.kafka


def registry_of(model: str, folder: Path, *versions: str) -> Registry:
    """Return a registry with versions of the model that ships; the first is champion."""
    registry, shipped = Registry.open(folder), ready_model_dir(model)
    content, manifest = (shipped / "model.onnx").read_bytes(), read_manifest(shipped)
    for version in versions:
        registry.publish(content, msgspec.structs.replace(manifest, version=version))
    registry.promote(model, versions[0])
    return registry


def served(kafka: str, pipeline: Pipeline, registry: Registry, folder: Path) -> Serving:
    worker = Worker(
        pipeline, Connection(bootstrap=kafka), TESTED, registry=registry, cache=folder / "cache"
    )
    return Serving(kafka, worker)


def records(key: str, values: Sequence[dict[str, Any]]) -> Records:
    keys = [str(each[key]).encode() for each in values]
    return Records(keys, [msgspec.json.encode(each) for each in values], [0] * len(values))


async def test_the_fast_version_serves_while_events_are_old_and_the_champion_returns(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = OverloadLimits(enter_lag_ms=2_000, leave_lag_ms=1_999, enter_s=0.0, leave_s=0.0)
    monkeypatch.setattr(LiveWork, "_limits", lambda _: limits)
    pipeline = own_pipeline()
    await make_topics(kafka, pipeline, 1)
    registry = registry_of("fraud", tmp_path / "registry", "1", "2")
    registry.assign("fraud", "fast", "2")
    serving = served(kafka, pipeline, registry, tmp_path)
    sent = 0

    # Nobody has told the topic anything: what the registry says holds for every alias.
    async def send(event_time: int) -> None:
        nonlocal sent
        sent += 1
        event = {
            "transaction_id": f"t-{sent}",
            "event_time": event_time,
            "customer_id": "c",
            "terminal_id": "m",
            "amount": 5.0,
        }
        await send_records(kafka, pipeline.events.topic, records("customer_id", [event]))

    def facts() -> ModelFacts:
        found = None if serving.worker.app is None else serving.worker.app.model_facts()
        return found or ModelFacts(serves={})

    try:
        # Of events that happened before the worker's start the age does not count.
        await until(lambda: facts().serves == {"champion": "1", "fast": "2"}, alive=serving.alive)
        began_ms = time.time_ns() // 1_000_000

        async def last_version() -> str:
            await serving.settle()
            scored = await read_scored(kafka, pipeline)
            assert (len(scored.events), scored.doubles()) == (sent, 0)
            return str(scored.events[-1]["version"])

        async def is_scored_by(version: str, event_time: int) -> bool:
            await send(event_time)
            return await last_version() == version

        assert await is_scored_by("1", began_ms)
        # Ever older, as in a log that is read too slowly.
        await until(lambda: is_scored_by("2", began_ms), alive=serving.alive)
        assert serving.worker.app is not None
        assert serving.worker.app.scored_by == ("fraud", "1")
        # Nothing waits any more.
        await until(lambda: not facts().fast, alive=serving.alive)
        await until(lambda: is_scored_by("1", time.time_ns() // 1_000_000), alive=serving.alive)
    finally:
        await serving.stop()


async def test_a_promoted_version_forecasts_what_comes_after_and_one_that_does_not_fit_never(
    kafka: str, tmp_path: Path
) -> None:
    mark = uuid.uuid4().hex[:8]
    table = sensor_table([{"sensor_id": "a", "corridor": "east", "free_flow_kmh": 100, "lanes": 2}])
    pipeline = traffic_pipeline(
        table, name=f"traffic{mark}", topic=f"readings-{mark}", scored=f"scored-{mark}"
    )
    await make_topics(kafka, pipeline, 1)
    registry = registry_of("traffic", tmp_path / "registry", "1", "2", "3")
    serving = served(kafka, pipeline, registry, tmp_path)
    sent = 0

    async def send() -> None:
        nonlocal sent
        sent += 1
        reading = {"sensor_id": "a", "event_time": 1_767_225_600_000 + sent * 300_000}
        one = records("sensor_id", [reading | {"speed": 88.5}])
        await send_records(kafka, pipeline.events.topic, one)
        await serving.settle()

    async def tell_workers() -> None:
        told = what_serves(registry, "traffic")
        assert told is not None
        await tell(Connection(bootstrap=kafka), models_topic(pipeline) or "", told)

    def facts() -> Any:
        return None if serving.worker.app is None else serving.worker.app.model_facts()

    try:
        await send()
        registry.promote("traffic", "2")
        await tell_workers()
        await until(lambda: facts().serves == {"champion": "2"}, alive=serving.alive)
        await send()
        registry.promote("traffic", "3")
        (tmp_path / "registry/traffic/3/model.onnx").write_bytes(b"cut short")
        await tell_workers()
        await until(
            lambda: facts().failures == {"champion": "model_checksum_differs"},
            alive=serving.alive,
        )
        await send()
        events = (await read_scored(kafka, pipeline)).events
        assert [event["version"] for event in events] == ["1", "2", "2"]
        assert all(event["model"] == "traffic" for event in events)
    finally:
        await serving.stop()
