"""Exactly once beside at least once: what it costs, and how long a reader waits for an output.

In each repeat both run one after the other over the same events, on the same core, so that what
else the machine does meets them alike.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from stream_infer.benchmark.cores import Cores
from stream_infer.benchmark.ground import WORKER, Ground
from stream_infer.benchmark.latency import PacedPayments
from stream_infer.benchmark.load import Load, Show, single_load
from stream_infer.benchmark.markers import MarkerFigures, marker_figures
from stream_infer.benchmark.paced import PacedRun, batches_of, pace_subject, run_paced
from stream_infer.benchmark.scenarios import Scenario
from stream_infer.benchmark.spread import Figure, collect
from stream_infer.benchmark.throughput import Throughput
from stream_infer.benchmark.turns import catch_up, in_turns
from stream_infer.kafka.connection import Connection
from stream_infer.settings.worker import Delivery

RATE = 2_000
BESIDE: Delivery = "at_least_once"
DELIVERIES: tuple[Delivery, ...] = get_args(Delivery)
MARKER_PARTITIONS = (4, 12, 48)
OFFSETS_TOPIC = "__consumer_offsets"


class DeliverySession:
    """Measures both deliveries on one Kafka.

    connection  where Kafka is
    cores       where the workers run
    folder      for pipeline files and logs of the processes
    repeat      runs of each figure
    show        called with what is done, how many, of how many
    """

    def __init__(
        self, connection: Connection, cores: Cores, folder: Path, *, repeat: int, show: Show
    ) -> None:
        self._connection = connection
        self._cores = cores
        self._folder = folder
        self._repeat = repeat
        self._show = show
        self._ground = Ground(connection, cores, folder)

    async def throughput(self, scenario: Scenario, load: Load) -> list[Figure]:
        """Measure events a second and an event's processor time over a whole catch-up."""
        async with self._ground.source(scenario) as source:
            await load.send(self._connection, source, self._show)
            runs = await in_turns(
                {
                    each: partial(self._catch_up, scenario, each, source, load)
                    for each in DELIVERIES
                },
                self._repeat,
            )
        return [
            collect(
                f"{scenario.name}, exactly once{label}",
                unit,
                [getattr(run, field) for run in runs["exactly_once"]],
                {BESIDE: [getattr(run, field) for run in runs[BESIDE]]},
            )
            for label, unit, field in (
                ("", "events/s", "events_per_s"),
                (", processor time", "µs/event", "processor_us"),
            )
        ]

    async def _catch_up(
        self, scenario: Scenario, delivery: Delivery, source: str, load: Load
    ) -> Throughput:
        ran = replace(scenario, delivery=delivery)
        return await catch_up(
            self._connection,
            self._ground.subject(WORKER, ran, source),
            ran,
            load,
            lambda done: self._show(f"{scenario.name}: {delivery}", done, load.expected),
        )

    async def latency(self, scenario: Scenario, seconds: float) -> list[Figure]:
        """Measure at `RATE` until a reader of committed records has each output."""
        rows = payments(scenario, seconds)
        ways = {each: partial(self._paced, scenario, each, rows) for each in DELIVERIES}
        runs = await in_turns(ways, self._repeat)
        return latency_figures(
            f"{scenario.name}, exactly once, {RATE:,}/s", runs["exactly_once"], runs[BESIDE]
        )

    async def _paced(self, scenario: Scenario, delivery: Delivery, rows: PacedPayments) -> PacedRun:
        self._show(f"{scenario.name}, {RATE:,}/s: {delivery}", 0, None)
        ran = replace(scenario, delivery=delivery)
        return await run_paced(self._ground, WORKER, ran, rows, RATE, has_reader=True)

    async def markers(self, scenario: Scenario, seconds: float) -> list[Figure]:
        """Measure markers a second and how long they hold readers, by the number of partitions."""
        figures: list[Figure] = []
        for partitions in MARKER_PARTITIONS:
            found = []
            for _ in range(self._repeat):
                self._show(f"{scenario.name}, {partitions} partitions", 0, None)
                found.append(await self._count_markers(scenario, seconds, partitions))
            title = f"{scenario.name}, {partitions} partitions, {RATE:,}/s"
            figures += [
                collect(f"{title}, {label}", unit, [getattr(each, field) for each in found])
                for label, unit, field in (
                    ("markers", "1/s", "markers_per_s"),
                    ("transactions", "1/s", "transactions_per_s"),
                    ("stable offset behind, p50", "ms", "delay_p50_ms"),
                    ("stable offset behind, p99", "ms", "delay_p99_ms"),
                    ("read, p50", "ms", "read_p50_ms"),
                    ("read, p99", "ms", "read_p99_ms"),
                    ("processor", "% of a core", "processor_percent"),
                )
            ]
        return figures

    async def _count_markers(
        self, scenario: Scenario, seconds: float, partitions: int
    ) -> MarkerFigures:
        ground = Ground(self._connection, self._cores, self._folder, partitions)
        ran = replace(scenario, delivery="exactly_once")
        async with (
            ground.source(ran) as source,
            ground.subject(WORKER, ran, source) as (subject, pipeline),
        ):
            rows = payments(ran, seconds)
            run = await pace_subject(ground, subject, pipeline, source, rows, RATE, has_reader=True)
            batches = await batches_of(
                self._connection, [*ground.written_by(pipeline), OFFSETS_TOPIC]
            )
        offsets = {tp: each for tp, each in batches.items() if tp.topic == OFFSETS_TOPIC}
        outputs = {tp: each for tp, each in batches.items() if tp.topic != OFFSETS_TOPIC}
        return marker_figures(list(outputs.values()), list(offsets.values()), run)


def payments(scenario: Scenario, seconds: float) -> PacedPayments:
    """Return payments for so long at `RATE`, with a label for each where the pipeline has them."""
    rows = single_load(int(seconds * RATE) + 1_000).transactions
    has_labels = scenario.maker.startswith("two_stage")
    return PacedPayments(rows, RATE if has_labels else None)


def latency_figures(title: str, once: list[PacedRun], beside: list[PacedRun]) -> list[Figure]:
    """Return what a reader of committed records waits for, and the processor's share."""

    def read(runs: list[PacedRun], field: str) -> list[float | None]:
        return [None if run.read is None else getattr(run.read, field) for run in runs]

    figures = [
        collect(f"{title}, read {label}", unit, read(once, field), {BESIDE: read(beside, field)})
        for label, unit, field in (
            ("p50", "ms", "p50_ms"),
            ("p99", "ms", "p99_ms"),
            ("p99.9", "ms", "p999_ms"),
            ("not in time", "events", "missing"),
        )
    ]
    return [
        *figures,
        collect(
            f"{title}, processor",
            "% of a core",
            [run.processor_percent for run in once],
            {BESIDE: [run.processor_percent for run in beside]},
        ),
    ]
