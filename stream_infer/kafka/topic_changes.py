"""What must stop a worker about its topics: one was deleted while it runs, or got partitions. Pure.

A client that asks for a topic that is gone waits for it to come back, and records in partitions
that were added are read by nobody who knows them. Neither says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from stream_infer.errors import ConflictError, NotFoundError, StreamInferError
from stream_infer.kafka.topic_specs import TopicSpec, pipeline_topics
from stream_infer.pipeline import Pipeline

_READ = frozenset({"input", "internal", "labels", "lists"})
_DISPENSABLE = frozenset({"checkpoints", "evidence", "guard", "manifests", "models", "operations"})
"""Without them a worker works on."""


def topic_change(
    pipeline: Pipeline, known: Mapping[str, int], now: Mapping[str, int]
) -> StreamInferError | None:
    """Return the error for the first change that the pipeline cannot go on with, or None.

    known  topic -> number of partitions when the worker started; now the same of today, without
           those that are not there
    """
    for spec in pipeline_topics(pipeline):
        if spec.name not in known or spec.role in _DISPENSABLE:
            continue
        if spec.name not in now:
            return _deleted(pipeline, spec)
        if _holds_state(pipeline, spec) and now[spec.name] > known[spec.name]:
            return _added(spec, known[spec.name], now[spec.name], "when the worker started")
    return None


def state_partitions(pipeline: Pipeline, now: Mapping[str, int]) -> dict[str, int]:
    """Return the number of partitions of each topic where it says in which one a key's state is."""
    return {
        spec.name: now[spec.name]
        for spec in pipeline_topics(pipeline)
        if spec.name in now and _holds_state(pipeline, spec)
    }


def partitions_added(
    pipeline: Pipeline, said: Mapping[str, int], now: Mapping[str, int]
) -> ConflictError | None:
    """Return the error for the first topic that has more partitions than its commits say, or None.

    said  topic -> number of partitions when the group's commits were made, where they say it
    """
    for spec in pipeline_topics(pipeline):
        before = said.get(spec.name)
        if before is None or spec.name not in now or not _holds_state(pipeline, spec):
            continue
        if now[spec.name] > before:
            return _added(spec, before, now[spec.name], "when its records were read")
    return None


def _holds_state(pipeline: Pipeline, spec: TopicSpec) -> bool:
    """Say whether the partition of a key in this topic is where its state is."""
    return spec.role == "internal" or (spec.role == "input" and not pipeline.rekeys)


def _deleted(pipeline: Pipeline, spec: TopicSpec) -> NotFoundError:
    made = f"create it with: stream-infer topics create {pipeline.name}"
    fix = (
        f"What it held is gone, and so is state that is folded from it: {made}, and give the"
        " pipeline another name."
        if spec.role in _READ
        else f"To go on, {made}, and start the worker again."
    )
    return NotFoundError(
        "topic_deleted",
        f"Topic {spec.name!r} ({spec.role} of pipeline {pipeline.name!r}) was deleted while the"
        " worker ran.",
        fix,
        topic=spec.name,
    )


def _added(spec: TopicSpec, before: int, now: int, when: str) -> ConflictError:
    return ConflictError(
        "partitions_added",
        f"Topic {spec.name!r} has {now} partitions and had {before} {when}: keys stand in other"
        " partitions now than their state.",
        "Partitions cannot be taken away: make another input topic with as many as are needed, and"
        " run the pipeline on it under another name. Records that came to other partitions than"
        " before are dead letters, which `stream-infer dlq replay` sends there.",
        topic=spec.name,
        partitions=now,
    )
