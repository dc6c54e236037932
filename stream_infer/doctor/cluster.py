"""What a pipeline meets in Kafka: its clock, its topics, its group."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition

from stream_infer.doctor.findings import Finding, failed, passed, skipped, warning
from stream_infer.kafka.connection import Connection, translated
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.stretch import Stretch
from stream_infer.kafka.topic_findings import TopicFinding, judge_topics
from stream_infer.kafka.topic_specs import pipeline_topics
from stream_infer.kafka.topics import (
    TopicSpec,
    administration,
    committed_offsets,
    create_specs,
    group_state,
    read_topics,
)
from stream_infer.pipeline import Pipeline

CLOCK_MS_WARNING = 1_000
CLOCK_MS_FAILED = 60_000
"""Events may be an hour ahead of their record's time; devices' clocks need that hour."""
CLOCK_TOPIC = "stream-infer.doctor"
NAMED_MAX = 3


async def examine_clock(connection: Connection) -> Finding:
    """Write one record into a topic made for it, and compare the time that Kafka gave it.

    Kafka tells its time to nobody who does not write.
    """
    name = f"{CLOCK_TOPIC}.{uuid.uuid4().hex[:12]}"
    config = {"message.timestamp.type": "LogAppendTime", "retention.ms": "60000"}
    spec = TopicSpec(name=name, role="input", partitions=1, config=config)
    await create_specs(connection, [spec])
    try:
        async with translated(connection):
            producer = AIOKafkaProducer(**connection.client_options(), acks="all")
            await producer.start()
            try:
                await producer.send_and_wait(name, b"first", partition=0)
                before = time.time() * 1_000
                written = await producer.send_and_wait(name, b"clock", partition=0)
                after = time.time() * 1_000
            finally:
                await producer.stop()
    finally:
        async with administration(connection) as client:
            await client.delete_topics([name])
    return judge_clock(before, written.timestamp, after)


def judge_clock(before_ms: float, kafka_ms: float, after_ms: float) -> Finding:
    """Judge Kafka's time for a record that was written between two times of ours."""
    # Anything between the two is no difference; Kafka cuts its time to whole milliseconds.
    ahead = max(0.0, before_ms - 1 - kafka_ms) - max(0.0, kafka_ms - after_ms)
    size = abs(ahead)
    word = "ahead of" if ahead > 0 else "behind"
    detail = f"This machine's clock is {size / 1_000:.3f} s {word} Kafka's."
    if size < CLOCK_MS_WARNING:
        return passed("clock", f"It agrees with Kafka's within {max(size, 1):.0f} ms.")
    fix = "Let both keep their time by NTP or chrony."
    make = failed if size >= CLOCK_MS_FAILED else warning
    return make("clock", detail, fix)


async def examine_topics(connection: Connection, pipeline: Pipeline) -> list[Finding]:
    """Look whether the pipeline's topics are as it declares them: there, partitions, retention."""
    specs = pipeline_topics(pipeline)
    facts = await read_topics(connection, [spec.name for spec in specs])
    findings = judge_topics(pipeline, facts)
    found = [_topic_finding(finding) for finding in findings]
    wrong = {finding.topic for finding in findings}
    well = [spec.name for spec in specs if spec.name not in wrong]
    if well:
        found.append(passed("topics", f"As declared: {', '.join(well)}."))
    single = [name for name, each in facts.items() if each.replicas == 1]
    if single and not _is_local(connection):
        found.append(
            warning(
                "replicas",
                f"{len(single)} of {len(facts)} topics have one replica: a lost disk loses them.",
                "Create topics with --replication-factor 3, or add replicas.",
            )
        )
    return found


def _topic_finding(finding: TopicFinding) -> Finding:
    make = failed if finding.severity == "error" else warning
    return make(f"topic {finding.topic}", finding.message, finding.fix)


def _is_local(connection: Connection) -> bool:
    return all(host in ("127.0.0.1", "localhost", "::1") for host, _ in connection.addresses())


async def examine_group(connection: Connection, pipeline: Pipeline) -> list[Finding]:
    """Look at the pipeline's consumer group: its state, and where its offsets stand."""
    state = judge_state(pipeline.name, *await group_state(connection, pipeline.name))
    if state.status == "skipped":
        return [state]
    offsets = await committed_offsets(connection, pipeline.name)
    async with log_reader(connection) as reader:
        bounds = await reader.bounds(list(offsets)) if offsets else {}
    return [state, judge_offsets(offsets, bounds)]


def judge_state(group: str, state: str, members: int) -> Finding:
    """Judge the state that Kafka gives a consumer group (KIP-518 lists them)."""
    name = "group"
    if state in ("Dead", ""):
        return skipped(name, f"Group {group!r} does not exist: no worker has run yet.")
    if state in ("Stable", "Empty"):
        return passed(name, f"Group {group!r} is {state.lower()}, with {members} workers.")
    return warning(
        name,
        f"Group {group!r} is in the middle of a rebalance ({state}), with {members} workers.",
        "Look again in a minute; if it stays so, see the workers' logs.",
    )


def judge_offsets(offsets: Mapping[TopicPartition, int], bounds: Mapping[Any, Stretch]) -> Finding:
    """Judge whether the offsets still lie inside their logs, and how far behind they are."""
    name = "offsets"
    if not offsets:
        return skipped(name, "The group has committed none yet.")
    lost = [tp for tp, offset in offsets.items() if offset < bounds[tp].start]
    beyond = [tp for tp, offset in offsets.items() if offset > bounds[tp].end]
    if lost:
        return failed(
            name,
            f"Retention removed unread records of {_named(lost)}.",
            "Accept the loss with: stream-infer worker --when-offset-lost earliest; lengthen the"
            " retention.",
        )
    if beyond:
        return failed(
            name,
            f"The offsets of {_named(beyond)} lie behind the end of the log: it was made anew.",
            "Reset them with Kafka's kafka-consumer-groups, or rename the pipeline.",
        )
    behind = sum(bounds[tp].end - offset for tp, offset in offsets.items())
    return passed(name, f"{len(offsets)} partitions, {behind:,} records behind.")


def _named(partitions: list[Any]) -> str:
    names = [f"{tp.topic}-{tp.partition}" for tp in partitions]
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
