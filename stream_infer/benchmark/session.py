"""A session of measurements: one broker, prepared loads, runs of workers and baselines.

In every repeat the worker and each baseline run one after the other over the same
events, so that what else the machine does meets them alike.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from stream_infer.benchmark import pipelines
from stream_infer.benchmark.alerting import alerting_model, alerting_percent
from stream_infer.benchmark.cores import Cores, pinned
from stream_infer.benchmark.ground import WORKER, Ground
from stream_infer.benchmark.latency import Latency, Paced, PacedPayments, PacedReadings
from stream_infer.benchmark.load import Load, Show, reading_load, single_load, two_stage_load
from stream_infer.benchmark.models import ModelKind
from stream_infer.benchmark.paced import run_paced
from stream_infer.benchmark.scenarios import (
    Scenario,
    alerting_scenario,
    single_scenario,
    traffic_scenario,
    two_stage_scenario,
)
from stream_infer.benchmark.spread import Figure, collect
from stream_infer.benchmark.subject import BASELINES, Subject, help_command
from stream_infer.benchmark.throughput import Throughput, throughput, watch_outputs
from stream_infer.benchmark.turns import in_turns
from stream_infer.kafka.connection import Connection
from stream_infer.pipeline import Pipeline

HELP_RUNS = 10
LATENCY_RATE = 2_000
LATENCY_S = 20.0
CITY_RATE = 5_000
MEMORY_EVENTS_MIN = 1_000_000
LOOP = "aiokafka_loop"
BASELINE_SECONDS_MAX = {LOOP: 60.0, "plain_faust": 12.0}
"""A baseline's measured time: the slow ones are stopped before they have read everything."""


