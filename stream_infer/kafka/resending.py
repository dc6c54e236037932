"""Send dead letters again, each at most once, however often the sending is broken off.

What was sent is known from `resend_transactions`. Nothing is deleted, and no offset is
committed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

from stream_infer.events.resend import ATTEMPTS_MAX, Choice, Refusal, Resend, decide_resend
from stream_infer.kafka.connection import Connection, topic_missing, translated
from stream_infer.kafka.deadletters import DeadLetter, read_letters
from stream_infer.kafka.resend_transactions import (
    Prepared,
    ResendWriter,
    progress_spec,
    progress_topic,
    read_progress,
)
from stream_infer.kafka.topics import create_specs, read_topics
from stream_infer.records.partitioner import murmur2

RECORDS_MAX = 200
"""In one transaction: readers of committed records wait for its end."""
STEPS_PER_SECOND = 5
"""A rate is kept in steps of so many a second."""

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


async def preview(connection: Connection, job: Resending, tell: Callable[[Result], None]) -> None:
    """Tell what `resend` would do with each chosen dead letter; nothing is written."""
    existing = await read_topics(connection, [progress_topic(job.topic)])
    sent = await read_progress(connection, job.topic) if existing else {}
    async for item in _chosen(connection, job, sent, tell):
        tell(_result(item, "would_send"))


async def resend(connection: Connection, job: Resending, tell: Callable[[Result], None]) -> None:
    """Send each chosen dead letter, and tell what became of it when Kafka has acknowledged it.

    Raises  NotFoundError when the topic does not exist; ConflictError ``replay_taken_over``
            when another run has begun; BrokerError when Kafka refuses
    """
    if not await read_topics(connection, [job.topic]):
        raise topic_missing(job.topic)
    await create_specs(connection, [progress_spec(job.topic)])
    async with translated(connection), ResendWriter.opened(connection, job.topic) as writer:
        # After the start of the producer, which has ended what a run before it had left open.
        sent = await read_progress(connection, job.topic)
        batch: list[Prepared] = []
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
) -> AsyncIterator[Prepared]:
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
        yield Prepared(letter, decided, _partition(decided, letter, number))


def _result(item: Prepared, outcome: Outcome, refusal: Refusal | None = None) -> Result:
    return Result(
        position=item.letter.position,
        original=item.letter.original,
        outcome=outcome,
        to=item.to,
        attempt=item.resend.attempt,
        code=refusal.code if refusal else None,
        reason=refusal.reason if refusal else None,
    )


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
    writer: ResendWriter, batch: list[Prepared], tell: Callable[[Result], None]
) -> None:
    """Send in one transaction; when a record is too large, each in one of its own."""
    if not batch:
        return
    if await writer.send(batch):
        for item in batch:
            tell(_result(item, "sent"))
        return
    for item in batch:
        if await writer.send([item]):
            tell(_result(item, "sent"))
        else:
            reason = f"Topic {item.resend.topic!r} refuses it as too large."
            tell(_result(item, "refused", Refusal(code="too_large", reason=reason)))


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
