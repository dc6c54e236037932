"""One run of the demo, from the first topic to the audit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from stream_infer.audit.reconcile import audit
from stream_infer.audit.report import AuditReport
from stream_infer.demo.load import Load, Truth
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.topics import create_topics
from stream_infer.pipeline import Pipeline
from stream_infer.settings.worker import WorkerSettings
from stream_infer.worker import Worker

DRAIN_SECONDS_MAX = 60.0
FIRST_DAY_MS = 1_767_225_600_000
"""2026-01-01: the generated world has a date of its own, so that a seed gives the same run."""


@dataclass(slots=True)
class Live:
    """What can be seen while the demo runs."""

    sent: int = 0
    labels: int = 0
    scored: int = 0
    late: int = 0
    dead_letters: int = 0
    stages: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """What the demo ends with; `caught` counts frauds that were not approved."""

    seconds: float
    live: Live
    report: AuditReport
    frauds: int
    caught: int
    decisions: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """Return the form that ``--json`` prints."""
        return {
            "seconds": round(self.seconds, 1),
            "events": self.live.sent,
            "labels": self.live.labels,
            "scored": self.report.scored,
            "dead_letters": self.report.dead_letters,
            "late": self.live.late,
            "lost": self.report.lost,
            "scored_twice": self.report.scored_twice,
            "frauds": self.frauds,
            "frauds_caught": self.caught,
            "decisions": self.decisions,
            "audit": self.report.verdict,
        }


async def run_demo(
    pipeline: Pipeline,
    connection: Connection,
    *,
    seconds: float,
    rate: int,
    seed: int,
    show: Callable[[Live], None],
) -> Summary:
    """Run load and worker for so many seconds, let the pipeline drain, and audit it."""
    await create_topics(connection, pipeline)
    load = Load(pipeline, connection, seed=seed, rate=rate, start_ms=FIRST_DAY_MS)
    worker = Worker(pipeline, connection, WorkerSettings())
    stop_load, stop_worker = asyncio.Event(), asyncio.Event()
    working = asyncio.create_task(worker.run(stop_worker))
    loading = asyncio.create_task(load.run(stop_load))
    begun = time.monotonic()
    live = Live()
    try:
        await _watch(worker, load.truth, live, show, working, until=begun + seconds)
        stop_load.set()
        await loading
        await _watch(
            worker,
            load.truth,
            live,
            show,
            working,
            until=time.monotonic() + DRAIN_SECONDS_MAX,
            drained=True,
        )
    finally:
        stop_load.set()
        stop_worker.set()
        await asyncio.gather(loading, working)
    report = await audit(connection, pipeline, {}, lambda _read: None)
    decisions, caught = await _decisions(pipeline, connection, load.truth)
    return Summary(
        time.monotonic() - begun, live, report, len(load.truth.frauds), caught, decisions
    )


async def _watch(
    worker: Worker,
    truth: Truth,
    live: Live,
    show: Callable[[Live], None],
    working: asyncio.Task[None],
    *,
    until: float,
    drained: bool = False,
) -> None:
    """Show what happens until then, or until everything that was sent came out."""
    while time.monotonic() < until:
        await asyncio.wait([working], timeout=0.25)
        if working.done():
            working.result()
            return
        _read(worker, truth, live)
        show(live)
        if drained and live.scored + live.dead_letters >= live.sent:
            return


def _read(worker: Worker, truth: Truth, live: Live) -> None:
    live.sent, live.labels = truth.sent, truth.labels
    if worker.app is None:
        return
    counters = [task.counters for task in worker.app.plane.tasks.values()]
    live.stages = len(counters)
    live.scored = sum(each.scored for each in counters)
    live.late = sum(each.late for each in counters)
    live.dead_letters = sum(each.dead_letters for each in counters)


async def _decisions(
    pipeline: Pipeline, connection: Connection, truth: Truth
) -> tuple[dict[str, int], int]:
    """Count the decisions, and the frauds among those that were not approved."""
    counts: dict[str, int] = {}
    caught = 0
    async with log_reader(connection) as reader:
        stretches = await reader.bounds(await reader.partitions(pipeline.scored))
        async for _partition, records in reader.read(stretches):
            for record in records:
                event = orjson.loads(record.value)
                decision = event["decision"]
                counts[decision] = counts.get(decision, 0) + 1
                caught += decision != "approve" and event[pipeline.events.id] in truth.frauds
    return counts, caught
