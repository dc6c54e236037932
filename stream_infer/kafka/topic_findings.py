"""What about the topics that exist does not fit a pipeline. Pure: facts in, findings out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stream_infer.durations import format_duration
from stream_infer.errors import ConflictError, NotFoundError, StreamInferError
from stream_infer.kafka.topic_specs import (
    MESSAGE_BYTES_DEFAULT,
    ONE_PARTITION_ROLES,
    PARTITIONED_ROLES,
    PARTITIONS_DEFAULT,
    TopicSpec,
    pipeline_topics,
)
from stream_infer.pipeline import Pipeline

Severity = Literal["error", "warning"]
_WORKS_WITHOUT = frozenset(
    {"checkpoints", "evidence", "guard", "manifests", "models", "operations", "shadow"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFacts:
    """A topic as Kafka has it.

    replicas  of its first partition
    config    every setting in force, defaults included, in Kafka's own names and text values
    """

    name: str
    partitions: int
    replicas: int
    config: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFinding:
    """Something about a topic that does not fit the pipeline."""

    topic: str
    severity: Severity
    code: str
    message: str
    fix: str

    def error(self) -> StreamInferError:
        """Return the finding as the error that stops a command."""
        kind = NotFoundError if self.code == "topic_missing" else ConflictError
        return kind(self.code, self.message, self.fix, topic=self.topic)


def judge_topics(
    pipeline: Pipeline, existing: Mapping[str, TopicFacts], partitions: int | None = None
) -> list[TopicFinding]:
    """Return what about the existing topics does not fit the pipeline, errors first.

    partitions  number that the input and internal topics must have; None: the input's own
    """
    source = existing.get(pipeline.events.topic)
    wanted = partitions or (source.partitions if source else PARTITIONS_DEFAULT)
    size = message_bytes_max_of(source)
    findings: list[TopicFinding] = []
    for spec in pipeline_topics(pipeline, wanted, message_bytes_max=size):
        facts = existing.get(spec.name)
        if facts is None:
            findings.append(_missing(pipeline, spec))
        else:
            findings += _judge_partitions(pipeline, spec, facts)
            findings += _judge_retention(pipeline, spec, facts)
            findings += _judge_size(spec, facts)
            findings += _judge_compaction(spec, facts)
    return sorted(findings, key=lambda finding: finding.severity)


def usable(findings: Sequence[TopicFinding]) -> list[TopicFinding]:
    """Return the warnings; raise the first error.

    Raises  `NotFoundError` for a missing topic, `ConflictError` for one that cannot be used
    """
    for finding in findings:
        if finding.severity == "error":
            raise finding.error()
    return list(findings)


def message_bytes_max_of(source: TopicFacts | None) -> int:
    """Return the largest record batch that the topic takes, in bytes."""
    if source is None:
        return MESSAGE_BYTES_DEFAULT
    return int(source.config.get("max.message.bytes", MESSAGE_BYTES_DEFAULT))


def _missing(pipeline: Pipeline, spec: TopicSpec) -> TopicFinding:
    return TopicFinding(
        topic=spec.name,
        # Without checkpoints a worker works too, it takes longer to start; without being told of
        # versions it serves the one that it was given, a shadow is heard by nobody, and without
        # evidence nobody moves an alias back but people.
        severity="warning" if spec.role in _WORKS_WITHOUT else "error",
        code="topic_missing",
        message=f"Topic {spec.name!r} ({spec.role} of pipeline {pipeline.name!r}) does not exist.",
        fix=f"Create it with: stream-infer topics create {pipeline.name}.",
    )


def _judge_partitions(pipeline: Pipeline, spec: TopicSpec, facts: TopicFacts) -> list[TopicFinding]:
    if spec.role not in PARTITIONED_ROLES or facts.partitions == spec.partitions:
        return []
    if spec.role == "input":
        fix = (
            f"Run: stream-infer topics create {pipeline.name} --partitions {facts.partitions};"
            " or delete the topic first, if its records may go."
        )
    elif spec.role == "lists":
        fix = (
            f"Keep its records with: stream-infer lists show {pipeline.name}; delete topic"
            f" {spec.name!r}, run: stream-infer topics create {pipeline.name}; and add them again."
        )
    else:
        fix = (
            f"Stop the workers, delete topic {spec.name!r} and run: stream-infer topics create"
            f" {pipeline.name} --partitions {spec.partitions}."
        )
    return [
        TopicFinding(
            topic=spec.name,
            severity="error",
            code="wrong_partition_count",
            message=(
                f"Topic {spec.name!r} has {facts.partitions} partitions,"
                f" {spec.partitions} are needed."
            ),
            fix=fix,
        )
    ]


def _judge_retention(pipeline: Pipeline, spec: TopicSpec, facts: TopicFacts) -> list[TopicFinding]:
    needed = spec.config.get("retention.ms")
    has = int(facts.config.get("retention.ms", "-1"))
    compacted = "delete" not in facts.config.get("cleanup.policy", "delete")
    if needed is None or has < 0 or compacted or has >= int(needed):
        return []
    # An input may be cut by its owner's rules: state that is gone is rebuilt from checkpoints or
    # not at all. An internal topic is ours, and nothing excuses it.
    return [
        TopicFinding(
            topic=spec.name,
            severity="error" if spec.role == "internal" else "warning",
            code="retention_too_short",
            message=(
                f"Topic {spec.name!r} keeps records for {format_duration(has)};"
                f" rebuilding the state of pipeline {pipeline.name!r} needs"
                f" {format_duration(int(needed))}."
            ),
            fix=f"Set retention.ms={needed} on topic {spec.name!r}.",
        )
    ]


def _judge_compaction(spec: TopicSpec, facts: TopicFacts) -> list[TopicFinding]:
    policy = facts.config.get("cleanup.policy", "delete")
    if spec.role not in ONE_PARTITION_ROLES or policy == "compact":
        return []
    lost = "who is on a list" if spec.role == "lists" else "which records are passed over"
    return [
        TopicFinding(
            topic=spec.name,
            severity="error",
            code=f"{spec.role}_would_expire",
            message=(
                f"Topic {spec.name!r} has cleanup.policy={policy}: {lost} would be"
                " forgotten with the record that says so."
            ),
            fix=f"Set cleanup.policy=compact on topic {spec.name!r}.",
        )
    ]


def _judge_size(spec: TopicSpec, facts: TopicFacts) -> list[TopicFinding]:
    needed = spec.config.get("max.message.bytes")
    has = int(facts.config.get("max.message.bytes", MESSAGE_BYTES_DEFAULT))
    if needed is None or has >= int(needed):
        return []
    return [
        TopicFinding(
            topic=spec.name,
            severity="warning",
            code="message_size_too_small",
            message=(
                f"Topic {spec.name!r} takes record batches up to {has} bytes;"
                f" records made from the input's largest need {needed}."
            ),
            fix=f"Set max.message.bytes={needed} on topic {spec.name!r}.",
        )
    ]
