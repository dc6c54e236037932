"""Every topic has a schema, made from the types that enforce it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from stream_infer.alerts.schemas import alert_topic_schemas, operations_schemas
from stream_infer.events.deadletter import dead_letter_headers, stub_headers
from stream_infer.events.internal import internal_type
from stream_infer.events.mapping import FieldMapping
from stream_infer.events.schema import topic_schemas
from stream_infer.events.topic_names import internal_topic, stage_entities
from stream_infer.kafka import topic_specs
from stream_infer.pipelines.fraud import pipeline


def definition(schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return found


BINARY = {"checkpoints", "manifests"}
"""Roles of topics that are the program's own memory, and no JSON."""


def test_every_topic_of_json_has_one() -> None:
    schemas = topic_schemas(pipeline, further=alert_topic_schemas(pipeline))
    schemas |= operations_schemas(pipeline)
    specs = [spec for spec in topic_specs.pipeline_topics(pipeline) if spec.role not in BINARY]
    assert list(schemas) == [spec.name for spec in specs]
    assert json.loads(json.dumps(schemas)) == schemas


def test_what_users_write_into_lists_and_read_as_alerts_is_described() -> None:
    schemas = alert_topic_schemas(pipeline)
    assert definition(schemas["fraud-lists"])["required"] == ["list", "entity"]
    for topic in ("alerts-fraud", "alerts-fraud-current"):
        assert {"alert_id", "severity", "reasons"} <= set(definition(schemas[topic])["properties"])
    names = [cell["title"] for cell in definition(schemas["fraud.candidates"])["prefixItems"]]
    assert names[:3] == ["schema_version", "kind", "upstream_topic"]


def test_a_pipeline_without_alerts_has_none_of_their_topics() -> None:
    assert alert_topic_schemas(replace(pipeline, alerts=None)) == {}


def test_topics_and_stages_are_named_alike_everywhere() -> None:
    assert stage_entities(pipeline) == topic_specs.stage_entities(pipeline)
    for entity in stage_entities(pipeline):
        assert internal_topic(pipeline, entity) == topic_specs.internal_topic(pipeline, entity)


def test_the_inputs_schema_holds_its_constraints() -> None:
    fields = definition(topic_schemas(pipeline)["transactions"])
    assert fields["properties"]["amount"]["minimum"] == 0
    assert fields["properties"]["customer_id"]["minLength"] == 1
    assert "currency" not in fields["required"]


def test_a_mapped_input_is_described_in_the_users_own_form() -> None:
    mapping = FieldMapping.parse("amount=payment.amount")
    schema = topic_schemas(pipeline, mapping)["transactions"]
    assert "payment" in definition(schema)["properties"]


def test_the_cells_of_an_internal_record_have_names() -> None:
    schema = topic_schemas(pipeline)["fraud.by-terminal"]
    names = [cell["title"] for cell in definition(schema)["prefixItems"]]
    assert tuple(names) == internal_type(pipeline.events).__struct_fields__
    entities = [cell["title"] for cell in schema["$defs"]["Entities"]["prefixItems"]]
    assert entities == ["customer_id", "terminal_id"]


def test_published_features_are_part_of_the_scored_events_schema() -> None:
    plain = definition(topic_schemas(pipeline)["scored-transactions"])
    schemas = topic_schemas(pipeline, publish_features=True, feature_names=("TX_AMOUNT",))
    features = schemas["scored-transactions"]["$defs"]["Features"]
    assert "features" not in plain["properties"]
    assert list(features["properties"]) == ["TX_AMOUNT"]


def test_without_a_model_scored_events_always_carry_their_features() -> None:
    schemas = topic_schemas(replace(pipeline, model=None), feature_names=("TX_AMOUNT",))
    scored = schemas["scored-transactions"]
    assert "features" in definition(scored)["properties"]
    assert list(scored["$defs"]["Features"]["properties"]) == ["TX_AMOUNT"]


def test_mapped_labels_are_described_in_the_users_own_form() -> None:
    mapping = FieldMapping.parse("is_fraud=verdict.fraud")
    schema = topic_schemas(pipeline, label_mapping=mapping)["fraud-labels"]
    assert "verdict" in definition(schema)["properties"]
    assert "is_fraud" not in definition(schema)["properties"]


def test_the_headers_of_a_dead_letter_are_those_that_are_written() -> None:
    written = dead_letter_headers(
        [],
        topic="t",
        partition=0,
        offset=0,
        timestamp_ms=0,
        consumer_group="g",
        code="c",
        message="m",
        stage="s",
    )
    names = [name for name, _ in [*written, *stub_headers(b"")]]
    schemas = topic_schemas(pipeline)
    assert list(schemas["dead-letters"]["x-headers"]) == names
    # `SideOutputs` writes a late copy's by the same function.
    assert list(schemas["late-events"]["x-headers"]) == names


def test_a_pipeline_without_labels_and_second_entity_has_fewer_topics() -> None:
    small = replace(pipeline, labels=None, alerts=None, features=pipeline.features[:4])
    assert list(topic_schemas(small)) == [
        "transactions",
        "scored-transactions",
        "dead-letters",
        "late-events",
        "fraud-skips",
        "fraud-models",
        "shadow-scores",
        "model-evidence",
        "fraud-guard",
    ]
