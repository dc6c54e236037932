"""Which topics a pipeline has, and how they must be. Pure: decided from its declaration.

`stream_infer.kafka.topic_findings` says what about those that exist does not fit, and
`stream_infer.kafka.topics` reads them and creates what is missing.

    role          name                        key            partitions
    input         events.topic                events.key     asked for
    labels        labels.topic                event id       asked for
    internal      <pipeline>.by-<entity>      that entity    the same as the input's
    scored        scored                      events.key     asked for
    lists         <pipeline>-lists            list, entity   1: their changes need one order
    dead-letters  dead-letters                as it came     asked for
    late-events   late-events                 as it came     asked for
    skips         <pipeline>-skips            position       1
    progress      <pipeline>-progress         partition      1
    checkpoints   <pipeline>-checkpoints      id, chunk      asked for
    manifests     <pipeline>-checkpoint-manifests  id        1: it is read whole
    models        <pipeline>-models           model          1: which versions serve
    shadow        shadow-scores               events.key     asked for
    evidence      model-evidence              version        1: who owns it decides
    guard         <pipeline>-guard            what it is of  1: it is read whole
    operations    operations-alerts           alert id       1: few

An internal topic is a log that state is rebuilt from, so its retention covers all
that a feature may look back on, and a week for the operator to notice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from stream_infer.alerts.declared import compile_alerts
from stream_infer.checkpoints.names import chunks_topic, manifests_topic
from stream_infer.durations import parse_duration
from stream_infer.events.topic_names import (
    DEAD_LETTERS,
    LATE_EVENTS,
    MODEL_EVIDENCE,
    OPERATIONS_ALERTS,
    SHADOW_SCORES,
    candidates_topic,
    guard_topic,
    internal_entities,
    internal_topic,
    lists_topic,
    models_topic,
    progress_topic,
    skips_topic,
    stage_entities,
)
from stream_infer.features.plan import compile_plan
from stream_infer.pipeline import Pipeline

__all__ = [
    "DEAD_LETTERS",
    "LATE_EVENTS",
    "MESSAGE_BYTES_DEFAULT",
    "PARTITIONS_DEFAULT",
    "TopicSpec",
    "internal_topic",
    "look_back_ms",
    "pipeline_topics",
    "retention_ms_min",
    "stage_entities",
]

PARTITIONS_DEFAULT = 4
MESSAGE_BYTES_DEFAULT = 1_048_588
"""Kafka's own default of max.message.bytes: 1 MiB and the overhead of one record batch."""
RETENTION_MARGIN_MS = parse_duration("7d")
"""Time for the operator to notice and mend a stopped pipeline before its log is cut."""

Role = Literal[
    "input",
    "labels",
    "lists",
    "internal",
    "scored",
    "alerts",
    "dead-letters",
    "late-events",
    "skips",
    "progress",
    "checkpoints",
    "manifests",
    "models",
    "shadow",
    "evidence",
    "guard",
    "operations",
    "truth",
]

ONE_PARTITION_ROLES: frozenset[Role] = frozenset({"lists", "skips"})
"""Small topics whose records need one order."""
_MANIFESTS = {
    "cleanup.policy": "compact",
    "segment.bytes": str(16 * 1024 * 1024),
    # An hour after a checkpoint was pruned its room is free again, however little is written.
    "max.compaction.lag.ms": str(parse_duration("1h")),
    "min.cleanable.dirty.ratio": "0.2",
}
_PROGRESS = _MANIFESTS
"""Each word makes the one before it worthless, and in catch-up there are many."""
_CHUNKS = _MANIFESTS | {
    "segment.bytes": str(64 * 1024 * 1024),
    "max.message.bytes": str(MESSAGE_BYTES_DEFAULT),
}

_EVIDENCE = {"cleanup.policy": "delete", "retention.ms": str(parse_duration("7d"))}
_ONE_READER: frozenset[Role] = frozenset(
    {"evidence", "guard", "manifests", "models", "operations", "progress"}
)
PARTITIONED_ROLES: frozenset[Role] = frozenset({"input", "internal", "lists"})
"""Topics whose number of partitions matters: that of those that hold state is the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """A topic as the pipeline needs it; `config` holds Kafka's own names and text values."""

    name: str
    role: Role
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


