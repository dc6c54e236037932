from __future__ import annotations

import dataclasses

import numba
import numpy as np
import pytest

from stream_infer.durations import parse_duration
from stream_infer.errors import BrokerError, ConflictError, NotFoundError
from stream_infer.events.topic_names import stage_entities
from stream_infer.features.plan import compile_plan
from stream_infer.features.spec import Count, Custom, Feature, KeyFeature, Last, Since, Value
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topic_findings import TopicFacts, judge_topics
from stream_infer.kafka.topic_specs import (
    TopicSpec,
    look_back_ms,
    pipeline_topics,
    retention_ms_min,
)
from stream_infer.kafka.topics import check_topics, create_specs, create_topics, read_topics
from stream_infer.pipelines.fraud import pipeline as fraud
from support.kafka import acreate_topics
from support.pipelines import own_pipeline


def as_specified(partitions: int = 4) -> dict[str, TopicFacts]:
    return {
        spec.name: TopicFacts(
            name=spec.name, partitions=spec.partitions, replicas=1, config=dict(spec.config)
        )
        for spec in pipeline_topics(fraud, partitions)
    }


def changed(name: str, **changes: object) -> dict[str, TopicFacts]:
    facts = as_specified()
    return facts | {name: dataclasses.replace(facts[name], **changes)}  # type: ignore[arg-type]


def test_the_fraud_pipeline_has_its_topics_in_the_order_of_the_data() -> None:
    assert [(spec.name, spec.role) for spec in pipeline_topics(fraud)] == [
        ("transactions", "input"),
        ("fraud-labels", "labels"),
        ("fraud.by-terminal", "internal"),
        ("scored-transactions", "scored"),
        ("fraud-lists", "lists"),
        ("fraud.candidates", "internal"),
        ("alerts-fraud", "alerts"),
        ("alerts-fraud-current", "alerts"),
        ("dead-letters", "dead-letters"),
        ("late-events", "late-events"),
        ("fraud-skips", "skips"),
        ("fraud-checkpoints", "checkpoints"),
        ("fraud-checkpoint-manifests", "manifests"),
        ("fraud-progress", "progress"),
        ("fraud-models", "models"),
        ("shadow-scores", "shadow"),
        ("model-evidence", "evidence"),
        ("fraud-guard", "guard"),
        ("operations-alerts", "operations"),
    ]


def test_a_pipeline_with_one_entity_has_no_internal_topic() -> None:
    one = dataclasses.replace(
        fraud,
        labels=None,
        alerts=None,
        features=(Count(by="customer_id", over=("1d",), name="n_{window}"),),
    )
    assert [spec.role for spec in pipeline_topics(one)] == [
        "input",
        "scored",
        "dead-letters",
        "late-events",
        "skips",
        "checkpoints",
        "manifests",
        "models",
        "shadow",
        "evidence",
        "guard",
        "operations",
    ]


def test_lists_need_a_log_of_our_own_even_where_there_is_one_stage() -> None:
    one = dataclasses.replace(
        fraud,
        labels=None,
        features=(Count(by="customer_id", over=("1d",), name="n_{window}"),),
    )
    names = [spec.name for spec in pipeline_topics(one)]
    assert names.index("transactions") < names.index("fraud.by-customer")


def test_lists_have_one_partition_and_are_never_cut() -> None:
    lists = {spec.role: spec for spec in pipeline_topics(fraud, 12)}["lists"]
    assert (lists.partitions, lists.config) == (1, {"cleanup.policy": "compact"})
    [several] = judge_topics(fraud, changed("fraud-lists", partitions=4))
    assert (several.code, several.severity) == ("wrong_partition_count", "error")
    assert "lists show" in several.fix
    [cut] = judge_topics(fraud, changed("fraud-lists", config={"cleanup.policy": "delete"}))
    assert (cut.code, cut.severity) == ("lists_would_expire", "error")


def test_stages_are_those_of_the_compiled_plan() -> None:
    plan = compile_plan(fraud)
    assert stage_entities(fraud) == tuple(stage.entity for stage in plan.stages)


def test_internal_topics_keep_window_delay_lateness_and_a_week() -> None:
    # |-- 30 d window --|-- 7 d delay --|-- 1 d lateness --|-- 7 d for the operator --|
    assert look_back_ms(fraud) == parse_duration("38d")
    assert retention_ms_min(fraud) == parse_duration("45d")
    internal = {spec.name: spec for spec in pipeline_topics(fraud)}["fraud.by-terminal"]
    assert internal.config["retention.ms"] == str(parse_duration("45d"))


