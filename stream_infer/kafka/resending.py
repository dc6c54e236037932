"""Send dead letters again, each at most once, however often the sending is broken off.

The progress is a compacted topic beside the dead letters, ``<dead letters>.replayed``: one
record for each dead letter that was sent, keyed by its position. It is written in the same
transaction as the record itself, so one is there exactly when the other is, for every reader
of committed records. A killed run leaves at most one open transaction, and the next run's
producer, whose transactional id is the same, aborts it before it looks at the progress.
Nothing is deleted, and no offset is committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors

from stream_infer.errors import ConflictError
from stream_infer.events.resend import ATTEMPTS_MAX, Choice, Refusal, Resend, decide_resend
from stream_infer.kafka.connection import Connection, topic_missing, translated
from stream_infer.kafka.deadletters import DeadLetter, read_letters
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.topic_specs import TopicSpec
from stream_infer.kafka.topics import create_specs, read_topics
from stream_infer.records.partitioner import murmur2

RECORDS_MAX = 200
"""In one transaction: readers of committed records wait for its end."""
STEPS_PER_SECOND = 5
"""A rate is kept in steps of so many a second."""
REQUEST_BYTES_MAX = 16 * 1024 * 1024
TRANSACTION_SECONDS_MAX = 60.0
ABORT_SECONDS_MAX = 5.0

Outcome = Literal["sent", "would_send", "skipped", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one dead letter.

    to       topic and partition, as ``TOPIC-PARTITION``
    attempt  the number of the attempt that was made with it
    code     why it was skipped or refused, None when it was sent
    """

    position: str
    original: str | None
    outcome: Outcome
    to: str | None = None
    attempt: int | None = None
    code: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resending:
    """How dead letters are sent again.

    topic         where they stand
    choice        which of them
    to            another topic than each one's original
    rate          records a second at most
    limit         how many are sent at most, None: all
    attempts_max  one that has failed so often is refused
    again         also those that were sent before
    """

    topic: str
    choice: Choice
    to: str | None = None
    rate: int = 1_000
    limit: int | None = None
    attempts_max: int = ATTEMPTS_MAX
    again: bool = False

    @property
    def progress_topic(self) -> str:
        """Name of the topic that tells which were sent."""
        return f"{self.topic}.replayed"


@dataclass(slots=True)
class _Prepared:
    letter: DeadLetter
    resend: Resend
    partition: int

    @property
    def to(self) -> str:
        return f"{self.resend.topic}-{self.partition}"

    def result(self, outcome: Outcome, refusal: Refusal | None = None) -> Result:
        return Result(
            position=self.letter.position,
            original=self.letter.original,
            outcome=outcome,
            to=self.to,
            attempt=self.resend.attempt,
            code=refusal.code if refusal else None,
            reason=refusal.reason if refusal else None,
        )


class _Mark(msgspec.Struct):
    """Value of a progress record; the time tells a topic that was made anew."""

    dead_letter_time: int
    to: str
    attempt: int


async def preview(connection: Connection, job: Resending, tell: Callable[[Result], None]) -> None:
    """Tell what `resend` would do with each chosen dead letter; nothing is written."""
    existing = await read_topics(connection, [job.progress_topic])
    sent = await _read_progress(connection, job) if existing else {}
    async for item in _chosen(connection, job, sent, tell):
        tell(item.result("would_send"))


async def resend(connection: Connection, job: Resending, tell: Callable[[Result], None]) -> None:
    """Send each chosen dead letter, and tell what became of it when Kafka has acknowledged it.

    Raises  NotFoundError when the topic does not exist; ConflictError ``replay_taken_over``
            when another run has begun; BrokerError when Kafka refuses
    """
    if not await read_topics(connection, [job.topic]):
        raise topic_missing(job.topic)
    await create_specs(connection, [_progress_spec(job)])
    async with translated(connection), _Writer.opened(connection, job) as writer:
        # After the start of the producer, which has ended what a run before it had left open.
        sent = await _read_progress(connection, job)
        batch: list[_Prepared] = []
        pace = Pace(job.rate, time.monotonic())
        async for item in _chosen(connection, job, sent, tell):
            batch.append(item)
            if len(batch) >= pace.step:
                await _send_batch(writer, batch, tell)
                await asyncio.sleep(pace.rest_s(len(batch), time.monotonic()))
                batch = []
        await _send_batch(writer, batch, tell)


