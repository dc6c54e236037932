"""Dead letters go back once, as they came, however often a replay is begun or broken off."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass
from io import StringIO

import pytest
from aiokafka import AIOKafkaProducer

from stream_infer.errors import ConflictError
from stream_infer.events.deadletter import (
    Header,
    dead_letter_headers,
    original_headers,
    stub_headers,
)
from stream_infer.events.resend import Choice
from stream_infer.events.topic_names import DEAD_LETTERS
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.deadletters import DeadLetter, read_letters
from stream_infer.kafka.resending import Pace, Resending, Result, resend
from support.commands import Ran, run_command
from support.kafka import (
    acreate_topics,
    aproduce,
    aread_all,
    create_topics,
    produce,
    read_all,
    unique,
)
from support.pipelines import own_pipeline
from support.worker import make_topics, serving, until

pytestmark = pytest.mark.kafka

CRASH_BEFORE_COMMIT = """
import os, sys
from aiokafka import AIOKafkaProducer
from stream_infer.cli import main
commit = AIOKafkaProducer.commit_transaction
commits = []
async def crash(self):
    commits.append(1)
    if len(commits) == 2:
        await self.flush()
        os._exit(77)
    await commit(self)
AIOKafkaProducer.commit_transaction = crash
main(sys.argv[1:])
"""


@dataclass(frozen=True)
class Subject:
    """A dead-letter topic of two partitions, and the topic of three its records came from."""

    kafka: str
    dead: str
    source: str

    def add(self, offset: int, *, partition: int = 0, **changes: str) -> None:
        produce(
            self.kafka,
            self.dead,
            [(b"k%d" % offset, b"v%d" % offset, partition, self.headers(offset, **changes))],
        )

    def headers(self, offset: int, **changes: str) -> list[tuple[str, bytes]]:
        facts = {"topic": self.source, "code": "bad_time", "stage": "customer_id"} | changes
        made = dead_letter_headers(
            [("trace", b"t%d" % offset)],
            partition=offset % 3,
            offset=offset,
            timestamp_ms=1_700_000_000_000,
            consumer_group="fraud",
            message="It is no time.",
            **facts,  # type: ignore[arg-type]  # all of them text, as the values are
        )
        return [(name, value or b"") for name, value in made]

    def words(self, *more: str) -> list[str]:
        place = ["--bootstrap", self.kafka, "--topic", self.dead]
        return ["dlq", "replay", *place, "--json", *more]

    def replay(self, *more: str) -> Replayed:
        return Replayed(run_command(*self.words("--yes", *more)))

    def arrived(self) -> list[tuple[int, bytes | None, bytes | None, list[Header]]]:
        asyncio.run(self.end_transactions())
        return [
            (record.partition, record.key, record.value, list(record.headers))
            for record in read_all(self.kafka, self.source)
        ]

    async def end_transactions(self) -> None:
        """Wait for the markers: Kafka acknowledges a commit before they are in the logs."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.kafka, transactional_id=f"stream-infer.{self.dead}.replayed"
        )
        await producer.start()
        await producer.stop()


class Replayed:
    """What a replay said: a line for each dead letter, the summary last."""

    def __init__(self, ran: Ran) -> None:
        lines = [json.loads(line) for line in ran.out.splitlines()]
        self.code = ran.code
        self.summary = lines.pop()["summary"]
        self.outcome = {line["original"]: line["outcome"] for line in lines}
        self.why = {line["original"]: line["code"] for line in lines}


@pytest.fixture
def subject(kafka: str) -> Subject:
    found = Subject(kafka, unique("dead"), unique("source"))
    create_topics(kafka, {found.dead: 2, found.source: 3})
    return found


def test_key_value_headers_and_partition_are_the_original_s(subject: Subject) -> None:
    for offset in range(4):
        subject.add(offset, partition=offset % 2)
    replayed = subject.replay()
    assert (replayed.code, replayed.summary) == (0, {"sent": 4, "skipped": 0, "refused": 0})
    # By partition; the two partitions of the dead letters are read in either order.
    assert sorted(subject.arrived(), key=lambda record: record[:2]) == [
        (n % 3, b"k%d" % n, b"v%d" % n, [("trace", b"t%d" % n), ("si-attempt", b"2")])
        for n in (0, 3, 1, 2)
    ]
    assert len(read_all(subject.kafka, subject.dead)) == 4