@pytest.mark.parametrize(
    ("feature", "reach"),
    [
        (Count(by="customer_id", over=("2d",), delay="3d", name="n"), "5d"),
        (Last(by="customer_id", of="amount", name="last", within="20d"), "20d"),
        (Since(by="terminal_id", name="since"), "30d"),
        (Value(of="amount", name="amount"), "0d"),
        (
            Custom(
                by="customer_id",
                names=("c",),
                state=np.dtype([("n", np.int64)]),
                step=numba.njit(lambda record, event_time, values, out: None),
                of=(),
                version=1,
                forget_after="40d",
            ),
            "40d",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, KeyFeature | Value) else value,
)
def test_topics_keep_all_that_a_feature_of_any_kind_may_look_back_on(
    feature: Feature, reach: str
) -> None:
    one = dataclasses.replace(fraud, labels=None, features=(feature,), lateness="1d")
    assert look_back_ms(one) == parse_duration(reach) + parse_duration("1d")


def test_dead_letters_take_twice_the_input_s_largest_record() -> None:
    specs = {spec.role: spec for spec in pipeline_topics(fraud, message_bytes_max=5_000_000)}
    assert specs["dead-letters"].config["max.message.bytes"] == "10000000"


def test_topics_as_specified_have_no_findings() -> None:
    assert judge_topics(fraud, as_specified()) == []


def test_a_missing_topic_names_the_command_that_makes_it() -> None:
    facts = as_specified()
    del facts["late-events"]
    (finding,) = judge_topics(fraud, facts)
    assert finding.code == "topic_missing"
    assert "stream-infer topics create fraud" in finding.fix
    assert isinstance(finding.error(), NotFoundError)


def test_an_internal_topic_with_other_partitions_than_the_input_is_a_conflict() -> None:
    (finding,) = judge_topics(fraud, changed("fraud.by-terminal", partitions=3))
    assert (finding.topic, finding.code) == ("fraud.by-terminal", "wrong_partition_count")
    assert isinstance(finding.error(), ConflictError)


def test_labels_and_outputs_may_have_any_number_of_partitions() -> None:
    for name in ("fraud-labels", "scored-transactions", "dead-letters"):
        assert judge_topics(fraud, changed(name, partitions=1)) == []


@pytest.mark.parametrize(
    ("name", "severity"), [("fraud.by-terminal", "error"), ("transactions", "warning")]
)
def test_too_short_a_retention_is_an_error_inside_and_a_warning_outside(
    name: str, severity: str
) -> None:
    config = as_specified()[name].config | {"retention.ms": "604800000"}
    (finding,) = judge_topics(fraud, changed(name, config=config))
    assert (finding.code, finding.severity) == ("retention_too_short", severity)
    assert "7d" in finding.message
    assert "45d" in finding.message


def test_a_log_without_end_is_long_enough() -> None:
    config = as_specified()["fraud.by-terminal"].config | {"retention.ms": "-1"}
    assert judge_topics(fraud, changed("fraud.by-terminal", config=config)) == []


def test_a_dead_letter_topic_that_takes_too_little_is_a_warning() -> None:
    (finding,) = judge_topics(fraud, changed("dead-letters", config={"max.message.bytes": "1000"}))
    assert (finding.code, finding.severity) == ("message_size_too_small", "warning")


async def test_creating_makes_what_is_missing_and_may_be_repeated(kafka: str) -> None:
    connection, pipeline = Connection(bootstrap=kafka), own_pipeline()
    first = await create_topics(connection, pipeline, partitions=2)
    assert first[pipeline.events.topic] == "created"
    again = await create_topics(connection, pipeline, partitions=2)
    assert set(again.values()) == {"exists"}
    assert await check_topics(connection, pipeline) == []
    facts = await read_topics(connection, [pipeline.events.topic])
    assert facts[pipeline.events.topic].partitions == 2
    assert facts[pipeline.events.topic].config["retention.ms"] == str(parse_duration("45d"))


async def test_creating_with_another_number_of_partitions_is_a_conflict(kafka: str) -> None:
    connection, pipeline = Connection(bootstrap=kafka), own_pipeline()
    await acreate_topics(kafka, {pipeline.events.topic: 3})
    with pytest.raises(ConflictError) as raised:
        await create_topics(connection, pipeline, partitions=4)
    assert "--partitions 3" in raised.value.fix
    assert set(await read_topics(connection, [pipeline.scored])) == set()


async def test_checking_missing_topics_says_which(kafka: str) -> None:
    pipeline = own_pipeline()
    with pytest.raises(NotFoundError) as raised:
        await check_topics(Connection(bootstrap=kafka), pipeline)
    assert raised.value.code == "topic_missing"


async def test_more_replicas_than_brokers_are_refused_with_the_option_s_name(kafka: str) -> None:
    spec = TopicSpec(name="never-made", role="input", partitions=1)
    with pytest.raises(BrokerError) as raised:
        await create_specs(Connection(bootstrap=kafka), [spec], replication_factor=99)
    assert raised.value.code == "replication_factor_too_high"
    assert "--replication-factor" in raised.value.fix


def test_missing_topics_of_checkpoints_are_a_warning_since_the_log_makes_every_state() -> None:
    there = as_specified()
    for name in ("fraud-checkpoints", "fraud-checkpoint-manifests"):
        facts = {topic: each for topic, each in there.items() if topic != name}
        (finding,) = judge_topics(fraud, facts)
        assert (finding.code, finding.severity) == ("topic_missing", "warning")
