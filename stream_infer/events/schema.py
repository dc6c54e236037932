"""JSON Schema (2020-12) of every topic of a pipeline, from the types that enforce it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from stream_infer.events.deadletter import SPRING
from stream_infer.events.evidence import Evidence
from stream_infer.events.hour_word import HourWord
from stream_infer.events.internal import internal_type
from stream_infer.events.mapping import FieldMapping
from stream_infer.events.measures import NO_VALUE
from stream_infer.events.progress import Progress
from stream_infer.events.scored import scored_type
from stream_infer.events.scored_readings import scored_reading_type
from stream_infer.events.skip import Skip
from stream_infer.events.told import Told
from stream_infer.events.topic_names import (
    DEAD_LETTERS,
    LATE_EVENTS,
    MODEL_EVIDENCE,
    SHADOW_SCORES,
    guard_topic,
    internal_entities,
    internal_topic,
    models_topic,
    progress_topic,
    skips_topic,
)
from stream_infer.events.trial_word import TrialWord
from stream_infer.events.wire_type import wire_type
from stream_infer.pipeline import Pipeline

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_SIDE_HEADERS: dict[str, tuple[str, str]] = {
    f"{SPRING}original-topic": ("text", "where the record stood"),
    f"{SPRING}original-partition": ("int32, big endian", ""),
    f"{SPRING}original-offset": ("int64, big endian", ""),
    f"{SPRING}original-timestamp": ("int64, big endian", "ms since the epoch, -1 for none"),
    f"{SPRING}original-timestamp-type": ("text", "CreateTime or LogAppendTime"),
    f"{SPRING}original-consumer-group": ("text", ""),
    f"{SPRING}exception-fqcn": ("text", ""),
    f"{SPRING}exception-message": ("text", "field path and cause, never a value"),
    "si-error-code": ("text", "a stable word"),
    "si-stage": ("text", ""),
    "si-attempt": ("decimal text", ""),
    "si-stub": ("text", "1 when the value is cut to its first 64 KiB"),
    "si-original-size": ("decimal text", "bytes of the whole value, on a stub"),
    "si-sha256": ("hex text", "of the whole value, on a stub"),
}


def topic_schemas(
    pipeline: Pipeline,
    mapping: FieldMapping | None = None,
    *,
    label_mapping: FieldMapping | None = None,
    publish_features: bool = False,
    feature_names: tuple[str, ...] = (),
    further: Mapping[str, dict[str, Any]] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return topic -> JSON Schema of its record values, in the order in which data passes them.

    mapping           of the input's fields: then the schema is that of the user's own JSON
    label_mapping     of the labels' fields, likewise
    publish_features  whether scored events carry their features; without a model they always do
    feature_names     of the pipeline's plan; needed where features are published
    further           schemas of topics behind the scored one, such as those of alerts
    """
    events = pipeline.events
    event_type = wire_type(
        events.type, mapping, times=(events.time,), ids=(events.id, *events.entities)
    ).type
    schemas = {events.topic: _schema(event_type, f"Key: {events.key}.")}
    if pipeline.labels is not None:
        label_type = wire_type(
            pipeline.labels.type,
            label_mapping,
            times=(events.time, pipeline.labels.time),
            ids=(events.id, *events.entities),
        ).type
        schemas[pipeline.labels.topic] = _schema(label_type, f"Key: {events.id}.")
    for entity in internal_entities(pipeline):
        known = events.known if entity == events.key else None
        note = f"Written between stages; key: {entity if known is None else known.place}."
        schema = _schema(internal_type(events), note)
        schemas[internal_topic(pipeline, entity)] = _with_positions(schema, pipeline)
    publishes = publish_features or pipeline.model is None
    make_type = scored_type if pipeline.conditions is None else scored_reading_type
    scored = make_type(pipeline, feature_names, publish_features=publishes)
    schemas[pipeline.scored] = _schema(scored, f"Key: {events.key}.")
    schemas |= further or {}
    schemas[DEAD_LETTERS] = _opaque(
        "Key and value as they came, whatever they are; the headers say where from and why.",
        _SIDE_HEADERS,
    )
    schemas[LATE_EVENTS] = _opaque(
        "Copies of records whose events came later than the allowed lateness: key and value as "
        "they came; the headers say where from, and si-error-code is late.",
        _SIDE_HEADERS,
    )
    schemas[skips_topic(pipeline)] = _schema(Skip, "Key: topic-partition-offset.")
    progress = progress_topic(pipeline)
    if progress is not None:
        schemas[progress] = _schema(Progress, "Key: topic-partition.")
    models = models_topic(pipeline)
    if models is not None:
        schemas[models] = _schema(Told, "Compacted, one partition. Key: the model's name.")
    if models is not None and pipeline.conditions is None:
        schemas[SHADOW_SCORES] = _schema(scored, f"Key: {events.key}. Nobody acts on it.")
        schemas[MODEL_EVIDENCE] = _schema(Evidence, "One partition. Key: pipeline:version.")
    guard = guard_topic(pipeline)
    if guard is not None:
        note = "Compacted, one partition. Keys: <model>/trial, and <model>/hours/<number>."
        schemas[guard] = _schema_of_either((TrialWord, HourWord), note)
    return schemas


def _schema(record_type: type[msgspec.Struct], note: str) -> dict[str, Any]:
    schema = msgspec.json.schema(record_type)
    return {"$schema": DIALECT, "$comment": note, **schema}


def _schema_of_either(record_types: Sequence[type[msgspec.Struct]], note: str) -> dict[str, Any]:
    schemas, definitions = msgspec.json.schema_components(
        record_types, ref_template="#/$defs/{name}"
    )
    return {"$schema": DIALECT, "$comment": note, "anyOf": list(schemas), "$defs": definitions}


def _with_positions(schema: dict[str, Any], pipeline: Pipeline) -> dict[str, Any]:
    """Name the positions of an internal record, which its JSON does not."""
    events = pipeline.events
    names = {
        "InternalRecord": internal_type(events).__struct_fields__,
        "Entities": events.entities,
        "Values": tuple(
            f"{name} * 10^{digits}" + (f", {NO_VALUE} when absent" * (name in events.measures))
            for name, digits in events.decimals.items()
        ),
    }
    for title, fields in names.items():
        definition = schema["$defs"][title]
        cells = definition.get("prefixItems", [])
        definition["prefixItems"] = [
            {"title": field, **cell} for field, cell in zip(fields, cells, strict=True)
        ]
    return schema


def _opaque(description: str, headers: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """Return the schema of a topic whose values are bytes that nobody promises anything about."""
    described = {
        name: {"encoding": encoding, **({"description": about} if about else {})}
        for name, (encoding, about) in headers.items()
    }
    return {
        "$schema": DIALECT,
        "description": description,
        "contentMediaType": "application/octet-stream",
        "x-headers": described,
    }
