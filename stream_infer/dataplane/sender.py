"""Writes a partition's outputs and answers only when every one is safe, or refused.

`PartitionSender` owns the producer of one input partition. The order in which that
partition's outputs reach each destination is the order of its input, always: a stage
downstream ignores every origin offset that is not above the highest it has seen, so
one record written out of order would be lost for good. Three things keep it:

- outputs go in waves, at most one record batch per destination in each, and a wave is
  sent only when the one before it was acknowledged;
- the producer is idempotent, so the client repeats a batch until it is answered and
  never overtakes one;
- a batch that the broker refuses ends the producer (its sequence numbers now have a
  hole), and the rest is sent by a new one, halved until only the refused records
  remain. Those are returned to the caller, who makes dead letters of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.outputs import Outputs, Writes
from stream_infer.errors import BrokerError

log = structlog.get_logger("stream_infer.sender")

BATCH_BYTES_MAX = 900_000
"""Below the 1 MiB that brokers accept by default, with room for the batch's own header."""

RETRY_SECONDS = 0.5

REFUSED = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidMessageError,
    kafka_errors.InvalidTimestampError,
    kafka_errors.PolicyViolationError,
)
"""Answers that will not change however often the same bytes are sent."""

FORBIDDEN = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
)


class PartitionSender:
    """Sends the outputs of one input partition, in order.

    make_producer  makes a new, not yet started producer
    """

    def __init__(self, source: Partition, make_producer: Callable[[], AIOKafkaProducer]) -> None:
        self.source = source
        self._make_producer = make_producer
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Start the producer, waiting for the broker as long as it takes."""
        while self._producer is None:
            producer = self._make_producer()
            try:
                await producer.start()
            except kafka_errors.KafkaError as error:
                log.debug("producer_not_started", source=str(self.source), cause=str(error))
                await producer.stop()
                await asyncio.sleep(RETRY_SECONDS)
            except asyncio.CancelledError:
                # Revoked before it was up: without this its connections stay open.
                await asyncio.shield(producer.stop())
                raise
            else:
                self._producer = producer

    async def stop(self) -> None:
        """Stop the producer, all of whose batches were answered."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def abandon(self) -> None:
        """Stop without waiting for answers: what is under way may or may not be written.

        An idempotent producer repeats a batch for as long as it lives, and its `stop` waits
        for that, so what sends is closed first.
        """
        producer, self._producer = self._producer, None
        if producer is None:
            return
        with suppress(kafka_errors.KafkaError, TimeoutError):
            await asyncio.wait_for(producer._sender.close(), timeout=1)  # noqa: SLF001 - see above
        with suppress(kafka_errors.KafkaError, TimeoutError):
            await asyncio.wait_for(producer.stop(), timeout=1)

    async def deliver(self, outputs: Outputs) -> list[tuple[Partition, Writes, str]]:
        """Write everything; return what the broker refused, record by record.

        Returns only when each record was acknowledged or refused. Raises BrokerError
        when writing is forbidden.
        """
        refused: list[tuple[Partition, Writes, str]] = []
        pending = dict(outputs.items())
        while pending:
            pending = await self._send_wave(pending, refused)
        return refused

    async def _send_wave(
        self, pending: dict[Partition, Writes], refused: list[tuple[Partition, Writes, str]]
    ) -> dict[Partition, Writes]:
        """Send the first batch of each destination; return what is left to send."""
        producer = await self._started()
        sent: list[tuple[Partition, int, Any]] = []
        now_ms = int(time.time() * 1000)
        for destination, writes in pending.items():
            builder, taken = _build(producer, writes, now_ms)
            sent.append((destination, taken, await self._submit(producer, builder, destination)))
        answers = await asyncio.gather(*(future for _, _, future in sent), return_exceptions=True)
        left: dict[Partition, Writes] = {}
        broken = False
        for (destination, taken, _), answer in zip(sent, answers, strict=True):
            writes = pending[destination]
            if isinstance(answer, BaseException):
                broken = True
                rest = await self._settle(destination, writes, taken, answer, refused)
            else:
                rest = writes.slice(taken, len(writes)) if taken < len(writes) else None
            if rest is not None and len(rest):
                left[destination] = rest
        if broken:
            await self._replace_producer()
        return left

    async def _submit(
        self, producer: AIOKafkaProducer, builder: Any, destination: Partition
    ) -> Any:
        try:
            return await producer.send_batch(
                builder, destination.topic, partition=destination.partition
            )
        except kafka_errors.KafkaError as error:
            failed = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            return failed

    async def _settle(
        self,
        destination: Partition,
        writes: Writes,
        taken: int,
        answer: BaseException,
        refused: list[tuple[Partition, Writes, str]],
    ) -> Writes | None:
        """Decide what happens with a batch that was not acknowledged; return what to send again."""
        if isinstance(answer, FORBIDDEN):
            raise BrokerError(
                "write_forbidden",
                f"Kafka does not let this worker write to topic {destination.topic!r}.",
                "Grant the worker's user the WRITE right on that topic.",
                topic=destination.topic,
            ) from answer
        if isinstance(answer, REFUSED):
            return await self._isolate(destination, writes, taken, answer, refused)
        if not isinstance(answer, kafka_errors.KafkaError | asyncio.CancelledError):
            raise answer
        log.warning(
            "output_not_acknowledged",
            source=str(self.source),
            destination=str(destination),
            cause=str(answer),
        )
        await asyncio.sleep(RETRY_SECONDS)
        return writes

    async def _isolate(
        self,
        destination: Partition,
        writes: Writes,
        taken: int,
        answer: BaseException,
        refused: list[tuple[Partition, Writes, str]],
    ) -> Writes | None:
        """Find the records for which a batch was refused; everything before them is written."""
        batch, rest = writes.slice(0, taken), writes.slice(taken, len(writes))
        if taken == 1:
            log.warning("output_refused", destination=str(destination), cause=str(answer))
            refused.append((destination, batch, type(answer).__name__))
            return rest
        middle = taken // 2
        for half in (batch.slice(0, middle), batch.slice(middle, taken)):
            await self._replace_producer()
            one = Outputs()
            one.by_destination[destination] = half
            refused.extend(await self.deliver(one))
        return rest

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            await self.start()
        if self._producer is None:
            raise BrokerError("sender_stopped", f"The sender of {self.source} was stopped.")
        return self._producer

    async def _replace_producer(self) -> None:
        await self.stop()
        await self.start()


def _build(producer: AIOKafkaProducer, writes: Writes, now_ms: int) -> tuple[Any, int]:
    """Return a batch with as many of the first records as fit, and their number (at least 1)."""
    builder = producer.create_batch()
    # The compiled builder inside: the wrapper around it costs as much again for each record.
    append = builder._builder.append  # noqa: SLF001
    taken = 0
    for key, value, headers in zip(writes.keys, writes.values, writes.headers, strict=True):
        if append(taken, now_ms, key, value, headers) is None:
            break
        taken += 1
    builder._relative_offset = taken  # noqa: SLF001 - what the wrapper counts
    return builder, taken
