"""The one producer of a transactional id that is alive, and how it is replaced.

A transaction that failed is never mended: its producer is dropped, and the start of the next one
of the same id makes Kafka abort, or finish, what the first had open. That also begins new sequence
numbers, in which a batch that was refused has left a hole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from stream_infer.dataplane.sender import SENDER_STOPPED
from stream_infer.dataplane.transaction_rules import FAILED, Answer, answer_of, stop_error
from stream_infer.errors import BrokerError
from stream_infer.kafka.coming_up import come_up, go_down
from stream_infer.kafka.transactions import GroupTransactionalProducer

log = structlog.get_logger("stream_infer.sender")

RETRY_SECONDS = 0.1
"""Before the second try; it doubles with each further one."""

RETRY_SECONDS_MAX = 1.0

ABORT_SECONDS_MAX = 2.0
"""For an abort that only lets readers go on sooner than the transaction's time-out would."""


class CurrentProducer:
    """Starts, replaces and ends the producer of one transactional id.

    name  of the stage, for logs
    make  makes a new, not yet started producer
    """

    def __init__(self, name: str, make: Callable[[], GroupTransactionalProducer]) -> None:
        self.transactional_id = ""
        self._name = name
        self._make = make
        self._producer: GroupTransactionalProducer | None = None
        self._starting = asyncio.Lock()
        self._in_transaction = False
        self._is_closed = False
        self._failures = 0

    async def started(self) -> GroupTransactionalProducer:
        """Return the producer, started; waits for the broker as long as it takes.

        Raises BrokerError when it may not be used, and when it was closed.
        """
        async with self._starting:
            while self._producer is None and not self._is_closed:
                self._producer = await self._try_to_start()
        if self._producer is None:
            raise self.stopped()
        return self._producer

    async def _try_to_start(self) -> GroupTransactionalProducer | None:
        producer = self._make()
        self.transactional_id = producer.transactional_id
        try:
            await come_up(producer.start())
        except Exception as error:
            await producer.drop()
            if answer_of(error) is Answer.STOP:
                raise stop_error(error, self.transactional_id) from error
            log.debug("producer_not_started", stage=self._name, cause=str(error))
            await self.back_off()
            return None
        except asyncio.CancelledError:
            # Revoked before it was up: without this its connections stay open.
            await go_down(producer.drop())
            raise
        return producer

    async def in_transaction(self) -> GroupTransactionalProducer:
        """Return the producer with an open transaction: the one that is open, or a new one."""
        producer = await self.started()
        if not self._in_transaction:
            await producer.begin_transaction()
            self._in_transaction = True
        return producer

    async def commit(self) -> None:
        """Commit what is open. After an error nobody knows, and the producer must be dropped."""
        producer = await self.started()
        # Nothing may abort from here on: it could be committed already.
        self._in_transaction = False
        await producer.commit_transaction()
        self._failures = 0

    async def back_off(self) -> None:
        """Wait after a failure, longer each time until something is committed."""
        pause_s = min(RETRY_SECONDS * 2**self._failures, RETRY_SECONDS_MAX)
        self._failures = min(self._failures + 1, 10)
        await asyncio.sleep(pause_s)

    async def fresh(self) -> GroupTransactionalProducer:
        """Return a new producer with an open, empty transaction; what was open is aborted."""
        while True:
            await self.drop()
            try:
                return await self.in_transaction()
            except FAILED as error:
                log.debug("transaction_not_begun", stage=self._name, cause=str(error))
                await self.back_off()

    async def drop(self) -> None:
        """Let go of the producer without ending its transaction."""
        producer, self._producer = self._producer, None
        self._in_transaction = False
        if producer is not None:
            await producer.drop()

    async def abort(self) -> None:
        """Abort what is open, within a bound; after that Kafka does it when its time is over."""
        if self._producer is not None and self._in_transaction:
            self._in_transaction = False
            with suppress(*FAILED):
                async with asyncio.timeout(ABORT_SECONDS_MAX):
                    await self._producer.abort_transaction()

    async def close(self) -> None:
        """End for good: abort what is open, and close."""
        self._is_closed = True
        await self.abort()
        await self.drop()

    def stopped(self) -> BrokerError:
        """Return the error for what was asked of a sender that is stopped."""
        return BrokerError(SENDER_STOPPED, f"The sender of {self._name} was stopped.")
