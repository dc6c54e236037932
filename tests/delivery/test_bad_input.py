"""Every kind of bad record becomes a dead letter as it came, and its neighbours are scored."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from stream_infer.audit.reconcile import audit
from stream_infer.events.deadletter import DeadLetterFacts, read_dead_letter
from stream_infer.kafka.connection import Connection
from stream_infer.pipeline import Pipeline
from stream_infer.records import KeyPartitioner
from stream_infer.settings.worker import WorkerSettings
from support.bad import BAD_VALUES, FAR_FUTURE_MS, fitting, payment
from support.kafka import Message, Record, acreate_topics, aproduce, aread_all
from support.load import START_MS, read_scored
from support.pipelines import own_pipeline
from support.worker import TESTED, make_topics, work_off

pytestmark = pytest.mark.kafka

PARTITIONS = 2
REQUEST = {"max_request_size": 16 * 1024 * 1024, "max_batch_size": 8 * 1024 * 1024}
PLACES = KeyPartitioner(PARTITIONS)
HERE, ELSEWHERE = (
    next(f"c{i}" for i in range(50) if PLACES.place([f"c{i}"])[0][1] == partition)
    for partition in range(PARTITIONS)
)
"""Customers of partition 0 and of partition 1."""


class Stream:
    """Records of partition 0 of a pipeline's input, written down before they are sent."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._number = 0

    def good(self, **fields: Any) -> str:
        """Add a good transaction, a minute after the one before; return its id."""
        self._number += 1
        name = f"good-{self._number}"
        time = START_MS + 60_000 * self._number
        record = {"transaction_id": name, "event_time": time, "customer_id": HERE} | fields
        self.add(payment(**record))
        return str(record["transaction_id"])

    def add(
        self,
        value: bytes | None,
        key: bytes | None = HERE.encode(),
        headers: tuple[tuple[str, bytes], ...] = (),
    ) -> int:
        """Add any record; return the offset that it will get."""
        self.messages.append((key, value, 0, headers))
        return len(self.messages) - 1


async def dead_letters_of(
    bootstrap: str, pipeline: Pipeline
) -> list[tuple[DeadLetterFacts, Record]]:
    """Return this pipeline's dead letters: the topic is shared by all pipelines of a Kafka."""
    records = await aread_all(bootstrap, "dead-letters")
    read = [(read_dead_letter(record.headers), record) for record in records]
    return [(facts, record) for facts, record in read if facts.consumer_group == pipeline.name]


async def late_copies_of(bootstrap: str, pipeline: Pipeline) -> list[Record]:
    records = await aread_all(bootstrap, "late-events")
    return [r for r in records if read_dead_letter(r.headers).consumer_group == pipeline.name]


async def run(
    bootstrap: str, pipeline: Pipeline, stream: Stream, settings: WorkerSettings = TESTED
) -> dict[str, dict[str, Any]]:
    """Send the stream, work it off, and return transaction id -> scored event."""
    await aproduce(bootstrap, pipeline.events.topic, stream.messages, **REQUEST)
    await work_off(bootstrap, pipeline, settings)
    scored = await read_scored(bootstrap, pipeline)
    assert scored.doubles() == 0
    return {event["transaction_id"]: event for event in scored.events}


async def test_each_bad_kind_becomes_a_dead_letter_and_its_neighbours_are_scored(
    kafka: str,
) -> None:
    pipeline, stream = own_pipeline(), Stream()
    await make_topics(kafka, pipeline, PARTITIONS)
    good = [stream.good()]
    expected: dict[int, str] = {}
    for number, (kind, (value, code)) in enumerate(BAD_VALUES.items()):
        headers = (("kind", kind.encode()), ("kind", b"\x00\xff"), ("traceparent", b"00-a-b-01"))
        expected[stream.add(value, key=f"key-{number}".encode(), headers=headers)] = code
        good.append(stream.good())
    future = stream.add(payment(event_time=FAR_FUTURE_MS, customer_id=HERE))
    wrong_place = stream.add(payment(customer_id=ELSEWHERE), key=ELSEWHERE.encode())
    expected |= {future: "future_event", wrong_place: "wrong_partition"}
    good.append(stream.good())

    scored = await run(kafka, pipeline, stream)

    assert sorted(scored) == sorted(good)
    # The clock was moved by nothing bad, and no window counts a record that is no event.
    counts = [scored[name]["features"]["CUSTOMER_ID_NB_TX_1DAY_WINDOW"] for name in good]
    assert counts == [float(n) for n in range(1, len(good) + 1)]
    assert not any(event["late"] for event in scored.values())

    letters = await dead_letters_of(kafka, pipeline)
    assert {facts.offset: facts.error_code for facts, _ in letters} == expected
    assert len(letters) == len(expected)
    for facts, letter in letters:
        assert facts.offset is not None
        key, value, _, own = stream.messages[facts.offset]
        assert (letter.key, letter.value) == (key, value)
        assert list(letter.headers[: len(own)]) == list(own)
        assert (facts.topic, facts.partition, facts.stage) == (pipeline.events.topic, 0, "customer")
        assert dict(letter.headers)["kafka_dlt-original-offset"] == struct.pack(">q", facts.offset)
        assert facts.unreadable == ()
    report = await audit(Connection(bootstrap=kafka), pipeline, {}, lambda _read: None)
    assert (report.verdict, report.dead_letters) == ("proven", len(expected))