def look_back_ms(pipeline: Pipeline) -> int:
    """Return how far behind an event anything of the pipeline may look, in ms.

    Raises     `ConfigError` when a declaration is wrong
    """
    return max(stage.look_back_ms for stage in compile_plan(pipeline).stages)


def retention_ms_min(pipeline: Pipeline) -> int:
    """Return the shortest retention from which the pipeline's state can be rebuilt, in ms."""
    return look_back_ms(pipeline) + RETENTION_MARGIN_MS


def pipeline_topics(
    pipeline: Pipeline,
    partitions: int = PARTITIONS_DEFAULT,
    *,
    message_bytes_max: int = MESSAGE_BYTES_DEFAULT,
) -> list[TopicSpec]:
    """Return every topic of the pipeline, in the order in which data passes them.

    message_bytes_max  largest record batch of the input topic, as max.message.bytes
    """
    kept = {"cleanup.policy": "delete", "retention.ms": str(retention_ms_min(pipeline))}
    # An internal record holds its event and features; a dead letter holds the event and headers.
    twice = {"max.message.bytes": str(2 * message_bytes_max)}
    topics: list[tuple[str, Role, dict[str, str]]] = [(pipeline.events.topic, "input", kept)]
    if pipeline.labels is not None:
        topics.append((pipeline.labels.topic, "labels", kept))
    topics += [
        (internal_topic(pipeline, entity), "internal", kept | twice)
        for entity in internal_entities(pipeline)
    ]
    topics.append((pipeline.scored, "scored", twice))
    topics += _alert_topics(pipeline, twice)
    topics += [
        (DEAD_LETTERS, "dead-letters", twice),
        (LATE_EVENTS, "late-events", twice),
        (skips_topic(pipeline), "skips", {"cleanup.policy": "compact"}),
        (chunks_topic(pipeline.name), "checkpoints", _CHUNKS),
        (manifests_topic(pipeline.name), "manifests", _MANIFESTS),
    ]
    progress = progress_topic(pipeline)
    topics += [(progress, "progress", _PROGRESS)] if progress is not None else []
    models = models_topic(pipeline)
    if models is not None:
        topics.append((models, "models", {"cleanup.policy": "compact"}))
    guard = guard_topic(pipeline)
    if guard is not None:
        topics.append((SHADOW_SCORES, "shadow", twice))
        topics.append((MODEL_EVIDENCE, "evidence", _EVIDENCE))
        topics.append((guard, "guard", _MANIFESTS))
        topics.append((OPERATIONS_ALERTS, "operations", {"cleanup.policy": "compact"}))
    return [
        TopicSpec(
            name=name,
            role=role,
            partitions=1 if role in ONE_PARTITION_ROLES | _ONE_READER else partitions,
            config=dict(config),
        )
        for name, role, config in topics
    ]


def _alert_topics(
    pipeline: Pipeline, twice: dict[str, str]
) -> list[tuple[str, Role, dict[str, str]]]:
    """Return what alerts need: the candidates' log, the alerts' log and their current state."""
    alerts, candidates = pipeline.alerts, candidates_topic(pipeline)
    if alerts is None or candidates is None:
        return []
    look_back = compile_alerts(alerts, pipeline.name).look_back_ms
    kept = {"cleanup.policy": "delete", "retention.ms": str(look_back + RETENTION_MARGIN_MS)}
    topics: list[tuple[str, Role, dict[str, str]]] = [
        (candidates, "internal", kept | twice),
        (alerts.topic, "alerts", twice),
        (alerts.current_topic, "alerts", twice | {"cleanup.policy": "compact"}),
    ]
    lists = lists_topic(pipeline)
    if lists is not None:
        topics.insert(0, (lists, "lists", {"cleanup.policy": "compact"}))
    return topics