async def _chosen(
    connection: Connection,
    job: Resending,
    sent: dict[str, int],
    tell: Callable[[Result], None],
) -> AsyncIterator[_Prepared]:
    """Return those that may be sent, in the order of the log; tell of those that may not."""
    partitions: dict[str, int | None] = {}
    count = 0
    async for letter in read_letters(connection, job.topic):
        facts, record = letter.facts, letter.record
        if not job.choice.takes(facts, record.timestamp, letter.position, letter.original):
            continue
        if not job.again and sent.get(letter.position) == record.timestamp:
            tell(_passed_over(letter, "skipped", "sent_before", "It was sent before."))
            continue
        decided = decide_resend(
            facts,
            record.headers,
            len(record.value or b""),
            dead_letters=job.topic,
            to=job.to,
            attempts_max=job.attempts_max,
        )
        if isinstance(decided, Refusal):
            tell(_passed_over(letter, "refused", decided.code, decided.reason))
            continue
        if decided.topic not in partitions:
            found = await read_topics(connection, [decided.topic])
            facts_of = found.get(decided.topic)
            partitions[decided.topic] = facts_of.partitions if facts_of else None
        number = partitions[decided.topic]
        if number is None:
            reason = f"Topic {decided.topic!r} does not exist."
            tell(_passed_over(letter, "refused", "topic_missing", reason))
            continue
        if job.limit is not None and count >= job.limit:
            return
        count += 1
        yield _Prepared(letter, decided, _partition(decided, letter, number))


def _passed_over(letter: DeadLetter, outcome: Outcome, code: str, reason: str) -> Result:
    return Result(
        position=letter.position,
        original=letter.original,
        outcome=outcome,
        code=code,
        reason=reason,
    )


def _partition(decided: Resend, letter: DeadLetter, partitions: int) -> int:
    """Return where the record goes: its own partition, in another topic that of its key."""
    if decided.partition is not None and decided.partition < partitions:
        return decided.partition
    key = letter.record.key
    if key is not None:
        return (murmur2(key) & 0x7FFFFFFF) % partitions
    return int(letter.record.partition) % partitions


async def _send_batch(
    writer: _Writer, batch: list[_Prepared], tell: Callable[[Result], None]
) -> None:
    """Send in one transaction; when a record is too large, each in one of its own."""
    if not batch:
        return
    if await writer.send(batch):
        for item in batch:
            tell(item.result("sent"))
        return
    for item in batch:
        if await writer.send([item]):
            tell(item.result("sent"))
        else:
            reason = f"Topic {item.resend.topic!r} refuses it as too large."
            tell(item.result("refused", Refusal(code="too_large", reason=reason)))


