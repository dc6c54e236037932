"""The transactions in which dead letters are sent again, and the progress that they leave.

The progress is a compacted topic beside the dead letters, ``<dead letters>.replayed``: one
record for each dead letter that was sent, keyed by its position. It is written in the same
transaction as the record itself, so one is there exactly when the other is, for every reader
of committed records. A killed run leaves at most one open transaction, and the next run's
producer, whose transactional id is the same, aborts it before it looks at the progress.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors

from stream_infer.errors import ConflictError
from stream_infer.events.resend import Resend
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.deadletters import DeadLetter
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.topic_specs import TopicSpec

REQUEST_BYTES_MAX = 16 * 1024 * 1024
TRANSACTION_SECONDS_MAX = 60.0
ABORT_SECONDS_MAX = 5.0


def progress_topic(dead_letters: str) -> str:
    """Return the name of the topic that tells which dead letters were sent."""
    return f"{dead_letters}.replayed"


@dataclass(slots=True)
class Prepared:
    """A record that may be sent, and where it goes."""

    letter: DeadLetter
    resend: Resend
    partition: int

    @property
    def to(self) -> str:
        """Where it goes, as ``TOPIC-PARTITION``."""
        return f"{self.resend.topic}-{self.partition}"


class Mark(msgspec.Struct):
    """Value of a progress record; the time tells a topic that was made anew."""

    dead_letter_time: int
    to: str
    attempt: int


@dataclass(slots=True)
class ResendWriter:
    """A transactional producer that is made anew after each failure: starting it aborts."""

    connection: Connection
    dead_letters: str
    producer: AIOKafkaProducer | None = None
    begun: bool = False

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, connection: Connection, dead_letters: str) -> AsyncIterator[ResendWriter]:
        """Open a writer; what an earlier one of the same dead letters left open is aborted."""
        writer = cls(connection, dead_letters)
        await writer._start()
        try:
            yield writer
        finally:
            await writer._drop()

    async def send(self, batch: list[Prepared]) -> bool:
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
                topic=self.dead_letters,
            ) from error
        except kafka_errors.KafkaError:
            self.begun = False  # after others the client refuses to abort: Kafka does, in time
            raise
        return True

    async def _transaction(self, batch: list[Prepared]) -> None:
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
        # A commit that was begun cannot be taken back, only its answer may be lost.
        self.begun = False
        await producer.commit_transaction()

    async def _hand_over(
        self, producer: Any, item: Prepared, now_ms: int
    ) -> tuple[asyncio.Future[Any], asyncio.Future[Any]]:
        """Give a record and its mark to the client; return the futures of their answers."""
        record = item.letter.record
        mark = Mark(record.timestamp, item.to, item.resend.attempt)
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
            progress_topic(self.dead_letters),
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
            transactional_id=f"stream-infer.{progress_topic(self.dead_letters)}",
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


async def read_progress(connection: Connection, dead_letters: str) -> dict[str, int]:
    """Return position -> time of the dead letter, of all that were sent."""
    sent: dict[str, int] = {}
    async with log_reader(connection) as reader:
        bounds = await reader.bounds(await reader.partitions(progress_topic(dead_letters)))
        async for _tp, records in reader.read(bounds):
            for record in records:
                if record.key and record.value:
                    mark = msgspec.json.decode(record.value, type=Mark)
                    sent[record.key.decode()] = mark.dead_letter_time
    return sent


def progress_spec(dead_letters: str) -> TopicSpec:
    """Return the topic of the progress: one record a dead letter, kept for ever."""
    return TopicSpec(
        name=progress_topic(dead_letters),
        role="dead-letters",
        partitions=1,
        config={"cleanup.policy": "compact"},
    )