class Session:
    """Measures on one Kafka.

    connection  where Kafka is
    cores       where the subjects run
    folder      for pipeline files and logs of the subjects
    repeat      runs of each figure
    baselines   programs to run beside the worker, by name
    show        called with what is done, how many, of how many
    """

    def __init__(
        self,
        connection: Connection,
        cores: Cores,
        folder: Path,
        *,
        repeat: int,
        baselines: Sequence[str],
        show: Show,
    ) -> None:
        self._connection = connection
        self._cores = cores
        self._repeat = repeat
        self._baselines = [name for name in baselines if (BASELINES / f"{name}.py").exists()]
        self._show = show
        self._ground = Ground(connection, cores, folder)

    # -- throughput and memory ------------------------------------------------------------

    async def single(self, kind: ModelKind, events: int) -> list[Figure]:
        """Measure the one-stage pipeline."""
        return await self._throughput(single_scenario(kind), single_load(events))

    async def two_stage(self, events: int) -> list[Figure]:
        """Measure the fraud pipeline; the baselines beside it are of one stage, as a yardstick."""
        return await self._throughput(two_stage_scenario(), two_stage_load(events))

    async def traffic(self, readings: int) -> list[Figure]:
        """Measure the traffic pipeline; no baseline has anything like it."""
        load = reading_load(readings, pipelines.SENSORS_ROAD)
        return await self._throughput(traffic_scenario("road"), load, baselines=False)

    async def alerts(self, events: int) -> list[Figure]:
        """Measure the fraud pipeline with its alerts and, as its baseline, without them.

        About one event in a thousand alerts; how many did is a figure of its own.
        """
        load = two_stage_load(events)
        self._show("thresholds of this load", 0, None)
        ready = alerting_scenario()
        model = await asyncio.to_thread(alerting_model, load, ready.model, self._ground.folder)
        beside = replace(two_stage_scenario(), model=model)
        scenarios = {WORKER: replace(ready, model=model), "without": beside}
        runs: dict[str, list[Throughput]] = {name: [] for name in scenarios}
        shares: list[float | None] = []
        async with self._ground.source(ready) as source:
            await load.send(self._connection, source, self._show)
            for _ in range(self._repeat):
                for name, done in runs.items():
                    scenario = scenarios[name]
                    async with self._ground.subject(WORKER, scenario, source) as (subject, made):
                        done.append(await self._watched(name, scenario, subject, made, load))
                        if made.alerts is not None:
                            shares.append(await alerting_percent(self._connection, made, load))
        return [
            *throughput_figures(ready.name, runs, load.expected),
            collect(f"{ready.name}, events that alert", "%", shares),
        ]

    async def _throughput(
        self, scenario: Scenario, load: Load, *, baselines: bool = True
    ) -> list[Figure]:
        beside = self._baselines if baselines else []
        async with self._ground.source(scenario) as source:
            await load.send(self._connection, source, self._show)
            ways = {
                name: partial(self._run, name, scenario, source, load) for name in (WORKER, *beside)
            }
            runs = await in_turns(ways, self._repeat)
        return throughput_figures(scenario.name, runs, load.expected)

    async def _run(self, name: str, scenario: Scenario, source: str, load: Load) -> Throughput:
        async with self._ground.subject(name, scenario, source) as (subject, pipeline):
            return await self._watched(name, scenario, subject, pipeline, load)

    async def _watched(
        self, name: str, scenario: Scenario, subject: Subject, pipeline: Pipeline, load: Load
    ) -> Throughput:
        """Return the figures of a process that runs."""
        expected = load.expected
        samples = await watch_outputs(
            self._connection,
            pipeline.scored,
            expected,
            subject,
            seconds_max=BASELINE_SECONDS_MAX.get(name, 120.0),
            show=lambda done: self._show(f"{scenario.name}: {name}", done, expected),
        )
        # A baseline of one stage needs no first half: it is warm as soon as it runs.
        is_baseline = name in BASELINE_SECONDS_MAX
        return throughput(
            samples, min(0.2, load.measured) if is_baseline else scenario.measured(load)
        )

    # -- latency ----------------------------------------------------------------------------

    async def latency(self, scenario: Scenario, seconds: float = LATENCY_S) -> list[Figure]:
        """Measure at `LATENCY_RATE` events a second."""
        # A one-stage loop beside two stages would compare a wait with half of it.
        others = self._baselines if scenario.maker == "single_stage" else []
        transactions = single_load(int(seconds * LATENCY_RATE) + 1_000).transactions
        label_rate = LATENCY_RATE if scenario.maker.startswith("two_stage") else None
        rows = PacedPayments(transactions, label_rate)
        names = [WORKER, *(name for name in others if name == LOOP)]
        return await self._paced_figures(scenario, rows, LATENCY_RATE, names)

    async def city(self, seconds: float = LATENCY_S) -> list[Figure]:
        """Measure the traffic pipeline at `CITY_RATE` readings a second of a city's sensors."""
        load = reading_load(int(seconds * CITY_RATE) + 1_000, pipelines.SENSORS_CITY)
        rows = PacedReadings(load.readings, load.sensor_ids)
        return await self._paced_figures(traffic_scenario("city"), rows, CITY_RATE, [WORKER])

    async def _paced_figures(
        self, scenario: Scenario, rows: Paced, rate: int, names: Sequence[str]
    ) -> list[Figure]:
        ways = {name: partial(self._paced, name, scenario, rows, rate) for name in names}
        runs = await in_turns(ways, self._repeat)
        title = f"{scenario.name}, {rate:,}/s"
        figures = [
            collect(
                f"{title}, {label}",
                unit,
                [getattr(run, field) for run, _ in runs[WORKER]],
                {name: [getattr(run, field) for run, _ in runs[name]] for name in names[1:]},
            )
            for label, unit, field in (
                ("p50", "ms", "p50_ms"),
                ("p99", "ms", "p99_ms"),
                ("p99.9", "ms", "p999_ms"),
                ("no output in time", "events", "missing"),
            )
        ]
        return [
            *figures,
            collect(
                f"{title}, processor",
                "% of a core",
                [share for _, share in runs[WORKER]],
                {name: [share for _, share in runs[name]] for name in names[1:]},
            ),
        ]

    async def _paced(
        self, name: str, scenario: Scenario, rows: Paced, rate: int
    ) -> tuple[Latency, float | None]:
        """Return latencies, and the share of a core that the subject used, in percent."""
        self._show(f"{scenario.name}, {rate:,}/s: {name}", 0, None)
        run = await run_paced(self._ground, name, scenario, rows, rate)
        return run.appended, run.processor_percent

    # -- start ---------------------------------------------------------------------------------

    def help_time(self) -> list[Figure]:
        """Time ``stream-infer --help``: the median of `HELP_RUNS` processes, each repeat."""
        medians: list[float | None] = []
        for _ in range(self._repeat):
            self._show("--help", 0, None)
            times = []
            for _ in range(HELP_RUNS):
                started = time.perf_counter()
                with pinned(self._cores.subject):
                    subprocess.run(help_command(), check=True, capture_output=True)  # noqa: S603
                times.append((time.perf_counter() - started) * 1000)
            medians.append(statistics.median(times))
        return [collect("--help", "ms", medians)]


def throughput_figures(name: str, runs: dict[str, list[Throughput]], events: int) -> list[Figure]:
    """Return the figures of the worker beside those of the others; memory where enough was read."""

    def figure(label: str, unit: str, field: str, scale: float = 1.0) -> Figure:
        values = {
            subject: [
                None if getattr(run, field) is None else getattr(run, field) * scale for run in done
            ]
            for subject, done in runs.items()
        }
        worker = values.pop(WORKER)
        return collect(f"{name}{label}", unit, worker, values)

    figures = [
        figure("", "events/s", "events_per_s"),
        figure(", processor time", "µs/event", "processor_us"),
    ]
    if events >= MEMORY_EVENTS_MIN:
        figures.append(figure(f", most memory after {events:,}", "MiB", "rss_bytes_max", 2**-20))
    return figures
