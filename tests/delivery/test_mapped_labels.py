"""Labels in a form of the user's own reach the stage that folds them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stream_infer.events.columns import LABEL
from stream_infer.events.deadletter import read_dead_letter
from stream_infer.events.topic_names import DEAD_LETTERS, internal_topic
from support.kafka import aproduce, aread_all
from support.load import START_MS
from support.pipelines import own_pipeline, written
from support.worker import make_topics, settle, worker_process

pytestmark = pytest.mark.kafka

VERDICT = {
    "transaction_id": "t1",
    "customer_id": "c",
    "terminal_id": "m",
    "event_time": START_MS,
    "verdict": {"fraud": True, "at": START_MS // 1000 + 60},
}
FIELDS = "is_fraud=verdict.fraud,label_time=verdict.at:s"
TOML = """
[label_fields]
is_fraud = "verdict.fraud"
label_time = {path = "verdict.at", unit = "s"}
"""


@pytest.mark.parametrize("by", ["flag", "setting"])
async def test_a_mapped_label_is_handed_on_and_is_no_dead_letter(
    kafka: str, tmp_path: Path, by: str
) -> None:
    pipeline = own_pipeline()
    assert pipeline.labels is not None
    await make_topics(kafka, pipeline, 1)
    await aproduce(kafka, pipeline.labels.topic, [(b"t1", json.dumps(VERDICT).encode(), 0, ())])
    config = tmp_path / "labels.toml"
    config.write_text(TOML)
    options = {"flag": ("--label-fields", FIELDS), "setting": ("--config", str(config))}[by]
    async with worker_process(written(pipeline, tmp_path), kafka, *options) as worker:
        await settle(kafka, pipeline, worker.alive)
    handed = await aread_all(kafka, internal_topic(pipeline, "terminal_id"))
    (label,) = [json.loads(record.value or b"") for record in handed]
    assert (label[1], label[15], label[16]) == (LABEL, 1, START_MS + 60_000)
    letters = [read_dead_letter(record.headers) for record in await aread_all(kafka, DEAD_LETTERS)]
    assert not [facts for facts in letters if facts.consumer_group == pipeline.name]
