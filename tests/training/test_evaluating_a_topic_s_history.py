"""`evaluate --from-topic`: a pipeline's own events and labels, served answers and computed ones."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from stream_infer.errors import ConflictError, InvalidDataError
from stream_infer.features.plan import compile_plan
from stream_infer.kafka.connection import Connection
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipeline import Pipeline
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.scoring.manifest import encode_manifest, read_manifest
from stream_infer.scoring.model import load_model
from stream_infer.simulators.records import label_columns, transaction_columns
from stream_infer.training.evaluating import Question, evaluate, evaluate_history
from stream_infer.training.gathering import gather_columns
from stream_infer.training.topics.history import read_history
from support.commands import run_command
from support.kafka import acreate_topics, aproduce, aread_all, unique
from support.load import Load, make_load, send_load, send_transactions
from support.onnx_models import write_model
from support.pipelines import own_pipeline, written
from support.worker import make_topics, work_off

pytestmark = pytest.mark.kafka

LOAD = make_load(days=20, customers=40, terminals=30)
ALL = Question(test=None, train=None, delay_ms=7 * 86_400_000, keep_known=True)
FIGURES = ("auc", "average_precision", "card_precision_100", "rows", "positives")


@pytest.fixture(scope="module")
def pipeline(kafka: str) -> Pipeline:
    """A pipeline whose worker has done all payments and labels of twenty days."""

    async def worked() -> Pipeline:
        made = own_pipeline()
        await make_topics(kafka, made, 2)
        await send_load(kafka, made, LOAD)
        await work_off(kafka, made)
        return made

    return asyncio.run(worked())


def version_of_another_name(folder: Path) -> Path:
    """Return the model that ships under another version: the log holds no answer of it."""
    shipped = ready_model_dir("fraud")
    manifest = msgspec.structs.replace(read_manifest(shipped), version="other")
    folder.mkdir()
    (folder / "model.onnx").write_bytes((shipped / "model.onnx").read_bytes())
    (folder / "manifest.json").write_bytes(encode_manifest(manifest))
    return folder


async def measured(kafka: str, pipeline: Pipeline, folder: Path) -> dict[str, Any]:
    model, plan = load_model(folder), compile_plan(pipeline)
    connection = Connection(bootstrap=kafka)
    history = await read_history(connection, model, plan, ALL, (None, None), lambda _done: None)
    return evaluate_history(model, plan, history, ALL)


def as_a_file(load: Load) -> dict[str, Any]:
    rows = gather_columns(fraud, transaction_columns(load.transactions), label_columns(load.labels))
    return evaluate(load_model(ready_model_dir("fraud")), compile_plan(fraud), rows, ALL)


async def test_what_was_served_and_what_is_computed_anew_are_what_a_file_gives(
    kafka: str, pipeline: Pipeline, tmp_path: Path
) -> None:
    served = await measured(kafka, pipeline, ready_model_dir("fraud"))
    assert served["scores"] == {"served": len(LOAD), "computed": 0, "no_number": 0}
    other = await measured(kafka, pipeline, version_of_another_name(tmp_path / "other"))
    assert other["scores"] == {"served": 0, "computed": len(LOAD), "no_number": 0}
    assert other["version"] == "other"
    expected = as_a_file(LOAD)
    for said in (served, other):
        assert {name: said[name] for name in FIGURES} == {name: expected[name] for name in FIGURES}


async def test_events_without_an_answer_are_computed_like_those_that_have_one(
    kafka: str, pipeline: Pipeline
) -> None:
    copy = unique("copy")
    await acreate_topics(kafka, {copy: 2})
    records = (await aread_all(kafka, pipeline.scored))[10:]
    await aproduce(kafka, copy, [(r.key, r.value, r.partition, r.headers) for r in records])
    said = await measured(
        kafka, dataclasses.replace(pipeline, scored=copy), ready_model_dir("fraud")
    )
    # A topic of fewer events is what was asked for, where every one of them has an answer.
    assert said["scores"] == {"served": len(LOAD) - 10, "computed": 0, "no_number": 0}
    stamp = b'"version":"'
    half = [
        dataclasses.replace(r, value=(r.value or b"").replace(stamp, stamp + b"9"))
        if number % 2
        else r
        for number, r in enumerate(records)
    ]
    mixed = unique("mixed")
    await acreate_topics(kafka, {mixed: 2})
    await aproduce(kafka, mixed, [(r.key, r.value, r.partition, r.headers) for r in half])
    said = await measured(
        kafka, dataclasses.replace(pipeline, scored=mixed), ready_model_dir("fraud")
    )
    own = len(half) - len(half) // 2
    assert said["scores"] == {"served": own, "computed": len(LOAD) - own, "no_number": 0}
    assert said["data"]["same"] == {"rows": own, "difference_max": 0.0, "flips": 0}
    assert said["auc"] == as_a_file(LOAD)["auc"]


async def test_labels_that_are_not_due_leave_their_events_out(
    kafka: str, pipeline: Pipeline
) -> None:
    labels = unique("few-labels")
    await acreate_topics(kafka, {labels: 1})
    assert pipeline.labels is not None
    records = await aread_all(kafka, pipeline.labels.topic)
    by_time = sorted(records, key=lambda r: msgspec.json.decode(r.value or b"")["label_time"])
    known = by_time[: len(by_time) // 2]
    await aproduce(kafka, labels, [(r.key, r.value, 0, ()) for r in known])
    fewer = dataclasses.replace(pipeline, labels=dataclasses.replace(pipeline.labels, topic=labels))
    said = await measured(kafka, fewer, ready_model_dir("fraud"))
    assert said["data"]["pending"] > 100
    assert said["rows"] == len(LOAD) - said["data"]["pending"]


async def test_what_cannot_be_measured_is_named(
    kafka: str, pipeline: Pipeline, tmp_path: Path
) -> None:
    bare = own_pipeline()
    await make_topics(kafka, bare, 1)
    await send_transactions(kafka, bare, LOAD.transactions.take(slice(0, 20)))
    with pytest.raises(InvalidDataError) as no_labels:
        await measured(kafka, bare, ready_model_dir("fraud"))
    assert no_labels.value.code == "no_labels"
    assert bare.labels is not None
    empty = unique("empty")
    await acreate_topics(kafka, {empty: 1})
    nothing = dataclasses.replace(
        pipeline,
        events=dataclasses.replace(pipeline.events, topic=empty),
        scored=empty,
    )
    with pytest.raises(InvalidDataError) as no_events:
        await measured(kafka, nothing, ready_model_dir("fraud"))
    assert no_events.value.code == "topic_empty"
    with pytest.raises(ConflictError) as other:
        await measured(kafka, pipeline, write_model(tmp_path / "tiny"))
    assert other.value.code == "features_differ"


def test_the_command_says_the_same_and_refuses_what_contradicts_itself(
    kafka: str, pipeline: Pipeline, tmp_path: Path
) -> None:
    file = written(pipeline, tmp_path)
    words = ("evaluate", ready_model_dir("fraud"), "--pipeline", file, "--bootstrap", kafka)
    page = tmp_path / "page.html"
    ran = run_command(*words, "--from-topic", "--keep-known", "--report", page, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["scores"]["served"] == len(LOAD)
    assert np.isclose(ran.json["auc"], as_a_file(LOAD)["auc"])
    assert "<svg" in page.read_text()
    for more, code in (
        ((), "no_data"),
        (("--from-topic", "--data", file), "two_sources"),
        (("--from-topic", "--labels", "x"), "labels_with_topic"),
    ):
        assert run_command(*words, *more, "--json").json["error"]["code"] == code
