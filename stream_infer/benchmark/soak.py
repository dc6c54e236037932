"""Whether a worker's memory stays flat: minutes at half of what it can do, sampled and judged.

The load is endless and always of the same kind. Its event time runs so fast that the longest
window passes several times before the judgement begins: from then on as much leaves the state as
comes in, and what grows is a leak. Half load is half of the rate at which the worker has just
caught up, unless a rate is given. Kafka keeps only the newest part of the logs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stream_infer.benchmark.ground import WORKER, Ground
from stream_infer.benchmark.load import PaymentLoad, Show, single_load
from stream_infer.benchmark.scenarios import Scenario
from stream_infer.benchmark.spread import Figure, collect
from stream_infer.benchmark.subject import Subject
from stream_infer.benchmark.throughput import throughput, watch_outputs
from stream_infer.errors import GateFailedError
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.sending import TopicSender, topic_sender
from stream_infer.kafka.topics import committed_offsets
from stream_infer.pipeline import Pipeline
from stream_infer.simulators.fraud import DAY_MS, Transactions
from stream_infer.simulators.records import transaction_records

HORIZON_MS = 31 * DAY_MS
"""The longest window of the scenario, and a day."""
HORIZONS_BEFORE = 3
WARM_SHARE = 0.25
WARM_S_MIN = 20.0
CUSTOMERS = 20_000
PAST_EVENTS = 300_000
SAMPLE_S = 0.5
PIECE_S = 0.05
SHORT_LOGS = {"retention.bytes": str(256 << 20), "segment.bytes": str(64 << 20)}

BLOCKS = 12
"""Means of so many pieces of the time are compared: neighbouring samples tell the same twice."""
STUDENT_T = 2.228
"""0.975 quantile of Student's t with `BLOCKS` - 2 degrees of freedom."""
FLAT_SHARE = 0.02
"""Of the memory that may be gained in ten minutes and is still called flat."""
TEN_MINUTES_S = 600.0

Verdict = Literal["flat", "growing", "not told"]


@dataclass(frozen=True, slots=True)
class Slope:
    """A straight line through the memory of a process, bytes in ten minutes.

    best       of least squares
    low, high  95 % confidence
    level      mean memory, bytes
    """

    best: float
    low: float
    high: float
    level: float

    @property
    def verdict(self) -> Verdict:
        """Flat where even the high end is little; growing where even the low end is not."""
        allowed = FLAT_SHARE * self.level
        if self.high <= allowed:
            return "flat"
        return "growing" if self.low > allowed else "not told"


def slope_of(at_s: NDArray[np.float64], rss_bytes: NDArray[np.float64]) -> Slope:
    """Return the slope of samples with its confidence.

    at_s       (n,) float64, ascending; n at least `BLOCKS`
    rss_bytes  (n,) float64
    Source     ordinary least squares over the means of consecutive blocks, with Student's t
    """
    x = np.array([block.mean() for block in np.array_split(at_s, BLOCKS)]) / TEN_MINUTES_S
    y = np.array([block.mean() for block in np.array_split(rss_bytes, BLOCKS)])
    away = x - x.mean()
    best = float((away * y).sum() / (away**2).sum())
    rest = y - y.mean() - best * away
    error = float(np.sqrt((rest**2).sum() / (BLOCKS - 2) / (away**2).sum()))
    return Slope(best, best - STUDENT_T * error, best + STUDENT_T * error, float(y.mean()))


class EndlessPayments:
    """Payments without an end, whose event time runs at a speed of its own.

    rows   repeated for ever, with new ids
    start_ms  event time of the first
    """

    def __init__(self, rows: Transactions, start_ms: int) -> None:
        self._rows = rows
        self._start_ms = start_ms
        self._sent = 0

    def take(self, count: int, event_ms: int) -> Iterator[Transactions]:
        """Yield the next `count` payments, their event times spread over the next `event_ms`."""
        times = self._start_ms + np.arange(1, count + 1) * event_ms // max(1, count)
        self._start_ms += event_ms
        done = 0
        while done < count:
            at = self._sent % len(self._rows)
            piece = self._rows.take(slice(at, at + min(count - done, len(self._rows) - at)))
            numbers = np.arange(self._sent, self._sent + len(piece))
            yield replace(piece, number=numbers, event_time=times[done : done + len(piece)])
            done += len(piece)
            self._sent += len(piece)