async def test_odd_and_good_records_are_scored(kafka: str) -> None:
    """No key, an unknown field, 1970, an id sent twice, a traced one: each has its own answer."""
    pipeline, stream = own_pipeline(), Stream()
    await make_topics(kafka, pipeline, PARTITIONS)
    first = stream.good()
    stream.add(payment(transaction_id="no key", event_time=START_MS + 120_000), key=None)
    traced = (("other", b"1"), ("traceparent", b"00-4bf92f-00f0-01"))
    stream.add(payment(transaction_id="traced", event_time=START_MS + 180_000), headers=traced)
    twice = stream.good(transaction_id="twice", note={"unknown": [1, 2]})
    again = stream.add(stream.messages[-1][1])
    stream.add(payment(transaction_id="old", event_time=0), headers=(("from", b"1970"),))
    last = stream.good()
    await aproduce(kafka, pipeline.events.topic, stream.messages)
    await work_off(kafka, pipeline)

    records = await aread_all(kafka, pipeline.scored)
    assert [dict(record.headers) for record in records if record.headers] == [dict(traced[1:])]
    assert {record.key for record in records} == {HERE.encode()}
    events = (await read_scored(kafka, pipeline)).events
    topic = pipeline.events.topic
    facts = [(e["transaction_id"], e["late"], e["duplicate_of"]) for e in events]
    assert facts == [
        (first, False, None),
        ("no key", False, None),
        ("traced", False, None),
        (twice, False, None),
        (twice, False, f"{topic}-0-{again - 1}"),
        ("old", True, None),
        (last, False, None),
    ]
    # Neither the repeated event nor the one of 1970 is in the last one's window.
    assert events[-1]["features"]["CUSTOMER_ID_NB_TX_30DAY_WINDOW"] == 5
    assert events[-2]["features"]["CUSTOMER_ID_NB_TX_30DAY_WINDOW"] == 1
    assert all("extra" not in event for event in events)
    [copy] = await late_copies_of(kafka, pipeline)
    assert (copy.key, copy.value) == stream.messages[-2][:2]
    assert copy.headers[0] == ("from", b"1970")
    assert await dead_letters_of(kafka, pipeline) == []


@pytest.mark.parametrize(
    ("choice", "extra", "code"),
    [
        ("ignore", None, None),
        ("keep", {"note": [1.5, "x"]}, None),
        ("refuse", None, "unknown_field"),
    ],
)
async def test_an_unknown_field_is_ignored_kept_or_refused_as_the_settings_say(
    kafka: str, choice: Any, extra: object, code: str | None
) -> None:
    pipeline, stream = own_pipeline(), Stream()
    await make_topics(kafka, pipeline, PARTITIONS)
    before, odd, after = stream.good(), stream.good(note=[1.5, "x"]), stream.good()
    scored = await run(kafka, pipeline, stream, replace(TESTED, unknown_fields=choice))
    letters = await dead_letters_of(kafka, pipeline)
    assert [facts.error_code for facts, _ in letters] == ([code] if code else [])
    assert sorted(scored) == sorted([before, after] if code else [before, odd, after])
    if code is None:
        assert scored[odd].get("extra") == extra


