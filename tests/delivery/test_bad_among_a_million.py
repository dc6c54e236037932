"""A record of each bad kind among a million good ones: the good are scored, the bad are kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from stream_infer.audit.reconcile import audit
from stream_infer.events.deadletter import read_dead_letter
from stream_infer.kafka.connection import Connection
from stream_infer.records import KeyPartitioner
from stream_infer.simulators.fraud import Transactions, World, generate
from support.bad import BAD_VALUES, FAR_FUTURE_MS, fitting, payment
from support.kafka import Message, aproduce, aread_all
from support.load import START_MS, send_transactions
from support.pipelines import own_pipeline, written
from support.worker import COMMAND, WorkerProcess, make_topics, settle

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

GOOD = int(os.environ.get("STREAM_INFER_TEST_RECORDS", "1000000"))
"""How many good records; a smaller number tries the test itself."""

PARTITIONS = 4
CUSTOMERS = 20_000
LARGEST_BYTES = 1_048_588
SETTINGS = {"align_wait_max": "1h"}


def good_ones() -> Transactions:
    """Return exactly so many transactions: customers and days enough, then cut."""
    world = World(seed=3, customers=CUSTOMERS, days=2 + GOOD // (2 * CUSTOMERS), start_ms=START_MS)
    rows = generate(world)
    assert len(rows) >= GOOD
    return rows.take(slice(0, GOOD))


def bad_ones() -> list[tuple[Message, str]]:
    """Return a record of every bad kind with the code of its dead letter.

    Where the payload names a customer, it lies in his partition but for the one that does not.
    """
    customer = "c7"
    [(key, here)] = KeyPartitioner(PARTITIONS).place([customer])
    largest = fitting(b'{"transaction_id":"large","note":"x"}', key, LARGEST_BYTES)
    values = [*BAD_VALUES.values(), (largest, "missing_field")]
    bad: list[tuple[Message, str]] = [
        ((key, value, number % PARTITIONS, ()), code) for number, (value, code) in enumerate(values)
    ]
    future = payment(customer_id=customer, event_time=FAR_FUTURE_MS)
    elsewhere = payment(customer_id=customer)
    bad.append(((key, future, here, ()), "future_event"))
    bad.append(((key, elsewhere, (here + 1) % PARTITIONS, ()), "wrong_partition"))
    return bad


async def test_among_a_million_good_records_each_bad_one_is_a_dead_letter_and_no_other(
    kafka: str, tmp_path: Path
) -> None:
    pipeline, good, bad = own_pipeline(), good_ones(), bad_ones()
    await make_topics(kafka, pipeline, PARTITIONS)
    sent: dict[tuple[int, int], str] = {}
    for rows, (message, code) in zip(
        np.array_split(np.arange(len(good)), len(bad)), bad, strict=True
    ):
        half = len(rows) // 2
        await send_transactions(kafka, pipeline, good.take(rows[:half]))
        [place] = await aproduce(
            kafka, pipeline.events.topic, [message], max_request_size=2 * LARGEST_BYTES
        )
        sent[place] = code
        await send_transactions(kafka, pipeline, good.take(rows[half:]))
    file = written(pipeline, tmp_path)
    process = WorkerProcess(file, kafka, settings=SETTINGS, command=COMMAND)
    try:
        await settle(kafka, pipeline, process.alive)
        assert await process.stop() == 0, process.log
    finally:
        process.kill()

    letters = [read_dead_letter(r.headers) for r in await aread_all(kafka, "dead-letters")]
    ours = [facts for facts in letters if facts.consumer_group == pipeline.name]
    assert len(ours) == len(bad)
    assert {(f.partition, f.offset): f.error_code for f in ours} == sent
    report = await audit(Connection(bootstrap=kafka), pipeline, {}, lambda _read: None)
    assert (report.verdict, report.unproven) == ("proven", [])
    assert (report.records, report.scored) == (GOOD + len(bad), GOOD)
    assert (report.dead_letters, report.lost, report.doubled) == (len(bad), 0, 0)
