"""Records that their producer did not partition by key still meet in one log by key."""

from __future__ import annotations

import dataclasses

import pytest

from stream_infer import Labels, Pipeline, Rate
from stream_infer.dataplane.build import Parts, build_stages, stage_topics
from stream_infer.events.contract import FraudLabel
from stream_infer.features.plan import compile_plan
from stream_infer.kafka.topic_specs import pipeline_topics
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.settings.worker import WorkerSettings


def stages(pipeline: Pipeline) -> dict[str, tuple[str, str | None]]:
    partitions = {spec.name: 3 for spec in pipeline_topics(pipeline)}
    parts = Parts(compile_plan(pipeline), None, partitions, WorkerSettings())
    return {stage.name: (stage.topic, stage.feeds) for stage in build_stages(parts)}


def test_a_rekeyed_pipeline_has_a_stage_in_front_and_a_topic_for_it() -> None:
    assert stages(fraud.with_partitioning("rekey")) == {
        "rekey": ("transactions", "fraud.by-customer"),
        "customer": ("fraud.by-customer", "fraud.by-terminal"),
        "terminal": ("fraud.by-terminal", "fraud.candidates"),
        "labels": ("fraud-labels", "fraud.by-terminal"),
        "lists": ("fraud-lists", "fraud.by-terminal"),
        "alerts": ("fraud.candidates", None),
    }


def test_labels_of_the_first_stage_meet_its_events_in_a_log_of_our_own() -> None:
    first = dataclasses.replace(
        fraud,
        alerts=None,
        labels=Labels(
            topic="fraud-labels",
            type=FraudLabel,
            by="customer_id",
            truth="is_fraud",
            time="label_time",
        ),
        features=(Rate(by="customer_id", over=("7d",), delay="7d", name="risk"),),
    )
    assert stages(first) == {
        "rekey": ("transactions", "fraud.by-customer"),
        "customer": ("fraud.by-customer", None),
        "labels": ("fraud-labels", "fraud.by-customer"),
    }


@pytest.mark.parametrize("partitioning", ["checked", "trusted"])
def test_otherwise_the_first_stage_reads_the_input_itself(partitioning: str) -> None:
    pipeline = fraud.with_partitioning(partitioning)  # type: ignore[arg-type] # from parametrize
    assert stage_topics(compile_plan(pipeline)) == ["transactions", "fraud.by-terminal"]


def test_how_the_input_is_partitioned_changes_no_feature() -> None:
    rekeyed = compile_plan(fraud.with_partitioning("rekey"))
    assert rekeyed.fingerprint == compile_plan(fraud).fingerprint
