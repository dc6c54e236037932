"""What must be right in Kafka before a worker reads anything: its topics, and what they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import structlog

from stream_infer.dataplane.build import Parts, build_stages
from stream_infer.dataplane.earlier_versions import EarlierVersions
from stream_infer.dataplane.made_anew import refuse_inputs_made_anew
from stream_infer.dataplane.partitions_added import refuse_added_partitions
from stream_infer.dataplane.stage import Stage
from stream_infer.events.topic_names import candidates_topic, internal_entities, internal_topic
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topic_findings import judge_topics, usable
from stream_infer.kafka.topics import read_pipeline_topics
from stream_infer.pipeline import Pipeline

log = structlog.get_logger("stream_infer.dataplane")


class Fitting(NamedTuple):
    """The stages of a pipeline whose topics fit it.

    partitions  topic -> its number of partitions
    """

    stages: list[Stage]
    partitions: dict[str, int]


async def check_kafka(
    connection: Connection,
    pipeline: Pipeline,
    group: str,
    make_parts: Callable[[Mapping[str, int]], Parts],
    earlier: EarlierVersions,
) -> Fitting:
    """Compare what is in Kafka with the pipeline and return its stages. Safe to repeat.

    group       whose offsets say what was read
    make_parts  makes what the stages are built from, of each topic's number of partitions
    earlier     learns what other declarations have written
    Raises      ConflictError or NotFoundError for what does not fit; BrokerError
    """
    facts = await read_pipeline_topics(connection, pipeline)
    for finding in usable(judge_topics(pipeline, facts)):
        log.warning(finding.code, topic=finding.topic, cause=finding.message, fix=finding.fix)
    partitions = {name: fact.partitions for name, fact in facts.items()}
    stages = build_stages(make_parts(partitions))
    await refuse_added_partitions(connection, pipeline, partitions)
    await refuse_inputs_made_anew(connection, group, stages, partitions)
    internal = [internal_topic(pipeline, entity) for entity in internal_entities(pipeline)]
    await earlier.look(connection, internal, candidates_topic(pipeline))
    return Fitting(stages, partitions)
