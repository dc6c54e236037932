"""One run at a steady pace: its latencies, its processor time, and what it left in the logs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiokafka import TopicPartition

from stream_infer.benchmark.arrivals import (
    ENDS_WITHIN_S,
    Arrivals,
    arrival_times,
    arrivals_command,
    wait_until_ready,
)
from stream_infer.benchmark.batches import Batches, batch_log
from stream_infer.benchmark.ground import Ground
from stream_infer.benchmark.latency import (
    WARM_S,
    Latency,
    Paced,
    PacedProducer,
    append_order,
    append_times,
    count_records,
    latency,
    wait_for_outputs,
)
from stream_infer.benchmark.scenarios import Scenario
from stream_infer.benchmark.subject import Subject, Usage
from stream_infer.kafka.connection import Connection
from stream_infer.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class PacedRun:
    """One run.

    appended           from the append of an event to the append of its output
    read               to the moment when a reader of committed records had it, where one ran
    processor_percent  share of a core that the subject used, None where it is not known
    began_ms, ended_ms  when the events were sent at the pace, epoch ms
    """

    appended: Latency
    read: Latency | None
    processor_percent: float | None
    began_ms: int
    ended_ms: int


async def run_paced(
    ground: Ground,
    name: str,
    scenario: Scenario,
    rows: Paced,
    rate: int,
    *,
    has_reader: bool = False,
) -> PacedRun:
    """Send events at a pace to a subject, and return how long they took.

    name        of the subject: the worker or a baseline
    rate        events a second
    has_reader  whether a reader of committed records notes when it has each output
    """
    async with (
        ground.source(scenario) as source,
        ground.subject(name, scenario, source) as (subject, pipeline),
    ):
        return await pace_subject(
            ground, subject, pipeline, source, rows, rate, has_reader=has_reader
        )


async def pace_subject(
    ground: Ground,
    subject: Subject,
    pipeline: Pipeline,
    source: str,
    rows: Paced,
    rate: int,
    *,
    has_reader: bool,
) -> PacedRun:
    """Do the same with a subject that runs already."""
    connection, topic = ground.connection, pipeline.scored
    begun: list[tuple[float, Usage | None]] = []

    async def ready() -> bool:
        subject.check()
        if await count_records(connection, topic) == 0:
            return False
        begun.append((time.monotonic(), subject.usage()))
        return True

    async with _reader(ground, topic, has_reader=has_reader) as lines:
        sent_rows = await PacedProducer(connection, source).run(rows, rate, ready)
        share = _share(begun[-1], (time.monotonic(), subject.usage()))
        ended_ms = time.time_ns() // 1_000_000
        await wait_for_outputs(connection, topic, len(rows), subject)
    sent = await append_times(connection, source)
    order = await append_order(connection, source)
    written = await append_times(connection, topic)
    warm = len(rows) - sent_rows + int(min(WARM_S * rate, sent_rows / 4))
    measured = set(order[warm:])
    read = None
    if has_reader:
        had = await arrival_times(connection, topic, Arrivals("".join(lines)))
        read = latency(sent, had, measured)
    began_ms = sent[order[warm]] if warm < len(order) else ended_ms
    return PacedRun(latency(sent, written, measured), read, share, began_ms, ended_ms)


@contextlib.asynccontextmanager
async def _reader(ground: Ground, topic: str, *, has_reader: bool) -> AsyncIterator[list[str]]:
    """Run a reader beside the load; what it noted is in the list when the block has ended."""
    lines: list[str] = []
    if not has_reader:
        yield lines
        return
    log = ground.folder / f"{topic}.arrivals.log"
    command = arrivals_command(ground.connection.bootstrap, topic)
    with Subject("reader", command, ground.cores.others, log) as reader:
        await wait_until_ready(reader, log)
        yield lines
        await asyncio.sleep(ENDS_WITHIN_S)
        reader.check()
    lines.append(log.read_text())


def _share(begin: tuple[float, Usage | None], end: tuple[float, Usage | None]) -> float | None:
    """Return the processor time between two moments, in percent of a core."""
    if begin[1] is None or end[1] is None:
        return None
    return 100 * (end[1].processor_s - begin[1].processor_s) / (end[0] - begin[0])


async def batches_of(connection: Connection, topics: list[str]) -> dict[TopicPartition, Batches]:
    """Return the record batches that topics hold now."""
    async with batch_log(connection, topics) as log:
        await log.read_on()
        return log.batches