def test_what_was_sent_is_not_sent_again_whatever_is_chosen(subject: Subject) -> None:
    subject.add(0)
    subject.add(1, code="truncated")
    assert subject.replay("--code", "truncated").outcome == {f"{subject.source}-1-1": "sent"}
    again = subject.replay()
    assert again.outcome == {f"{subject.source}-0-0": "sent", f"{subject.source}-1-1": "skipped"}
    assert subject.replay().summary["sent"] == 0
    assert len(subject.arrived()) == 2
    assert subject.replay("--again").summary["sent"] == 2


def test_a_dry_run_says_the_same_and_writes_nothing(subject: Subject) -> None:
    subject.add(0)
    dry = run_command(*subject.words("--dry-run"))
    assert json.loads(dry.out.splitlines()[0])["outcome"] == "would_send"
    assert json.loads(dry.out.splitlines()[0])["to"] == f"{subject.source}-0"
    assert subject.arrived() == []
    assert subject.replay().summary["sent"] == 1


def test_a_replay_that_dies_between_sending_and_commit_doubles_nothing(subject: Subject) -> None:
    count = 12
    for offset in range(count):
        subject.add(offset)
    # Steps of two records; the process ends in the second, when its records are in the log.
    died = subprocess.run(
        [sys.executable, "-c", CRASH_BEFORE_COMMIT, *subject.words("--yes", "--rate", "10")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert died.returncode == 77
    assert len([line for line in died.stdout.splitlines() if '"sent"' in line]) == 2
    uncommitted = read_all(subject.kafka, subject.source, "read_uncommitted")
    assert len(uncommitted) == 4
    rest = subject.replay()
    assert rest.summary == {"sent": count - 2, "skipped": 2, "refused": 0}
    assert sorted(value or b"" for _, _, value, _ in subject.arrived()) == sorted(
        b"v%d" % offset for offset in range(count)
    )


def test_what_may_not_go_back_is_refused_each_with_its_reason(subject: Subject) -> None:
    stub = [*subject.headers(5), *[(n, v or b"") for n, v in stub_headers(b"x" * 100)]]
    tried = [("si-attempt", b"3"), *subject.headers(6)]
    produce(subject.kafka, subject.dead, [(b"k", b"x", 0, stub), (b"k", b"v", 0, tried)])
    subject.add(7, topic=unique("gone"))
    subject.add(8)
    replayed = subject.replay()
    assert replayed.code == 6
    assert set(replayed.why.values()) == {"stub", "attempts_exhausted", "topic_missing", None}
    assert replayed.summary == {"sent": 1, "skipped": 0, "refused": 3}
    assert len(subject.arrived()) == 1


def test_a_record_that_is_too_large_is_refused_and_the_others_of_its_step_go(kafka: str) -> None:
    subject = Subject(kafka, unique("dead"), unique("source"))
    create_topics(kafka, {subject.dead: 1})
    create_topics(kafka, {subject.source: 3}, {"max.message.bytes": "2000"})
    subject.add(0)
    produce(kafka, subject.dead, [(b"k", b"x" * 5_000, 0, subject.headers(1))])
    subject.add(2)
    replayed = subject.replay()
    assert replayed.why[f"{subject.source}-1-1"] == "too_large"
    assert replayed.summary == {"sent": 2, "skipped": 0, "refused": 1}
    assert len(subject.arrived()) == 2


def test_another_topic_takes_them_by_key(subject: Subject) -> None:
    subject.add(0)
    other = unique("repaired")
    create_topics(subject.kafka, {other: 4})
    assert subject.replay("--to", other).summary["sent"] == 1
    assert subject.arrived() == []
    [record] = read_all(subject.kafka, other)
    assert (record.key, record.value) == (b"k0", b"v0")


def test_position_time_and_limit_choose(subject: Subject) -> None:
    for offset in range(3):
        subject.add(offset)
    assert subject.replay("--until", "2026-01-01T00:00:00Z").outcome == {}
    assert subject.replay(f"{subject.source}-1-1").summary["sent"] == 1
    assert subject.replay("--since", "1h", "--limit", "1").summary["sent"] == 1
    assert subject.replay().summary["sent"] == 1


def test_without_a_person_to_ask_it_must_be_told_yes(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    ran = run_command(*subject.words())
    assert ran.code == 2
    assert ran.json["error"]["code"] == "confirmation_needed"


class Typed(StringIO):
    """What a person types on a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_person_is_told_how_many_go_where_and_asked(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject.add(0)
    for answer, code, sent in (("n\n", 130, 0), ("y\n", 0, 1)):
        monkeypatch.setattr("sys.stdin", Typed(answer))
        ran = run_command(*subject.words())
        assert f"Send 1 to {subject.source}?" in ran.err
        assert (ran.code, len(subject.arrived())) == (code, sent)


@pytest.mark.parametrize(("rate", "step"), [(1, 1), (4, 1), (10, 2), (1_000, 200), (9_999, 200)])
def test_a_rate_is_kept_in_steps_and_a_slow_second_is_made_up_for(rate: int, step: int) -> None:
    pace = Pace(rate, now=100.0)
    assert pace.step == step
    # Each step sent in no time: rests add up to the time that the rate gives.
    now = 100.0
    for _ in range(10):
        now += pace.rest_s(step, now)
    assert now == pytest.approx(100.0 + 10 * step / rate)
    # Kafka took a minute: no more than a second of it is caught up with.
    now += 60.0
    assert pace.rest_s(10 * rate, now) == pytest.approx(9.0)


async def test_of_two_replays_the_later_one_ends_the_earlier_and_nothing_is_doubled(
    kafka: str,
) -> None:
    subject = Subject(kafka, unique("dead"), unique("source"))
    await acreate_topics(kafka, {subject.dead: 1, subject.source: 3})
    count = 8
    await aproduce(
        kafka, subject.dead, [(b"k", b"v%d" % n, 0, subject.headers(n)) for n in range(count)]
    )
    connection = Connection(bootstrap=kafka)
    # Steps of one record, a second apart: the first is sent when the other replay begins.
    slow = Resending(topic=subject.dead, choice=Choice(), rate=1)
    earlier: list[Result] = []
    later: list[Result] = []
    first = asyncio.create_task(resend(connection, slow, earlier.append))
    await until(lambda: bool(earlier))
    await resend(connection, dataclasses.replace(slow, rate=1_000), later.append)
    with pytest.raises(ConflictError) as raised:
        await first
    assert raised.value.code == "replay_taken_over"
    sent = [result.position for result in (*earlier, *later) if result.outcome == "sent"]
    assert len(sent) == len(set(sent)) == count
    await subject.end_transactions()
    values = [record.value or b"" for record in await aread_all(kafka, subject.source)]
    assert sorted(values) == sorted(b"v%d" % n for n in range(count))


def test_no_topic_is_exit_3_and_leaves_none_behind(kafka: str) -> None:
    ran = run_command(*Subject(kafka, unique("none"), "any").words("--yes"))
    assert ran.code == 3
    assert run_command("dlq", "replay", "nonsense", "--yes").code == 2
    assert run_command("dlq", "replay", "--since", "yesterday", "--yes").code == 2


async def test_a_record_that_nothing_mends_comes_back_until_its_attempts_are_used_up(
    kafka: str,
) -> None:
    pipeline = own_pipeline()
    await make_topics(kafka, pipeline, 1)
    source = pipeline.events.topic
    await aproduce(kafka, source, [(b"c", b'{"no":"event"}', 0, [("trace", b"t")])])

    async def letters() -> list[DeadLetter]:
        found = [letter async for letter in read_letters(Connection(bootstrap=kafka), DEAD_LETTERS)]
        return [letter for letter in found if letter.facts.topic == source]

    words = ["dlq", "replay", "--bootstrap", kafka, "--yes", "--json"]
    ran = Ran(0, "", "")
    async with serving(kafka, pipeline) as worker:
        for count in (1, 2, 3):

            async def so_many(count: int = count) -> bool:
                return len(await letters()) == count

            await until(so_many, alive=worker.alive)
            place = str((await letters())[-1].original)
            ran = await asyncio.to_thread(run_command, *words, place)
            assert ran.code == (6 if count == 3 else 0), ran.out
    last = (await letters())[-1]
    assert "attempts_exhausted" in ran.out
    assert (last.record.key, last.record.value) == (b"c", b'{"no":"event"}')
    assert original_headers(last.record.headers) == [("trace", b"t"), ("si-attempt", b"3")]