class SoakSession:
    """Soaks one worker on one Kafka.

    connection  where Kafka is
    ground      makes topics and runs; its topics keep little (`SHORT_LOGS`)
    rate        events a second, None: half of what the worker can do
    show        called with what is done, how many, of how many
    """

    def __init__(
        self, connection: Connection, ground: Ground, *, rate: int | None, show: Show
    ) -> None:
        self._connection = connection
        self._ground = ground
        self._rate = rate
        self._show = show

    async def measure(self, scenario: Scenario, minutes: float) -> list[Figure]:
        """Return the slope of the worker's memory over so many minutes, and the verdict."""
        judged_s = 60.0 * minutes
        warm_s = max(WARM_S_MIN, WARM_SHARE * judged_s)
        event_ms_per_s = HORIZONS_BEFORE * HORIZON_MS / warm_s
        days_ms = int((warm_s + judged_s) * event_ms_per_s) + HORIZON_MS
        start_ms = time.time_ns() // 1_000_000 - days_ms
        past = single_load(PAST_EVENTS, CUSTOMERS).transactions
        payments = EndlessPayments(past, start_ms)
        async with self._ground.source(scenario) as source:
            [caught_up] = payments.take(PAST_EVENTS, HORIZON_MS // 2)
            load = PaymentLoad(caught_up, past.take(slice(0, 0)), 0.2)
            await load.send(self._connection, source, self._show)
            async with self._ground.subject(WORKER, scenario, source) as (subject, pipeline):
                rate = self._rate or await self._half(scenario, subject, pipeline, load)
                samples = await self._soak(
                    subject, source, payments, rate, event_ms_per_s, warm_s + judged_s
                )
                behind = await self._behind(pipeline, source)
        began_s = samples[0][0] + warm_s
        judged = np.array([each for each in samples if each[0] >= began_s])
        return soak_figures(scenario.name, rate, slope_of(judged[:, 0], judged[:, 1]), behind)

    async def _half(
        self, scenario: Scenario, subject: Subject, pipeline: Pipeline, load: PaymentLoad
    ) -> int:
        samples = await watch_outputs(
            self._connection,
            pipeline.scored,
            load.expected,
            subject,
            seconds_max=120.0,
            show=lambda done: self._show("how much it can do", done, load.expected),
        )
        whole = throughput(samples, scenario.measured(load)).events_per_s
        if whole is None:
            raise GateFailedError(
                "too_few_samples",
                "The worker caught up too quickly to say how much it can do.",
                "Give the events a second with --rate.",
            )
        return int(whole / 2)

    async def _soak(
        self,
        subject: Subject,
        source: str,
        payments: EndlessPayments,
        rate: int,
        event_ms_per_s: float,
        seconds: float,
    ) -> list[tuple[float, float]]:
        """Send for so long; return moments and the memory then, bytes."""
        samples: list[tuple[float, float]] = []
        async with topic_sender(self._connection, source) as sender:
            sending = asyncio.create_task(_send(sender, payments, rate, event_ms_per_s))
            try:
                began_s = time.monotonic()
                while (at_s := time.monotonic()) - began_s < seconds:
                    subject.check()
                    usage = subject.usage()
                    if usage is None:
                        raise GateFailedError(
                            "memory_not_told",
                            "This system does not tell how much memory a process has.",
                            "Run it on Linux.",
                        )
                    samples.append((at_s, float(usage.rss_bytes)))
                    self._show(f"soak at {rate:,}/s, seconds", int(at_s - began_s), int(seconds))
                    await asyncio.sleep(SAMPLE_S)
            finally:
                sending.cancel()
                [ended] = await asyncio.gather(sending, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended
        return samples

    async def _behind(self, pipeline: Pipeline, source: str) -> int:
        """Return how far the committed offsets are behind the ends of the input, right now."""
        committed = await committed_offsets(self._connection, pipeline.name)
        async with log_reader(self._connection, wait_ms=10) as reader:
            bounds = await reader.bounds(await reader.partitions(source))
        return sum(log.end - committed.get(tp, log.start) for tp, log in bounds.items())


async def _send(
    sender: TopicSender, payments: EndlessPayments, rate: int, event_ms_per_s: float
) -> None:
    began_s, sent = time.monotonic(), 0
    while True:
        await asyncio.sleep(PIECE_S)
        due = int((time.monotonic() - began_s) * rate) - sent
        for piece in payments.take(due, int(due / rate * event_ms_per_s)):
            await sender.send(piece.customer_ids, transaction_records(piece).values)
        await sender.flush()
        sent += due


def soak_figures(name: str, rate: int, slope: Slope, behind: int) -> list[Figure]:
    """Return the verdict and what it is made of."""
    mib = 2.0**-20
    title = f"{name}, soak at {rate:,}/s"
    return [
        collect(f"{title}: memory is {slope.verdict}", "MiB/10 min", [slope.best * mib]),
        collect(f"{title}: slope, low end of 95 %", "MiB/10 min", [slope.low * mib]),
        collect(f"{title}: slope, high end of 95 %", "MiB/10 min", [slope.high * mib]),
        collect(f"{title}: resident memory", "MiB", [slope.level * mib]),
        collect(f"{title}: not committed at the end", "events", [float(behind)]),
    ]
