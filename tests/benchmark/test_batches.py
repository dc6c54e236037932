"""Records and markers by the headers of batches: what a reader of committed records is given."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from stream_infer.benchmark.arrivals import Arrivals
from stream_infer.benchmark.batches import (
    HEADER,
    Batches,
    BatchLog,
    batch_log,
    is_readable,
    read_headers,
    stable_delays,
)
from stream_infer.benchmark.latency import Latency, count_records
from stream_infer.benchmark.markers import marker_figures
from stream_infer.benchmark.paced import PacedRun
from stream_infer.benchmark.throughput import watch_outputs
from stream_infer.errors import NotFoundError
from stream_infer.kafka.connection import Connection
from support.kafka import acreate_topics

WITHOUT, OPEN = False, True


def batches(*rows: tuple[int, int, bool, str]) -> Batches:
    """Batches of 10 records, or a marker of one offset: time, producer, in transaction, marker."""
    made, offset = [], 0
    for append_ms, producer, in_transaction, marker in rows:
        after = offset + (1 if marker else 10)
        records = 0 if marker else 10
        made.append(
            (
                offset, after, records, append_ms, producer, in_transaction, bool(marker),
                marker == "commit",
            )
        )  # fmt: skip
        offset = after
    return np.array(made, HEADER)


def test_only_committed_records_are_readable() -> None:
    found = is_readable(
        batches(
            (0, 1, OPEN, ""),
            (0, 2, OPEN, ""),
            (0, -1, WITHOUT, ""),
            (1, 1, OPEN, "abort"),
            (1, 2, OPEN, "commit"),
            (2, 1, OPEN, ""),
            (3, 1, OPEN, "commit"),
            (4, 2, OPEN, ""),
        )
    )
    assert found.tolist() == [False, True, True, False, False, True, False, False]


def test_the_stable_offset_waits_for_the_oldest_open_transaction() -> None:
    #  producer 1  |--------------- 30
    #  producer 2      5 |---- 20, and stable only at 30
    delays = stable_delays(
        batches(
            (0, 1, OPEN, ""),
            (5, 2, OPEN, ""),
            (20, 2, OPEN, "commit"),
            (30, 1, OPEN, "commit"),
            (33, -1, WITHOUT, ""),
            (40, 1, OPEN, ""),  # never committed
            (41, -1, WITHOUT, ""),  # and so never passed
        )
    )
    assert delays.tolist() == [30, 25, 0]


def test_markers_are_counted_while_the_events_were_sent() -> None:
    outputs = batches((900, 1, OPEN, ""), (1_000, 1, OPEN, "commit"), (3_000, 1, OPEN, "commit"))
    offsets = batches((1_500, 1, OPEN, "commit"), (2_999, 2, OPEN, "commit"))
    run = PacedRun(Latency(None, None, None, None, 0, 0), None, None, 1_000, 3_000)
    found = marker_figures([outputs], [offsets], run)
    assert (found.markers_per_s, found.transactions_per_s) == (1.5, 1.0)
    assert (found.delay_p50_ms, found.delay_p99_ms) == (100, 100)


def test_an_output_arrives_with_the_first_fetch_that_goes_beyond_it() -> None:
    arrivals = Arrivals("ready\n0 10 5000000\n0 25 9000000\n1 3 7000000\nhalf a li")
    had = arrivals.times_ms(0, np.array([0, 9, 10, 24, 25]))
    assert had[:4].tolist() == [5.0, 5.0, 9.0, 9.0]
    assert np.isnan(had[4])
    assert np.isnan(arrivals.times_ms(2, np.array([0]))).all()


def test_half_a_batch_is_left_for_the_next_answer() -> None:
    assert len(read_headers(b"")) == 0
    assert len(read_headers(b"\0" * 60)) == 0


async def _write(kafka: str, topic: str, transactions: list[tuple[int, bool]]) -> None:
    """Write transactions of so many records to partition 0, committed or not."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{topic}-writer")
    await producer.start()
    try:
        for records, commits in transactions:
            await producer.begin_transaction()
            for _ in range(records):
                await producer.send_and_wait(topic, b"value", partition=0)
            await (producer.commit_transaction() if commits else producer.abort_transaction())
    finally:
        await producer.stop()


async def _read_until(log: BatchLog, offset: int) -> None:
    """Read on until partition 0 ends there: Kafka writes markers after it answers."""
    while True:
        await log.read_on()
        [headers] = [each for tp, each in log.batches.items() if tp.partition == 0]
        if len(headers) and int(headers["next"][-1]) >= offset:
            return
        await asyncio.sleep(0.01)


@pytest.mark.kafka
async def test_markers_and_aborted_records_are_not_counted(kafka: str) -> None:
    topic = "bench-batches"
    await acreate_topics(kafka, {topic: 2})
    connection = Connection(bootstrap=kafka)
    await _write(kafka, topic, [(3, True), (2, False), (1, True)])
    async with batch_log(connection, [topic]) as log:
        await _read_until(log, offset=9)
        assert log.readable() == await count_records(connection, topic) == 4
        headers = log.batches[TopicPartition(topic, 0)]
        assert headers["is_marker"].sum() == 3
        assert headers["is_commit"].sum() == 2
        assert abs(int(headers["append_ms"][-1]) - time.time() * 1000) < 600_000
        # What was read before is not read again, and what is new is.
        await _write(kafka, topic, [(5, True)])
        await _read_until(log, offset=15)
        assert log.readable() == 9
        ends = {tp: 3 if tp.partition == 0 else 0 for tp in log.batches}
        assert log.readable(ends) == 3


@pytest.mark.kafka
async def test_a_throughput_run_ends_with_the_last_record_not_with_as_many_offsets(
    kafka: str,
) -> None:
    topic = "bench-watch"
    await acreate_topics(kafka, {topic: 1})
    await _write(kafka, topic, [(2, True), (2, True)])
    async with batch_log(Connection(bootstrap=kafka), [topic]) as log:
        await _read_until(log, offset=6)

    class Still:
        looks = 0

        def check(self) -> None:
            self.looks += 1

        def usage(self) -> None:
            return None

    subject: Any = Still()
    shown: list[int] = []
    samples = await watch_outputs(
        Connection(bootstrap=kafka), topic, 5, subject, seconds_max=0.5, show=shown.append
    )
    assert set(shown) == {6}
    assert subject.looks > 1
    assert {sample.outputs for sample in samples} == {4}


@pytest.mark.kafka
async def test_a_topic_that_is_missing_is_said(kafka: str) -> None:
    with pytest.raises(NotFoundError, match="bench-no-such-topic"):
        async with batch_log(Connection(bootstrap=kafka), ["bench-no-such-topic"]):
            pass