async def test_records_of_exactly_the_largest_size_are_scored_or_dead_letters(kafka: str) -> None:
    """One byte more and Kafka itself refuses the record."""
    pipeline, stream = own_pipeline(), Stream()
    await make_topics(kafka, pipeline, PARTITIONS)
    size = 1_048_588
    key = HERE.encode()
    name = stream.good()
    large = payment(transaction_id="large", event_time=START_MS + 60_000, note="x")
    stream.add(fitting(large, key, size))
    bad = stream.add(fitting(large.replace(b"amount", b"amounts"), key, size))
    after = stream.good()
    one_more: list[Message] = [(key, fitting(large, key, size + 1), 0, ())]
    with pytest.raises(MessageSizeTooLargeError):
        await aproduce(kafka, pipeline.events.topic, one_more, **REQUEST)
    for message in stream.messages:  # each in a record batch of its own
        await aproduce(kafka, pipeline.events.topic, [message], **REQUEST)
    await work_off(kafka, pipeline, replace(TESTED, unknown_fields="keep"))
    scored = {e["transaction_id"]: e for e in (await read_scored(kafka, pipeline)).events}
    assert sorted(scored) == sorted([name, "large", after])
    assert len(scored["large"]["extra"]["note"]) > 1_000_000
    [(facts, letter)] = await dead_letters_of(kafka, pipeline)
    assert (facts.error_code, facts.offset, facts.stub) == ("missing_field", bad, False)
    assert letter.value == stream.messages[bad][1]


async def test_a_dead_letter_that_kafka_refuses_becomes_a_stub_that_names_its_cause(
    kafka: str,
) -> None:
    pipeline, stream = own_pipeline(), Stream()
    # An input that takes more than the topic of dead letters does.
    await acreate_topics(
        kafka, {pipeline.events.topic: PARTITIONS}, {"max.message.bytes": str(8 * 1024 * 1024)}
    )
    await make_topics(kafka, own_pipeline(), PARTITIONS)  # the usual dead-letters, if first
    await make_topics(kafka, pipeline, PARTITIONS)
    before = stream.good()
    huge = stream.add(b"[" + b" " * 3_000_000 + b"1]", headers=(("from", b"atm"),))
    after = stream.good()
    scored = await run(kafka, pipeline, stream)
    assert sorted(scored) == sorted([before, after])
    [(facts, letter)] = await dead_letters_of(kafka, pipeline)
    assert (facts.offset, facts.stub, facts.original_bytes) == (huge, True, 3_000_003)
    assert letter.value == b"[" + b" " * 65_535
    assert facts.sha256 == hashlib.sha256(stream.messages[huge][1] or b"").hexdigest()
    assert facts.error_code == "not_an_object"


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd", "snappy"])
async def test_compressed_batches_are_read_like_others(kafka: str, codec: str) -> None:
    pipeline, stream = own_pipeline(), Stream()
    await make_topics(kafka, pipeline, PARTITIONS)
    good = [stream.good() for _ in range(50)]
    bad = stream.add(b"not json")
    good += [stream.good() for _ in range(50)]
    await aproduce(
        kafka, pipeline.events.topic, stream.messages, compression_type=codec, linger_ms=50
    )
    await work_off(kafka, pipeline)
    scored = await read_scored(kafka, pipeline)
    assert [event["transaction_id"] for event in scored.events] == good
    [(facts, letter)] = await dead_letters_of(kafka, pipeline)
    assert (facts.offset, facts.error_code, letter.value) == (bad, "not_json", b"not json")


@pytest.mark.parametrize("role", ["scored", "internal"])
async def test_an_output_that_kafka_refuses_becomes_a_dead_letter_and_its_batch_arrives(
    kafka: str, role: str
) -> None:
    """The topic takes small record batches only; one of 60 records does not fit at all."""
    pipeline, stream = own_pipeline(), Stream()
    topic = pipeline.scored if role == "scored" else f"{pipeline.name}.by-terminal"
    retention = {"retention.ms": "-1"}
    await acreate_topics(kafka, {topic: PARTITIONS}, {"max.message.bytes": "6000"} | retention)
    await make_topics(kafka, pipeline, PARTITIONS)
    good = [stream.good() for _ in range(40)]
    large = stream.add(payment(transaction_id="large", event_time=START_MS, note="x" * 9_000))
    good += [stream.good() for _ in range(19)]
    scored = await run(kafka, pipeline, stream, replace(TESTED, unknown_fields="keep"))
    assert sorted(scored) == sorted(good)
    order = [e["transaction_id"] for e in (await read_scored(kafka, pipeline)).events]
    assert order == good
    [(facts, letter)] = await dead_letters_of(kafka, pipeline)
    assert facts.error_code == "output_refused"
    assert topic in (facts.message or "")
    if role == "internal":
        assert (facts.topic, facts.offset, facts.stage) == (
            pipeline.events.topic,
            large,
            "customer",
        )
        assert letter.value == stream.messages[large][1]
    else:
        assert (facts.topic, facts.stage) == (f"{pipeline.name}.by-terminal", "terminal")
    report = await audit(Connection(bootstrap=kafka), pipeline, {}, lambda _read: None)
    assert (report.lost, report.scored, report.dead_letters) == (0, 59, 1)
