"""Each commit says how many partitions there were; where there are more now, nothing runs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.ledger import Ledger
from stream_infer.dataplane.offsets import (
    Committed,
    LogBounds,
    commit_metadata,
    committed_base,
    committed_partitions,
    declared_start,
)
from stream_infer.dataplane.partitions_added import partitions_said, refuse_added_partitions
from stream_infer.dataplane.starts import Starts
from stream_infer.errors import ConflictError
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topic_changes import partitions_added, state_partitions
from stream_infer.kafka.topics import pipeline_topics
from stream_infer.pipelines.fraud import pipeline as fraud
from support.dataplane import SETTINGS, SOURCE, stages
from support.kafka import acreate_topics
from support.pipelines import own_pipeline

KNOWN = {spec.name: spec.partitions for spec in pipeline_topics(fraud, 4)}
INPUT = fraud.events.topic


def test_the_number_of_partitions_survives_the_round_trip_through_a_commit() -> None:
    metadata = commit_metadata(17, "h", 4)
    assert (declared_start(metadata), committed_base(metadata)) == (17, "h")
    assert committed_partitions(metadata) == 4


def test_what_was_committed_before_it_was_said_stays_readable_and_says_nothing() -> None:
    assert json.loads(commit_metadata(3)) == {"start": 3}
    old = ['{"start": 3}', '{"start": 3, "base": "h"}', "", "note", "[4]", '{"partitions": "4"}']
    assert [committed_partitions(text) for text in old] == [None] * 6
    assert [declared_start(text) for text in old[:2]] == [3, 3]


def test_every_commit_of_a_topic_with_states_says_it() -> None:
    of = Starts({stage.topic: stage for stage in stages()}, SETTINGS, {SOURCE.topic: 4})
    start = of.decide({SOURCE: None}, {SOURCE: LogBounds(0, 9)})[SOURCE]
    ledger = Ledger(1, lambda _partition, _offset: None)
    ledger.assign({SOURCE: start})
    assert committed_partitions(ledger.metadata(SOURCE)) == 4


def test_only_topics_whose_partitions_hold_states_are_counted() -> None:
    counted = state_partitions(fraud, KNOWN)
    assert counted == {INPUT: 4, "fraud.by-terminal": 4, "fraud.candidates": 4}
    rekeyed = replace(fraud, events=replace(fraud.events, partitioning="rekey"))
    assert INPUT not in state_partitions(rekeyed, KNOWN)


def test_the_fewest_partitions_that_a_commit_says_count() -> None:
    commits = {
        Partition("t", 0): Committed(1, commit_metadata(0, None, 2)),
        Partition("t", 1): Committed(1, commit_metadata(0)),
        Partition("t", 2): Committed(1, commit_metadata(0, None, 3)),
        Partition("u", 0): Committed(1, commit_metadata(0)),
        Partition("v", 0): Committed(1),
    }
    assert partitions_said(commits) == {"t": 2}


@pytest.mark.parametrize("said", [{}, {INPUT: 4}, {INPUT: 5}, {fraud.scored: 1}])
def test_as_many_as_were_said_or_nothing_said_is_no_change(said: dict[str, int]) -> None:
    assert partitions_added(fraud, said, KNOWN) is None


@pytest.mark.kafka
async def test_a_pipeline_of_any_shape_is_told_before_it_reads(kafka: str) -> None:
    pipeline = replace(own_pipeline(), alerts=None)
    topic = pipeline.events.topic
    await acreate_topics(kafka, {topic: 3})
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, group_id=pipeline.name, enable_auto_commit=False
    )
    await consumer.start()
    try:
        commits = {
            TopicPartition(topic, 0): OffsetAndMetadata(0, commit_metadata(0, None, 2)),
            TopicPartition(topic, 1): OffsetAndMetadata(0, commit_metadata(0)),
        }
        consumer.assign(list(commits))
        await consumer.commit(commits)
    finally:
        await consumer.stop()
    connection = Connection(bootstrap=kafka)
    await refuse_added_partitions(connection, pipeline, {topic: 2})
    with pytest.raises(
        ConflictError, match="has 3 partitions and had 2 when its records"
    ) as caught:
        await refuse_added_partitions(connection, pipeline, {topic: 3})
    assert caught.value.code == "partitions_added"
