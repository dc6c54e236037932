"""Writes a stage's outputs and answers only when every one is safe, or refused.

`StageSender` owns one producer of a stage in this worker. What its partitions have to
write at the same time goes out together, for a request costs more than the records in it;
where there is much to write, each partition has one of its own (`dataplane/senders`).
The order in which an input partition's outputs reach each destination is the order of that
input, always: a stage downstream ignores every origin offset that is not above the highest
it has seen, so one record written out of order would be lost for good. Four things keep it:

- each input partition has one delivery under way at a time;
- outputs go in waves, at most one record batch per destination in each, and a wave is
  sent only when the one before it was answered;
- the producer is idempotent, so the client repeats a batch until it is answered and
  never overtakes one;
- a batch that the broker refuses ends the producer (its sequence numbers now have a
  hole), and the rest is sent by a new one, halved until only the refused records
  remain. Those are returned to the caller, who makes dead letters of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.beat import Fed
from stream_infer.dataplane.handing_on import HandingOn
from stream_infer.dataplane.output_batch import Batch
from stream_infer.dataplane.outputs import Outputs, Refused, Writes
from stream_infer.errors import BrokerError
from stream_infer.kafka.coming_up import come_up

log = structlog.get_logger("stream_infer.sender")

BATCH_BYTES_MAX = 900_000
"""Below the 1 MiB that brokers accept by default, with room for the batch's own header."""

RETRY_SECONDS = 0.5

SENDER_STOPPED = "sender_stopped"
"""Code of the error for what was not answered when its sender was stopped."""

REFUSED = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidMessageError,
    kafka_errors.PolicyViolationError,
)
"""Answers that will not change however often the same bytes are sent."""

CLOCK_AHEAD = kafka_errors.InvalidTimestampError
"""What we write is stamped by our clock, and Kafka takes nothing from further ahead than an hour
(``message.timestamp.after.max.ms``). So it says nothing about the record."""

FORBIDDEN = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
)


@dataclass(slots=True, eq=False)
class _Delivery:
    """What one input partition wants written.

    pending  what is not answered yet, in order
    refused  what the broker will never take
    answer   set when nothing is pending
    """

    pending: dict[Partition, Writes]
    answer: asyncio.Future[None]
    refused: list[Refused] = field(default_factory=list)

    def settle(self, destination: Partition, count: int) -> None:
        """Take the first records of a destination off what is pending."""
        writes = self.pending.pop(destination)
        if count < len(writes):
            self.pending[destination] = writes.slice(count, len(writes))


