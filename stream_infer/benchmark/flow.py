"""A steady flow of live payments, and for how long each partition gave a reader nothing.

Each payment is noted when it is sent and when a reader of committed records has what came of it.
Both by this process's clock, which is good to some hundredths of a second: what is measured with
it are pauses of seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import numpy as np
from numpy.typing import NDArray

from stream_infer.benchmark.latency import NAME_DECODER, PacedPayments
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import LogReader, TopicPartition, log_reader
from stream_infer.kafka.sending import TopicSender, topic_sender
from stream_infer.records import KeyPartitioner

TICK_S = 0.02

Times = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Flow:
    """Payments on their way through a pipeline.

    rows  in the order in which they are sent
    rate  payments a second

    sent_s     (n,) float64, when each was sent, by `time.monotonic`; NaN before that
    arrived_s  (n,) float64, when a reader first had its output; NaN before that
    """

    def __init__(self, rows: PacedPayments, rate: int) -> None:
        self.sent_s: Times = np.full(len(rows), np.nan)
        self.arrived_s: Times = np.full(len(rows), np.nan)
        self._rows = rows
        self.rows = rows.rows
        self._rate = rate
        self._places = {name: at for at, name in enumerate(rows.rows.ids)}

    @asynccontextmanager
    async def running(
        self, connection: Connection, source: str, scored: str
    ) -> AsyncIterator[None]:
        """Send and read while the block runs; its end raises what ended either before."""
        async with log_reader(connection) as reader, topic_sender(connection, source) as sender:
            ends = await reader.bounds(await reader.partitions(scored))
            positions = {tp: stretch.end for tp, stretch in ends.items()}
            tasks = [
                asyncio.create_task(self._read(reader, positions)),
                asyncio.create_task(self._send(sender)),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
        for each in ended:
            if isinstance(each, Exception):
                raise each

    async def _send(self, sender: TopicSender) -> None:
        began, sent = time.monotonic(), 0
        while sent < len(self._rows):
            await asyncio.sleep(TICK_S)
            due = min(len(self._rows), int((time.monotonic() - began) * self._rate))
            if due > sent:
                # Before Kafka can have them: one that was on its way at a kill is not of after it.
                self.sent_s[sent:due] = time.monotonic()
                [(_, records), *_] = self._rows.due(sent, due)
                keys = self.rows.take(slice(sent, due)).customer_ids
                await sender.send(keys, records.values)
                await sender.flush()
                sent = due

    async def _read(self, reader: LogReader, positions: Mapping[TopicPartition, int]) -> None:
        async for _, records in reader.follow(positions):
            now_s = time.monotonic()
            for record in records:
                at = self._places.get(NAME_DECODER.decode(record.value).name)
                if at is not None and np.isnan(self.arrived_s[at]):
                    self.arrived_s[at] = now_s


def passing(
    stages: Sequence[tuple[str, Sequence[str]]], partitions: int
) -> dict[tuple[str, int], Mask]:
    """Return which payments pass each partition of each stage, (n,) bool.

    stages  of each, the topic that it reads, and the key of each payment in it
    """
    partitioner = KeyPartitioner(partitions)
    found: dict[tuple[str, int], Mask] = {}
    for topic, keys in stages:
        placed = np.array([place for _, place in partitioner.place(keys)])
        for partition in range(partitions):
            found[topic, partition] = placed == partition
    return found


def first_output_s(flow: Flow, mask: Mask, moment_s: float) -> float | None:
    """Return how long after a moment the output of a payment was there that was sent after it.

    mask  the payments that count
    None when none has come.
    """
    after = flow.arrived_s[mask & (flow.sent_s > moment_s)]
    came = after[~np.isnan(after)]
    return float(came.min()) - moment_s if len(came) else None


def longest_pause_s(arrived_s: Times, begin_s: float, end_s: float) -> float:
    """Return the longest time between two moments in which nothing came.

    >>> longest_pause_s(np.array([1.0, 2.0, 5.0, np.nan]), 1.5, 6.0)
    3.0
    """
    within = np.sort(arrived_s[(arrived_s > begin_s) & (arrived_s < end_s)])
    return float(np.diff(np.concatenate([[begin_s], within, [end_s]])).max())
