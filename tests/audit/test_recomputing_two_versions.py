"""Logs that hold outputs of two declarations are judged each by its own, models from a registry."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

import pytest

from stream_infer.audit.recompute.report import RecomputeReport
from stream_infer.audit.recompute.run import Recomputation, recompute
from stream_infer.audit.recompute.versions import VersionStretch, stretches
from stream_infer.errors import ConfigError, ConflictError
from stream_infer.events.topic_names import internal_topic
from stream_infer.kafka.connection import Connection
from stream_infer.registry.registry import Registry
from stream_infer.scoring.manifest import read_manifest
from stream_infer.settings.worker import WorkerSettings
from stream_infer.worker import Worker
from support.commands import run_command
from support.load import make_load, send_labels, send_transactions
from support.pipelines import own_pipeline
from support.upgrading import Version, two_versions
from support.worker import TESTED, Serving, make_topics

kafka_only = pytest.mark.kafka

LOAD = make_load(days=16, customers=40, terminals=20)
HALF = len(LOAD) // 2


class Upgraded(NamedTuple):
    """A pipeline before and after its declarations changed, and a registry with both models."""

    old: Version
    new: Version
    registry: Path


@pytest.fixture(scope="module")
def upgraded(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Upgraded:
    """Half of the payments were done by the old declarations, half by the new ones."""
    folder = tmp_path_factory.mktemp("upgraded")
    old, new = two_versions(own_pipeline(), folder)
    registry = Registry.open(folder / "registry")
    for each in (old, new):
        registry.publish((each.model / "model.onnx").read_bytes(), read_manifest(each.model))
    registry.promote("fraud", "new")

    async def work(version: Version) -> None:
        worker = Worker(version.pipeline, Connection(bootstrap=kafka), TESTED, model=version.model)
        serving = Serving(kafka, worker)
        try:
            await serving.settle()
        finally:
            await serving.stop()

    async def both() -> None:
        await make_topics(kafka, old.pipeline, 2)
        await send_transactions(kafka, old.pipeline, LOAD.transactions.take(slice(0, HALF)))
        await send_labels(kafka, old.pipeline, LOAD.labels.take(slice(0, HALF)))
        await work(old)
        await send_transactions(kafka, new.pipeline, LOAD.transactions.take(slice(HALF, None)))
        await work(new)

    asyncio.run(both())
    return Upgraded(old, new, folder / "registry")


async def judged(kafka: str, upgraded: Upgraded, **given: object) -> RecomputeReport:
    words = {"models": [upgraded.new.model], "pipeline": upgraded.new.pipeline, **given}
    what = Recomputation(settings=WorkerSettings(), **words)  # type: ignore[arg-type]
    return await recompute(Connection(bootstrap=kafka), what, lambda _done: None)


@kafka_only
async def test_each_output_is_judged_by_a_fold_of_its_own_declarations(
    kafka: str, upgraded: Upgraded
) -> None:
    old, new = upgraded.old, upgraded.new
    both = {"earlier": [old.pipeline], "models": [new.model, old.model]}
    report = await judged(kafka, upgraded, **both)
    told = [str(d) for stage in report.stages for d in stage.differences]
    assert report.verdict == "proven", (told, report.unproven)
    by_stage = {each.stage: each for each in report.stages}
    assert by_stage["terminal"].expected >= len(LOAD)
    assert by_stage["customer"].expected >= len(LOAD)
    alone = await judged(kafka, upgraded, earlier=[old.pipeline])
    assert alone.verdict == "unproven"
    assert "model fraud version old, which is not at hand" in alone.unproven[0]
    assert alone.total("other_model") >= HALF  # and its candidates


@kafka_only
async def test_without_the_declarations_of_then_the_error_says_which_offsets(
    kafka: str, upgraded: Upgraded
) -> None:
    with pytest.raises(ConflictError) as caught:
        await judged(kafka, upgraded)
    error = caught.value
    assert error.code == "features_versions_unknown"
    assert "--also-pipeline" in error.fix
    inside = internal_topic(upgraded.old.pipeline, "terminal_id")
    stands = error.details["stretches"]
    assert {each["topic"] for each in stands} == {inside}
    assert {each["partition"] for each in stands} == {0, 1}
    assert all(each["first"] == 0 and each["last"] > 50 for each in stands)


@kafka_only
def test_the_command_takes_versions_from_the_registry(kafka: str, upgraded: Upgraded) -> None:
    words = ("audit", upgraded.new.file, "--recompute", "--bootstrap", kafka, "--json")
    both = ("--registry", upgraded.registry, "--also-pipeline", upgraded.old.file)
    ran = run_command(*words, *both)
    assert (ran.json["verdict"], ran.json["unproven"]) == ("proven", [])
    manifest = upgraded.registry / "fraud/old/manifest.json"
    there = manifest.read_bytes()
    manifest.unlink()
    try:
        ran = run_command(*words, *both)
    finally:
        manifest.write_bytes(there)
    assert ran.json["verdict"] == "unproven"
    assert "Model fraud version old cannot be had" in ran.json["unproven"][0]


@kafka_only
async def test_declarations_of_another_pipeline_are_refused(kafka: str, upgraded: Upgraded) -> None:
    with pytest.raises(ConfigError) as caught:
        await judged(kafka, upgraded, earlier=[own_pipeline()])
    assert caught.value.code == "earlier_pipeline_differs"


def test_stretches_are_of_one_version_each() -> None:
    assert stretches([]) == []
    assert stretches([(0, None), (3, "a"), (4, "b"), (9, "b"), (10, "a")]) == [
        VersionStretch("a", 3, 3),
        VersionStretch("b", 4, 9),
        VersionStretch("a", 10, 10),
    ]