class StageSender:
    """Sends the outputs of one stage.

    name           of the stage, for logs
    make_producer  makes a new, not yet started producer
    handing_on     told what was written; None: nobody is
    """

    def __init__(
        self,
        name: str,
        make_producer: Callable[[], AIOKafkaProducer],
        handing_on: HandingOn | None = None,
    ) -> None:
        self.name = name
        self._handing_on = handing_on or HandingOn(Fed())
        self._make_producer = make_producer
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._deliveries: list[_Delivery] = []
        self._sending: asyncio.Task[None] | None = None
        self._is_closed = False

    async def start(self) -> None:
        """Start the producer, waiting for the broker as long as it takes. Safe to repeat."""
        async with self._starting:
            while self._producer is None and not self._is_closed:
                self._producer = await self._try_to_start()

    async def _try_to_start(self) -> AIOKafkaProducer | None:
        producer = self._make_producer()
        try:
            await come_up(producer.start())
        except kafka_errors.KafkaError as error:
            log.debug("producer_not_started", stage=self.name, cause=str(error))
            await producer.stop()
            await asyncio.sleep(RETRY_SECONDS)
            return None
        except asyncio.CancelledError:
            # Revoked before it was up: without this its connections stay open.
            await asyncio.shield(producer.stop())
            raise
        return producer

    async def stop(self) -> None:
        """Stop for good; what is not answered is given up, what comes later refused."""
        self._is_closed = True
        if self._deliveries:
            # A tick, say: nobody's range waits for it, and Kafka may be away for hours.
            await self.abandon()
        else:
            await self._stop_producer()

    async def _stop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def abandon(self) -> None:
        """Stop for good without waiting for answers: what is under way may be written or not.

        An idempotent producer repeats a batch for as long as it lives, and its `stop` waits
        for that, so what sends is closed first.
        """
        self._is_closed = True
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending], timeout=1)
        producer, self._producer = self._producer, None
        if producer is None:
            return
        with suppress(kafka_errors.KafkaError, TimeoutError):
            await asyncio.wait_for(producer._sender.close(), timeout=1)  # noqa: SLF001 - see above
        with suppress(kafka_errors.KafkaError, TimeoutError):
            await asyncio.wait_for(producer.stop(), timeout=1)

    async def deliver(self, outputs: Outputs) -> list[Refused]:
        """Write everything; return what the broker refused, record by record.

        Returns only when each record was acknowledged or refused. Raises BrokerError
        when writing is forbidden, or the sender was stopped. Callers do not wait for each
        other, except that what comes while a wave is under way goes with the next one.
        """
        loop = asyncio.get_running_loop()
        delivery = _Delivery(dict(outputs.items()), loop.create_future())
        self._deliveries.append(delivery)
        if self._sending is None:
            self._sending = loop.create_task(self._send_all(), name=f"send-{self.name}")
        await delivery.answer
        return delivery.refused

    async def _send_all(self) -> None:
        try:
            while self._deliveries:
                await self._send_wave()
                self._answer_settled()
        except asyncio.CancelledError:
            self._fail(self._stopped())
            raise
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            self._fail(error)
        finally:
            self._sending = None

    def _fail(self, error: BaseException) -> None:
        for delivery in self._deliveries:
            if not delivery.answer.done():
                delivery.answer.set_exception(error)
        self._deliveries.clear()

    def _stopped(self) -> BrokerError:
        return BrokerError(SENDER_STOPPED, f"The sender of {self.name} was stopped.")

    def _answer_settled(self) -> None:
        waiting = []
        for delivery in self._deliveries:
            if delivery.answer.done():
                continue  # Its caller was cancelled.
            if delivery.pending:
                waiting.append(delivery)
            else:
                delivery.answer.set_result(None)
        self._deliveries = waiting

    async def _send_wave(self) -> None:
        """Send the first batch of each destination, and settle what is answered."""
        producer = await self._started()
        batches = self._build(producer)
        sizes = {destination: batch.size for destination, batch in batches.items()}
        with self._handing_on.wave(sizes) as is_handed_on:
            sent = [
                await self._submit(producer, batch, destination)
                for destination, batch in batches.items()
            ]
            answers = await asyncio.gather(*sent, return_exceptions=True)
            for (destination, batch), answer in zip(batches.items(), answers, strict=True):
                if is_handed_on and self._handing_on.wants(destination.topic):
                    pieces = _pieces(destination, batch)
                    self._handing_on.wrote(destination, batch.as_logged(answer, pieces))
        broken = False
        for (destination, batch), answer in zip(batches.items(), answers, strict=True):
            if not isinstance(answer, BaseException):
                _settle(destination, batch)
                continue
            broken = True
            if is_final(answer):
                await self._isolate(destination, _records(destination, batch), answer)
                _settle(destination, batch)
            else:
                self._check_worth_repeating(destination, answer)
        if broken:
            await asyncio.sleep(RETRY_SECONDS)
            await self._replace_producer()

    def _build(self, producer: AIOKafkaProducer) -> dict[Partition, Batch[_Delivery]]:
        now_ms = int(time.time() * 1000)
        batches: dict[Partition, Batch[_Delivery]] = {}
        for delivery in self._deliveries:
            for destination, writes in delivery.pending.items():
                batch = batches.get(destination)
                if batch is None:
                    batch = batches[destination] = Batch(producer.create_batch())
                if not batch.full:
                    batch.fill(delivery, writes, now_ms)
        return batches

    async def _submit(
        self, producer: AIOKafkaProducer, batch: Batch[_Delivery], destination: Partition
    ) -> asyncio.Future[Any]:
        try:
            sent: asyncio.Future[Any] = await producer.send_batch(
                batch.builder, destination.topic, partition=destination.partition
            )
        except kafka_errors.KafkaError as error:
            sent = asyncio.get_running_loop().create_future()
            sent.set_exception(error)
        return sent

    def _check_worth_repeating(self, destination: Partition, answer: BaseException) -> None:
        """Raise unless what was answered may be otherwise the next time."""
        if isinstance(answer, FORBIDDEN):
            raise BrokerError(
                "write_forbidden",
                f"Kafka does not let this worker write to topic {destination.topic!r}.",
                "Grant the worker's user the WRITE right on that topic.",
                topic=destination.topic,
            ) from answer
        if isinstance(answer, CLOCK_AHEAD):
            raise clock_ahead() from answer
        if not isinstance(answer, kafka_errors.KafkaError | asyncio.CancelledError):
            raise answer
        log.warning(
            "output_not_acknowledged",
            stage=self.name,
            destination=str(destination),
            cause=str(answer),
        )

    async def _isolate(
        self,
        destination: Partition,
        records: list[tuple[_Delivery, Writes]],
        answer: BaseException,
    ) -> None:
        """Find the records for which a batch was refused; the others are written, in order."""
        if len(records) == 1:
            [(delivery, writes)] = records
            log.warning("output_refused", destination=str(destination), cause=str(answer))
            delivery.refused.append((destination, writes, type(answer).__name__))
            return
        middle = len(records) // 2
        for half in (records[:middle], records[middle:]):
            refusal = await self._send_alone(destination, half)
            if refusal is not None:
                await self._isolate(destination, half, refusal)

    async def _send_alone(
        self, destination: Partition, records: list[tuple[_Delivery, Writes]]
    ) -> BaseException | None:
        """Send records that fit into a batch by a producer that is whole; return a refusal."""
        while True:
            await self._replace_producer()
            producer = await self._started()
            batch: Batch[_Delivery] = Batch(producer.create_batch())
            for delivery, writes in records:
                batch.fill(delivery, writes, int(time.time() * 1000))
            sent = await self._submit(producer, batch, destination)
            answers = await asyncio.gather(sent, return_exceptions=True)
            if not isinstance(answers[0], BaseException):
                return None
            answer: BaseException = answers[0]
            if is_final(answer):
                return answer
            self._check_worth_repeating(destination, answer)
            await asyncio.sleep(RETRY_SECONDS)

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            await self.start()
        if self._producer is None:
            raise self._stopped()
        return self._producer

    async def _replace_producer(self) -> None:
        await self._stop_producer()
        await self.start()


def is_final(answer: BaseException) -> bool:
    """Say whether the broker will never take the same bytes."""
    return isinstance(answer, REFUSED)


def clock_ahead() -> BrokerError:
    """Return the error of a worker whose clock Kafka does not believe."""
    return BrokerError(
        "clock_ahead",
        "Kafka refuses what this worker writes: its clock is too far ahead of Kafka's.",
        "Set the clock of this machine (NTP) and start the worker again; nothing is lost.",
    )


def _settle(destination: Partition, batch: Batch[_Delivery]) -> None:
    for delivery, count in batch.shares:
        delivery.settle(destination, count)


def _pieces(destination: Partition, batch: Batch[_Delivery]) -> Iterator[Writes]:
    """Yield the records of a batch, those of each delivery together."""
    for delivery, count in batch.shares:
        yield delivery.pending[destination].slice(0, count)


def _records(destination: Partition, batch: Batch[_Delivery]) -> list[tuple[_Delivery, Writes]]:
    """Return the records of a batch one by one, each with the delivery that it belongs to."""
    return [
        (delivery, delivery.pending[destination].slice(at, at + 1))
        for delivery, count in batch.shares
        for at in range(count)
    ]
