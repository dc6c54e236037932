"""A steady load of payments in small pieces, for as long as somebody wants it.

Their event time runs quicker than the clock, so that windows are full after seconds and hold as
much from then on: what a worker's memory gains later is not its windows'.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np

from stream_infer.benchmark.load import single_load
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.sending import TopicSender, topic_sender
from stream_infer.simulators.fraud import DAY_MS, Transactions
from stream_infer.simulators.records import transaction_records

TICK_S = 0.005
ROWS = 100_000
"""Repeated with new ids."""
HORIZON_MS = 31 * DAY_MS
"""The longest window of the one-stage pipeline is 30 days, and what is late by a day is kept."""
MINUTES_MAX = 20


class SteadyLoad:
    """Payments at a pace; owns how many were sent.

    sender     to the input topic
    rows       repeated for ever
    rate       events a second
    horizon_s  seconds in which the event time passes what windows look back on
    """

    def __init__(
        self, sender: TopicSender, rows: Transactions, rate: int, horizon_s: float
    ) -> None:
        self._sender = sender
        self._rows = rows
        self._rate = rate
        self._step_ms = HORIZON_MS / (horizon_s * rate)
        # Far enough back that no event is ahead of its record, however long somebody looks on.
        back_ms = int(MINUTES_MAX * 60 / horizon_s + 1) * HORIZON_MS
        self._first_ms = max(0, time.time_ns() // 1_000_000 - back_ms)
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        self.sent = 0

    async def _run(self) -> None:
        began_s = time.monotonic()
        while not self._stop.is_set():
            await asyncio.sleep(TICK_S)
            due = int((time.monotonic() - began_s) * self._rate) - self.sent
            # What a slow moment left undone is made up for in pieces: one long piece would hold
            # the event loop.
            for _ in range(0, due, self._rate // 10):
                await self._send(min(due, self._rate // 10))
                due -= self._rate // 10

    async def _send(self, count: int) -> None:
        numbers = np.arange(self.sent, self.sent + count)
        rows = self._rows.take(numbers % len(self._rows))
        times = self._first_ms + (numbers * self._step_ms).astype(np.int64)
        rows = replace(rows, number=numbers, event_time=times)
        await self._sender.send(rows.customer_ids, transaction_records(rows).values)
        await self._sender.flush()
        self.sent += count

    async def end(self) -> None:
        """End it; raise what ended it before."""
        self._stop.set()
        await self._task


@contextlib.asynccontextmanager
async def steady_load(
    connection: Connection, topic: str, rate: int, horizon_s: float
) -> AsyncIterator[SteadyLoad]:
    """Send payments until the block ends."""
    rows = single_load(ROWS).transactions
    async with topic_sender(connection, topic) as sender:
        load = SteadyLoad(sender, rows, rate, horizon_s)
        try:
            yield load
        finally:
            await load.end()
