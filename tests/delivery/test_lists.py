"""A list that somebody changes decides about what comes after, and after a restart too."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stream_infer.events.columns import LIST
from stream_infer.events.topic_names import internal_topic, lists_topic
from stream_infer.pipeline import Pipeline
from support.bad import payment
from support.commands import Ran, run_command
from support.kafka import aproduce, aread_all
from support.load import START_MS
from support.pipelines import own_pipeline, written
from support.worker import TESTED, make_topics, serving, until

pytestmark = pytest.mark.kafka

MINUTE = 60_000


async def pay(kafka: str, pipeline: Pipeline, number: int, customer: str) -> None:
    value = payment(
        transaction_id=f"t{number}",
        event_time=START_MS + number * MINUTE,
        customer_id=customer,
        terminal_id="m7",
        amount=12.0,
    )
    await aproduce(kafka, pipeline.events.topic, [(customer.encode(), value, None, ())])


async def values(kafka: str, topic: str) -> list[Any]:
    return [json.loads(record.value or b"") for record in await aread_all(kafka, topic)]


async def decided(kafka: str, pipeline: Pipeline) -> dict[str, tuple[str, str | None]]:
    """Return (decision, rule) of each payment."""
    scored = await values(kafka, pipeline.scored)
    return {event["transaction_id"]: (event["decision"], event["rule"]) for event in scored}


async def told_anew(kafka: str, pipeline: Pipeline) -> int:
    """Return how many changes of lists stand in the deciding stage's log."""
    log = await values(kafka, internal_topic(pipeline, "terminal_id"))
    return sum(record[1] == LIST for record in log)


async def test_who_is_blocked_is_declined_by_name_and_after_a_restart_too(
    kafka: str, tmp_path: Path
) -> None:
    pipeline = own_pipeline()
    file = written(pipeline, tmp_path)
    await make_topics(kafka, pipeline, 2)

    async def lists(*words: str) -> Ran:
        return await asyncio.to_thread(
            run_command, "lists", words[0], file, *words[1:], "--bootstrap", kafka
        )

    async def reaches(count: int, worker: Any) -> None:
        async def stands() -> bool:
            return await told_anew(kafka, pipeline) >= count

        await until(stands, alive=worker.alive)

    async with serving(kafka, pipeline) as worker:
        await pay(kafka, pipeline, 0, "c1")
        await worker.settle()
        added = await lists("add", "blocked-customers", "c1", "--reason", "card called in")
        assert (added.code, added.err) == (0, "")
        await reaches(2, worker)
        await pay(kafka, pipeline, 1, "c1")
        await pay(kafka, pipeline, 2, "c2")
        await worker.settle()
    said = await decided(kafka, pipeline)
    assert (said["t0"][1], said["t2"][1]) == (None, None)
    assert said["t1"] == ("decline", "blocked-customers")

    # A new worker has folded the log, and reads the lists from their beginning once more.
    async with serving(kafka, pipeline) as worker:
        await reaches(4, worker)
        await pay(kafka, pipeline, 3, "c1")
        await worker.settle()
        removed = await lists("remove", "blocked-customers", "c1")
        assert removed.code == 0
        await reaches(6, worker)
        await pay(kafka, pipeline, 4, "c1")
        await worker.settle()
    said = await decided(kafka, pipeline)
    assert said["t3"] == ("decline", "blocked-customers")
    assert said["t4"][1] is None

    assert pipeline.alerts is not None
    opened, *further = await values(kafka, pipeline.alerts.topic)
    assert (opened["change"], opened["entity"]) == ("opened", "c1")
    assert opened["rule"] == "blocked-customers"
    assert {alert["alert_id"] for alert in further} == {opened["alert_id"]}


async def test_a_list_is_read_from_its_beginning_by_a_worker_that_starts_at_the_latest(
    kafka: str, tmp_path: Path
) -> None:
    pipeline = own_pipeline()
    await make_topics(kafka, pipeline, 1)
    bad = (b"blocked-customers:c9", b"{", None, ())
    good = (b"blocked-customers:c1", b'{"list": "blocked-customers", "entity": "c1"}', None, ())
    await aproduce(kafka, lists_topic(pipeline) or "", [bad, good])
    async with serving(kafka, pipeline, replace(TESTED, start="latest")) as worker:

        async def stands() -> bool:
            return await told_anew(kafka, pipeline) >= 1

        await until(stands, alive=worker.alive)
        await pay(kafka, pipeline, 1, "c1")
        await worker.settle()
    assert (await decided(kafka, pipeline))["t1"] == ("decline", "blocked-customers")
    source = (lists_topic(pipeline) or "").encode()
    letters = await aread_all(kafka, "dead-letters")
    headers = [dict(record.headers) for record in letters]
    ours = [each for each in headers if each["kafka_dlt-original-topic"] == source]
    codes = [each["si-error-code"] for each in ours]
    assert codes == [b"list_record_invalid"]
