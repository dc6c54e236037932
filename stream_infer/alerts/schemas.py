"""JSON Schema of the topics that alerts and lists bring, from the types that enforce it."""

from __future__ import annotations

from typing import Any

import msgspec

from stream_infer.alerts.candidate import candidate_schema
from stream_infer.alerts.lists import ListRecord
from stream_infer.alerts.wire import Alert, alert_schemas
from stream_infer.events.schema import DIALECT
from stream_infer.events.topic_names import (
    OPERATIONS_ALERTS,
    candidates_topic,
    guard_topic,
    lists_topic,
)
from stream_infer.pipeline import Pipeline


def alert_topic_schemas(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """Return topic -> JSON Schema of its record values, in the order in which data passes them.

    Empty for a pipeline without alerts.
    """
    alerts, candidates, lists = pipeline.alerts, candidates_topic(pipeline), lists_topic(pipeline)
    if alerts is None or candidates is None:
        return {}
    schemas: dict[str, dict[str, Any]] = {}
    if lists is not None:
        schemas[lists] = {
            "$comment": "Compacted, one partition. Key: <list>:<entity>; a tombstone takes it off.",
            **msgspec.json.schema(ListRecord),
        }
    schemas[candidates] = {
        "$comment": "Written between stages; key: whom or where the alert is about.",
        **candidate_schema(),
    }
    schemas |= alert_schemas(alerts)
    return {topic: {"$schema": DIALECT, **schema} for topic, schema in schemas.items()}


def operations_schemas(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """Return topic -> JSON Schema of what operations are told; empty where nobody guards."""
    if guard_topic(pipeline) is None:
        return {}
    note = "Compacted, one partition, of all pipelines. Key: alert_id."
    return {OPERATIONS_ALERTS: {"$schema": DIALECT, "$comment": note, **msgspec.json.schema(Alert)}}