class Pace:
    """Keeps a rate: a step is sent at once, and its time is rested for; a second may be made up.

    rate  records a second
    now   a clock's seconds at the beginning
    """

    def __init__(self, rate: int, now: float) -> None:
        self._rate = rate
        self._free_at = now
        self.step = max(1, min(RECORDS_MAX, rate // STEPS_PER_SECOND))

    def rest_s(self, count: int, now: float) -> float:
        """Return the seconds to rest after `count` records that were sent by now."""
        self._free_at = max(self._free_at, now - 1.0) + count / self._rate
        return max(0.0, self._free_at - now)


@dataclass(slots=True)
class _Writer:
    """A transactional producer that is made anew after each failure: starting it aborts."""

    connection: Connection
    job: Resending
    producer: AIOKafkaProducer | None = None
    begun: bool = False

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, connection: Connection, job: Resending) -> AsyncIterator[_Writer]:
        writer = cls(connection, job)
        await writer._start()
        try:
            yield writer
        finally:
            await writer._drop()

    async def send(self, batch: list[_Prepared]) -> bool:
        """Send records and their marks in one transaction; return False if one is too large."""
        try:
            async with asyncio.timeout(TRANSACTION_SECONDS_MAX):
                await self._transaction(batch)
        except (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError):
            await self._drop()
            await self._start()
            return False
        except (kafka_errors.ProducerFenced, kafka_errors.InvalidProducerEpoch) as error:
            self.begun = False  # the other one's start has aborted it
            raise ConflictError(
                "replay_taken_over",
                "Another replay of these dead letters has begun, and this one ends.",
                "Let one run at a time; what was sent is not sent again.",
                topic=self.job.topic,
            ) from error
        except kafka_errors.KafkaError:
            self.begun = False  # after others the client refuses to abort: Kafka does, in time
            raise
        return True

    async def _transaction(self, batch: list[_Prepared]) -> None:
        if self.producer is None:
            await self._start()
        producer: Any = self.producer
        await producer.begin_transaction()
        self.begun = True
        now_ms = time.time_ns() // 1_000_000
        answers: list[asyncio.Future[Any]] = []
        for item in batch:
            answers += await self._hand_over(producer, item, now_ms)
        # The client's commit waits for its batches and does not look at what became of them.
        await asyncio.gather(*answers)
        await producer.commit_transaction()
        self.begun = False

    async def _hand_over(
        self, producer: Any, item: _Prepared, now_ms: int
    ) -> tuple[asyncio.Future[Any], asyncio.Future[Any]]:
        """Give a record and its mark to the client; return the futures of their answers."""
        record = item.letter.record
        mark = _Mark(record.timestamp, item.to, item.resend.attempt)
        sent = await producer.send(
            item.resend.topic,
            record.value,
            key=record.key,
            partition=item.partition,
            timestamp_ms=now_ms,
            headers=item.resend.headers,
        )
        # Else the loop complains of those that nobody came to look at, the first having failed.
        sent.add_done_callback(_look_at)
        marked = await producer.send(
            self.job.progress_topic,
            msgspec.json.encode(mark),
            key=item.letter.position.encode(),
            partition=0,
            timestamp_ms=now_ms,
        )
        marked.add_done_callback(_look_at)
        return sent, marked

    async def _start(self) -> None:
        producer = AIOKafkaProducer(
            **self.connection.client_options(),
            transactional_id=f"stream-infer.{self.job.progress_topic}",
            acks="all",
            max_request_size=REQUEST_BYTES_MAX,
        )
        self.producer = producer
        await producer.start()

    async def _drop(self) -> None:
        """Abort what is open, and close without waiting for what is unanswered.

        A clean close would wait for ever, and an open transaction holds back all readers of
        committed records of its topics until Kafka ends it, a minute later.
        """
        producer, self.producer = self.producer, None
        if producer is None:
            return
        if self.begun:
            self.begun = False
            with contextlib.suppress(TimeoutError, kafka_errors.KafkaError):  # Kafka will do it
                async with asyncio.timeout(ABORT_SECONDS_MAX):
                    await producer.abort_transaction()
        if producer._sender.sender_task is not None:  # noqa: SLF001 - nothing public
            with contextlib.suppress(kafka_errors.KafkaError):  # told where it happened
                await producer._sender.close()  # noqa: SLF001 - nothing public stops at once
        with contextlib.suppress(kafka_errors.KafkaError):
            await producer.stop()


def _look_at(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()


async def _read_progress(connection: Connection, job: Resending) -> dict[str, int]:
    """Return position -> time of the dead letter, of all that were sent."""
    sent: dict[str, int] = {}
    async with log_reader(connection) as reader:
        bounds = await reader.bounds(await reader.partitions(job.progress_topic))
        async for _tp, records in reader.read(bounds):
            for record in records:
                if record.key and record.value:
                    mark = msgspec.json.decode(record.value, type=_Mark)
                    sent[record.key.decode()] = mark.dead_letter_time
    return sent


def _progress_spec(job: Resending) -> TopicSpec:
    return TopicSpec(
        name=job.progress_topic,
        role="dead-letters",
        partitions=1,
        config={"cleanup.policy": "compact"},
    )
