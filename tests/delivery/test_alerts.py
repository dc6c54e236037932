"""From payments in Kafka to alerts: opened with reasons, cleared by time, never told twice."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest

from stream_infer.alerts.spec import AlertKind, Alerts, Limit
from stream_infer.events.topic_names import candidates_topic
from stream_infer.kafka.connection import Connection
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipeline import Pipeline
from stream_infer.worker import Worker
from support.bad import payment
from support.kafka import aproduce, aread_all
from support.load import START_MS
from support.pipelines import own_pipeline
from support.worker import TESTED, Serving, make_topics, settle, until

pytestmark = pytest.mark.kafka

MINUTE = 60_000
LARGE = Limit(name="large-payment", of="amount", above=1_000.0, score=0.99)


def limited(hold: str) -> Pipeline:
    """Return the fraud pipeline without a model: a limit declines, and an alert says so."""
    kind = AlertKind(
        name="card_fraud",
        entity="customer_id",
        open_at=2.0,
        severities=((2.0, "high"),),
        hold=hold,
        text="Payment of {amount:,.2f}",
        facts=("amount",),
    )
    pipeline = own_pipeline()
    assert pipeline.alerts is not None
    alerts = Alerts(topic=pipeline.alerts.topic, kinds=(kind,), limits=(LARGE,))
    return dataclasses.replace(pipeline, model=None, alerts=alerts)


async def send(kafka: str, pipeline: Pipeline, *payments: dict[str, Any]) -> None:
    """Write payments into the one partition that there is."""
    values = [payment(**each) for each in payments]
    await aproduce(kafka, pipeline.events.topic, [(None, value, 0, ()) for value in values])


def paid(number: int, customer: str, amount: float, **more: Any) -> dict[str, Any]:
    return {
        "transaction_id": f"t{number}",
        "event_time": START_MS + number * MINUTE,
        "customer_id": customer,
        "terminal_id": "m7",
        "amount": amount,
    } | more


async def told(kafka: str, topic: str) -> list[dict[str, Any]]:
    return [json.loads(record.value or b"") for record in await aread_all(kafka, topic)]


def statuses(alerts: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(alert["entity"], alert["change"]) for alert in alerts]


async def test_a_limit_opens_an_alert_and_time_alone_clears_it(kafka: str) -> None:
    pipeline = limited(hold="2s")
    assert pipeline.alerts is not None
    await make_topics(kafka, pipeline, 1)
    now = time.time_ns() // 1_000_000
    await send(
        kafka,
        pipeline,
        paid(0, "c1", 12.0, event_time=now - 1_000),
        paid(1, "c2", 5_000.0, event_time=now),
    )
    worker = Serving(kafka, Worker(pipeline, Connection(bootstrap=kafka), TESTED))
    try:

        async def cleared() -> bool:
            return len(await told(kafka, pipeline.alerts.topic)) >= 2  # type: ignore[union-attr]

        await until(cleared, alive=worker.alive)
        await worker.settle()
    finally:
        await worker.stop()
    log = await told(kafka, pipeline.alerts.topic)
    assert statuses(log) == [("c2", "opened"), ("c2", "cleared")]
    assert log[0]["text"].startswith("Payment of 5,000.00")
    assert (log[0]["rule"], log[0]["severity"]) == ("large-payment", "high")
    assert log[0]["alert_id"] == log[1]["alert_id"]
    current = await aread_all(kafka, pipeline.alerts.current_topic)
    assert [json.loads(record.value or b"") for record in current] == log
    # One candidate, and one tick: time is written only when something waits for it.
    assert len(await told(kafka, candidates_topic(pipeline) or "")) == 2


async def test_alerts_after_a_restart_are_those_of_one_worker(kafka: str) -> None:
    pipeline = limited(hold="6h")
    assert pipeline.alerts is not None
    await make_topics(kafka, pipeline, 1)
    for first in (0, 10):
        await send(
            kafka,
            pipeline,
            paid(first, "c1", 2_000.0),
            paid(first + 1, "c2", 10.0),
            paid(first + 2, "c1", 3_000.0 + first),
        )
        worker = Serving(kafka, Worker(pipeline, Connection(bootstrap=kafka), TESTED))
        await worker.settle()
        await worker.stop()
    log = await told(kafka, pipeline.alerts.topic)
    assert len({alert["alert_id"] for alert in log}) == 1
    assert [change for _, change in statuses(log)].count("opened") == 1
    assert log[-1]["count"] == 4


async def test_the_model_that_ships_raises_alerts_with_reasons(kafka: str) -> None:
    pipeline = own_pipeline()
    assert pipeline.alerts is not None
    topic = pipeline.alerts.topic
    await make_topics(kafka, pipeline, 2)
    usual = [
        paid(day * 1440 + 60 * k, "c1", 20.0 + k, terminal_id=f"m{k}")
        for day in range(20)
        for k in range(2)
    ]
    odd = [paid(20 * 1440 + k, "c1", 900.0 + k, terminal_id="m1") for k in range(3)]
    values = [payment(**each) for each in usual + odd]
    pipeline = pipeline.with_partitioning("trusted")
    await aproduce(kafka, pipeline.events.topic, [(None, value, 0, ()) for value in values])
    connection = Connection(bootstrap=kafka)
    made = Worker(pipeline, connection, TESTED, model=ready_model_dir("fraud"))
    worker = Serving(kafka, made)
    try:
        await settle(kafka, pipeline, worker.alive)
    finally:
        await worker.stop()
    log = await told(kafka, topic)
    assert {alert["kind"] for alert in log} == {"card_fraud"}
    assert {alert["entity"] for alert in log} == {"c1"}
    assert "times this card's usual" in log[0]["text"]
    assert log[0]["reasons"][0]["feature"] == "TX_AMOUNT"
    assert (log[0]["model"], log[0]["decision"]) == ("fraud", "decline")
