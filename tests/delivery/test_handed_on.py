"""At least once, a stage takes what another of its worker wrote as it stands in the log."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from stream_infer.dataplane import handing_on
from stream_infer.dataplane.fetching import Fetches
from stream_infer.dataplane.handing_on import Chain
from stream_infer.events.topic_names import internal_topic
from stream_infer.records.run import RecordRun
from support.kafka import aread_all
from support.load import (
    assert_features_equal,
    make_load,
    send_labels,
    send_transactions,
    table_features,
)
from support.pipelines import own_pipeline
from support.worker import TESTED, make_topics, serving

pytestmark = pytest.mark.kafka

PIECES = 20


async def test_what_is_handed_on_stands_in_the_log_and_nothing_is_folded_otherwise(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = own_pipeline()
    log_topic = internal_topic(pipeline, "terminal_id")
    handed: list[tuple[int, RecordRun]] = []
    put = Fetches.put

    def listening(self: Fetches, tp: TopicPartition, fetched: Any, **said: bool) -> None:
        records = getattr(fetched, "_partition_records", None)
        if isinstance(records, Chain) and tp.topic == log_topic:
            handed.extend((tp.partition, run) for run in records._runs)
        put(self, tp, fetched, **said)

    monkeypatch.setattr(Fetches, "put", listening)
    # However slow this machine is, what comes after the labels is little.
    monkeypatch.setattr(handing_on, "MUCH_SECONDS", 0)
    await make_topics(kafka, pipeline, 2)
    load = make_load(days=20, customers=30)
    settings = replace(TESTED, delivery="at_least_once")
    async with serving(kafka, pipeline, settings) as worker:
        await send_labels(kafka, pipeline, load.labels)
        size = -(-len(load) // PIECES)
        for start in range(0, len(load), size):
            await send_transactions(
                kafka, pipeline, load.transactions.take(slice(start, start + size))
            )
            await asyncio.sleep(0.02)
        await worker.settle()
    log: dict[tuple[int, int], Any] = {}
    for record in await aread_all(kafka, log_topic):
        log[record.partition, record.offset] = record
    ours = [(partition, record) for partition, run in handed for record in run]
    assert len(ours) > len(load) / 20, "else the test is blind"
    for partition, mine in ours:
        there = log[partition, mine.offset]
        assert (mine.key, mine.value, mine.timestamp, tuple(mine.headers)) == (
            there.key,
            there.value,
            there.timestamp,
            tuple(there.headers),
        )
    await assert_features_equal(kafka, pipeline, table_features(pipeline, load))
