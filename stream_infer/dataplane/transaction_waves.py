"""Deliveries of a transaction, and how they get into it: in waves of record batches.

A wave is what several input partitions have to write at one time, in as few batches as it fits
into. Inside a transaction nothing depends on the answer to a batch before the next is sent: the
client keeps the order of each destination, and one batch that fails makes the whole transaction
void. So all batches of a wave are handed over at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.output_batch import Batch
from stream_infer.dataplane.outputs import Outputs, Refused, Replace, Writes
from stream_infer.dataplane.transaction_rules import Answer, Covers, answer_of


@dataclass(slots=True, eq=False)
class Delivery:
    """What one step of an input partition wants written, wholly in one transaction.

    covers   the input that it comes from, None for what comes from none
    replace  makes what is written in place of what the broker refuses for good
    answer   set when everything was acknowledged once
    writes   by destination, in order; more than one where it must be sent in pieces
    alone    destinations whose pieces each go in a batch of their own
    """

    covers: Covers | None
    replace: Replace
    answer: asyncio.Future[None]
    writes: dict[Partition, list[Writes]] = field(default_factory=dict)
    alone: set[Partition] = field(default_factory=set)

    def add(self, outputs: Outputs) -> None:
        """Append outputs."""
        for destination, writes in outputs.items():
            self.writes.setdefault(destination, []).append(writes)

    def records(self) -> int:
        """Return how many records it writes."""
        return sum(len(piece) for pieces in self.writes.values() for piece in pieces)


class WaveFailedError(Exception):
    """A wave did not get into its transaction, which must be aborted.

    cause    what was answered, the worst of it
    refused  each destination of each delivery that was in a batch refused for good
    """

    def __init__(self, cause: BaseException, refused: Iterable[tuple[Delivery, Partition]]) -> None:
        super().__init__(str(cause) or type(cause).__name__)
        self.cause = cause
        self.refused = list(refused)


async def send_wave(producer: Any, deliveries: Iterable[Delivery]) -> None:
    """Write deliveries into the open transaction; raise WaveFailedError unless all is in."""
    sent = [
        (destination, batch, await _submit(producer, batch, destination))
        for destination, batch in _build(producer, deliveries)
    ]
    if sent:
        # Waited for and not gathered: who cancels the wave must not cancel the client's futures.
        await asyncio.wait([answer for _, _, answer in sent])
    failed = [(d, batch, error) for d, batch, answer in sent if (error := _error(answer))]
    if not failed:
        return
    refused = {
        (delivery, destination): None
        for destination, batch, error in failed
        if answer_of(error) is Answer.REFUSED
        for delivery, _ in batch.shares
    }
    # After a refusal the client may fail other batches for the hole that it left.
    stops = [error for _, _, error in failed if answer_of(error) is Answer.STOP]
    causes = stops or [error for _, _, error in failed]
    raise WaveFailedError(causes[0], () if stops else refused) from causes[0]


def _build(
    producer: Any, deliveries: Iterable[Delivery]
) -> list[tuple[Partition, Batch[Delivery]]]:
    now_ms = int(time.time() * 1000)
    built: list[tuple[Partition, Batch[Delivery]]] = []
    filling: dict[Partition, Batch[Delivery]] = {}
    for delivery in deliveries:
        for destination, pieces in delivery.writes.items():
            for piece in pieces:
                if destination in delivery.alone:
                    filling.pop(destination, None)
                rest = piece
                while len(rest):
                    batch = filling.get(destination)
                    if batch is None or batch.full:
                        batch = filling[destination] = Batch(producer.create_batch())
                        built.append((destination, batch))
                    rest = _fill(batch, delivery, rest, now_ms)
                if destination in delivery.alone:
                    filling.pop(destination, None)
    return built


def _fill(batch: Batch[Delivery], delivery: Delivery, writes: Writes, now_ms: int) -> Writes:
    """Put as many of the first records into a batch as fit; return the others."""
    size = batch.size
    batch.fill(delivery, writes, now_ms)
    return writes.slice(batch.size - size, len(writes))


async def _submit(producer: Any, batch: Batch[Any], destination: Partition) -> asyncio.Future[Any]:
    answer: asyncio.Future[Any]
    try:
        answer = await producer.send_batch(
            batch.builder, destination.topic, partition=destination.partition
        )
    except Exception as error:  # noqa: BLE001 - looked at with the other answers
        answer = asyncio.get_running_loop().create_future()
        answer.set_exception(error)
    # A wave that is cancelled looks at none, and the loop complains of those nobody looked at.
    answer.add_done_callback(_error)
    return answer


def _error(answer: asyncio.Future[Any]) -> BaseException | None:
    return asyncio.CancelledError() if answer.cancelled() else answer.exception()


FreshProducer = Callable[[], Awaitable[Any]]
"""Returns a producer with an open, empty transaction; the one before it is aborted."""


async def isolate(
    delivery: Delivery, destination: Partition, fresh: FreshProducer
) -> list[Refused]:
    """Cut what a delivery writes to a destination into pieces that the broker takes.

    Each piece is tried in a transaction that is never committed, so the order is free and nothing
    is published. What is refused even alone is taken out of the delivery and returned.

    Raises what `fresh` raises, and WaveFailedError for an answer that stops the worker.
    """
    trial = _Trial(destination, fresh)
    taken: list[Writes] = []
    for piece in delivery.writes[destination]:
        await trial.split(piece, taken)
    delivery.writes[destination] = taken
    delivery.alone.add(destination)
    return trial.refused


class _Trial:
    """Tries pieces on the broker; one producer serves until it is broken by a refusal."""

    def __init__(self, destination: Partition, fresh: FreshProducer) -> None:
        self.refused: list[Refused] = []
        self._destination = destination
        self._fresh = fresh
        self._producer: Any = None

    async def split(self, writes: Writes, taken: list[Writes]) -> None:
        """Append the pieces of `writes` that are taken to `taken`, in order."""
        while len(writes):
            refusal, size = await self._try(writes)
            piece, writes = writes.slice(0, size), writes.slice(size, len(writes))
            if refusal is None:
                taken.append(piece)
            elif size == 1:
                self.refused.append((self._destination, piece, type(refusal).__name__))
            else:
                await self.split(piece.slice(0, size // 2), taken)
                await self.split(piece.slice(size // 2, size), taken)

    async def _try(self, writes: Writes) -> tuple[BaseException | None, int]:
        """Send as many first records as fit into a batch; return the refusal and how many."""
        while True:
            if self._producer is None:
                self._producer = await self._fresh()
            batch: Batch[None] = Batch(self._producer.create_batch())
            batch.fill(None, writes, int(time.time() * 1000))
            answer = await _submit(self._producer, batch, self._destination)
            await asyncio.wait([answer])
            error = _error(answer)
            if error is None:
                return None, batch.size
            self._producer = None
            kind = answer_of(error)
            if kind is Answer.STOP:
                raise WaveFailedError(error, ())
            if kind is Answer.REFUSED:
                return error, batch.size
