"""A worker's outputs are those of an offline fold, and whatever is changed in them is found."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence

import pytest

from stream_infer.audit.recompute.report import RecomputeReport
from stream_infer.audit.recompute.run import Recomputation, recompute
from stream_infer.kafka.connection import Connection
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipeline import Pipeline
from stream_infer.settings.worker import WorkerSettings
from support.bad import BAD_VALUES, payment
from support.kafka import Message, Record, acreate_topics, aproduce, aread_all, unique
from support.load import START_MS, make_load, send_load
from support.pipelines import own_pipeline
from support.worker import TESTED, make_topics, work_off

pytestmark = pytest.mark.kafka

PARTITIONS = 2
DAY_MS = 86_400_000
Tampering = Callable[[list[Record]], list[Record]]


async def judged(kafka: str, pipeline: Pipeline, **options: object) -> RecomputeReport:
    what = Recomputation(
        pipeline=pipeline,
        models=[ready_model_dir("fraud")],
        settings=WorkerSettings(),
        **options,  # type: ignore[arg-type]
    )
    return await recompute(Connection(bootstrap=kafka), what, lambda _done: None)


def counts(report: RecomputeReport) -> dict[str, int]:
    names = ("lost", "twice", "different", "unexpected", "disordered")
    return {name: count for name in names if (count := report.total(name))}


@pytest.fixture(scope="module")
def pipeline(kafka: str) -> Pipeline:
    """A pipeline that has worked off payments, labels, bad and late records."""
    return asyncio.run(worked(kafka))


async def worked(kafka: str) -> Pipeline:
    pipeline, load = own_pipeline(), make_load(days=30, customers=30, terminals=20)
    await make_topics(kafka, pipeline, PARTITIONS)
    await send_load(kafka, pipeline, load)
    bad: list[Message] = [(b"c0", value, 0, ()) for value, _ in BAD_VALUES.values()]
    late = payment(transaction_id="late", event_time=START_MS + DAY_MS, customer_id="1")
    newest = payment(transaction_id="new", event_time=START_MS + 40 * DAY_MS, customer_id="1")
    bad += [(b"1", newest, None, ()), (b"1", late, None, [("traceparent", b"00-1-2-01")])]
    await aproduce(kafka, pipeline.events.topic, bad)
    await work_off(kafka, pipeline, dataclasses.replace(TESTED, partitioning="trusted"))
    return pipeline.with_partitioning("trusted")


async def copied(
    kafka: str, pipeline: Pipeline, tamper: Tampering, topic: str | None = None
) -> Pipeline:
    """Return the pipeline with its scored topic replaced by a copy that was tampered with."""
    copy = unique("copy")
    await acreate_topics(kafka, {copy: PARTITIONS})
    records = tamper(await aread_all(kafka, topic or pipeline.scored))
    await aproduce(kafka, copy, [(r.key, r.value, r.partition, r.headers) for r in records])
    return dataclasses.replace(pipeline, scored=copy)


def left_out(records: Sequence[Record]) -> list[Record]:
    return [*records[:50], *records[51:]]


def appended(records: Sequence[Record]) -> list[Record]:
    return [*records, records[50]]


def changed(records: Sequence[Record]) -> list[Record]:
    value = (records[50].value or b"").replace(b'"late":false', b'"late":true')
    return [*records[:50], dataclasses.replace(records[50], value=value), *records[51:]]


def swapped(records: Sequence[Record]) -> list[Record]:
    """Exchange two neighbours of one customer."""
    key, first = records[50].key, 50
    second = next(i for i in range(51, len(records)) if records[i].key == key)
    between = records[first + 1 : second]
    return [
        *records[:first], *between, records[second], records[first], *records[second + 1 :],
    ]  # fmt: skip


def invented(records: Sequence[Record]) -> list[Record]:
    value = (records[50].value or b"").replace(b'{"event_id":"', b'{"event_id":"other-')
    return [*records, dataclasses.replace(records[50], value=value)]


async def test_what_a_quiet_run_published_is_what_its_logs_give(
    kafka: str, pipeline: Pipeline
) -> None:
    report = await judged(kafka, pipeline, twins=0.3)
    assert report.verdict == "proven", [str(d) for s in report.stages for d in s.differences]
    assert counts(report) == {}
    by_stage = {each.stage: each for each in report.stages}
    assert all(by_stage[name].expected > 100 for name in ("customer", "terminal", "labels"))
    assert by_stage["alerts"].expected > 0
    assert by_stage["customer"].twin_rows > 100
    assert by_stage["terminal"].twin_rows > 50


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        (left_out, {"lost": 1}),
        (appended, {"twice": 1}),
        (changed, {"different": 1}),
        (invented, {"unexpected": 1}),
    ],
)
async def test_each_way_of_tampering_is_found(
    kafka: str, pipeline: Pipeline, tamper: Tampering, found: dict[str, int]
) -> None:
    report = await judged(kafka, await copied(kafka, pipeline, tamper))
    assert counts(report) == found
    assert report.verdict == "failed"
    if tamper is changed:
        [told] = [d for stage in report.stages for d in stage.differences]
        assert (told.field, told.expected, told.found) == ("late", "false", "true")
        assert told.offset is not None
        assert told.origin.startswith(f"{pipeline.name}.by-terminal-")


async def test_two_outputs_of_one_key_that_were_exchanged_are_out_of_order(
    kafka: str, pipeline: Pipeline
) -> None:
    report = await judged(kafka, await copied(kafka, pipeline, swapped))
    assert set(counts(report)) == {"disordered"}


async def test_a_doubled_output_is_no_error_of_at_least_once(
    kafka: str, pipeline: Pipeline
) -> None:
    doubled = await copied(kafka, pipeline, appended)
    report = await judged(kafka, doubled, delivery="at_least_once")
    assert (report.verdict, report.twice) == ("proven", 1)


async def test_outputs_of_a_model_that_is_not_at_hand_are_unproven(
    kafka: str, pipeline: Pipeline
) -> None:
    def by_another(records: list[Record]) -> list[Record]:
        stamp = b'"version":"'
        return [
            dataclasses.replace(r, value=(r.value or b"").replace(stamp, stamp + b"9"))
            for r in records
        ]

    report = await judged(kafka, await copied(kafka, pipeline, by_another))
    assert report.total("other_model") > 100
    assert report.total("lost") == 0
    assert "which is not at hand" in report.unproven[0]


async def test_every_topic_that_a_stage_writes_is_compared(kafka: str, pipeline: Pipeline) -> None:
    """Tampers with the topics themselves, so it comes last."""
    assert pipeline.alerts is not None
    own = (f"{pipeline.name}.by-terminal", pipeline.alerts.topic)
    topics = (*own, "dead-letters", "late-events")
    before = await judged(kafka, pipeline)
    for topic in topics:
        first = next(
            record
            for record in await aread_all(kafka, topic)
            if topic in own
            or dict(record.headers)["kafka_dlt-original-consumer-group"] == pipeline.name.encode()
        )
        await aproduce(kafka, topic, [(b"other key", first.value, first.partition, first.headers)])
    after = await judged(kafka, pipeline)
    assert after.twice == before.twice + len(topics)
    found = {d.topic for stage in after.stages for d in stage.differences if d.field == "key"}
    assert found == set(topics)
