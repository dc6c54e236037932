"""What exchanging, watching and shadowing models costs: each beside the same without, in one run.

reloads     two models of 100 trees are exchanged under a steady load: waits during a reload beside
            those without one, and memory after the last beside that after the tenth
promotions  from the promotion until every partition's outputs of two workers name the version
shadow      catching up with a second model beside, and without one
guard       catching up on a registry, with evidence and guard, and on a model's folder without
"""

from __future__ import annotations

import asyncio
import re
import time
from functools import partial
from pathlib import Path

from stream_infer.benchmark.cores import Cores
from stream_infer.benchmark.ground import WORKER, Ground
from stream_infer.benchmark.latency import count_records, wait_for_outputs
from stream_infer.benchmark.load import PaymentLoad, Show, single_load, two_stage_load
from stream_infer.benchmark.models import bench_model
from stream_infer.benchmark.models_ground import (
    VERSIONS,
    Beside,
    ModelsGround,
    on_cores,
    registry_scenario,
    shipped_ground,
    trees_ground,
)
from stream_infer.benchmark.models_load import steady_load
from stream_infer.benchmark.models_times import (
    Exchanged,
    exchanged,
    read_inputs,
    read_outputs,
    waits_of,
)
from stream_infer.benchmark.scenarios import Scenario, two_stage_scenario
from stream_infer.benchmark.session import throughput_figures
from stream_infer.benchmark.spread import Figure, collect
from stream_infer.benchmark.subject import Subject
from stream_infer.benchmark.throughput import Throughput
from stream_infer.benchmark.turns import SECONDS_MAX, catch_up, in_turns
from stream_infer.errors import GateFailedError
from stream_infer.kafka.connection import Connection
from stream_infer.pipeline import Pipeline

RATE = 20_000
PROMOTIONS_RATE = 2_000
PROMOTIONS = 10
GAP_S = 0.3
"""From when a version serves to the next exchange."""
SETTLE_S = 0.1
WARM_HORIZONS = 2.0
HORIZON_S = 12.0
"""In which the load's event time passes all windows: after twice that a state grows no more."""
LOOK_S = 0.02
SERVED_S_MAX = 30.0
STARTS_S_MAX = 90.0

Way = tuple[Beside, bool]
"""What scores beside, and whether the worker is on the registry."""


class ModelsSession:
    """Measures on one Kafka.

    connection  where Kafka is
    cores       where the processes run
    folder      for registry, files and logs
    repeat      runs of each figure
    reloads     exchanges of a run
    rate        events a second while versions are exchanged
    horizon_s   seconds in which the event time passes all windows
    show        called with what is done, how many, of how many
    """

    def __init__(
        self,
        connection: Connection,
        cores: Cores,
        folder: Path,
        *,
        repeat: int,
        reloads: int,
        rate: int,
        show: Show,
        horizon_s: float = HORIZON_S,
    ) -> None:
        self._connection = connection
        self._both = cores.subject
        self._one = None if cores.subject is None else frozenset([max(cores.subject)])
        self._repeat = repeat
        self._reloads = reloads
        self._rate = rate
        self._horizon_s = horizon_s
        self._show = show
        self._ground = Ground(connection, cores, folder)
        self._models = trees_ground(self._ground)
        self._scenario = registry_scenario(bench_model("trees"))

    # -- exchanges ---------------------------------------------------------------------------

    async def reloads(self) -> list[Figure]:
        """Exchange versions under load, and return what that did to waits and memory."""
        title = f"{self._reloads} reloads at {self._rate:,}/s"
        found = [
            await self._exchanged(title, self._reloads, self._rate, self._scenario)
            for _ in range(self._repeat)
        ]
        during, without = ([getattr(e, n) for e in found] for n in ("during_ms", "without_ms"))
        last, tenth = ([getattr(e, n) for e in found] for n in ("rss_last", "rss_tenth"))
        return [
            collect(f"{title}, p99 during a reload", "ms", during, {"without": without}),
            collect(f"{title}, memory after the last", "MiB", last, {"after the tenth": tenth}),
            collect(f"{title}, not loaded", "errors", [e.errors for e in found]),
            collect(f"{title}, lost", "events", [e.lost for e in found]),
            collect(f"{title}, doubled", "events", [e.doubled for e in found]),
            collect(f"{title}, seen in every partition", "reloads", [e.seen for e in found]),
            collect(f"{title}, told until served", "ms", [e.served_p50_ms for e in found]),
        ]

    async def promotions(self) -> list[Figure]:
        """Return how long two workers take from a promotion to its outputs in every partition."""
        scenario = on_cores(self._scenario, 2)
        title = "promotion until both of two workers serve"
        found = [
            await self._exchanged(title, min(PROMOTIONS, self._reloads), PROMOTIONS_RATE, scenario)
            for _ in range(self._repeat)
        ]
        return [
            collect(f"{title}, median", "ms", [each.served_p50_ms for each in found]),
            collect(f"{title}, longest", "ms", [each.served_max_ms for each in found]),
            collect(f"{title}, with its verification", "ms", [each.whole_ms for each in found]),
        ]

    async def _exchanged(
        self, title: str, reloads: int, rate: int, scenario: Scenario
    ) -> Exchanged:
        cores = self._both if scenario.processes else self._one
        await asyncio.to_thread(self._models.put_beside, "nothing")
        async with (
            self._ground.source(scenario) as source,
            self._models.worker(scenario, source, cores, registry=True) as (subject, pipeline),
            steady_load(self._connection, source, rate, self._horizon_s) as load,
        ):
            await self._started(subject, pipeline)
            await asyncio.sleep(WARM_HORIZONS * self._horizon_s)
            began_ms = _now_ms()
            told, rss, whole = await self._exchange(title, reloads, subject, pipeline, scenario)
            await asyncio.sleep(1.0)
            ended_ms = _now_ms()
            await load.end()
            await wait_for_outputs(
                self._connection, pipeline.scored, load.sent, subject, timeout_s=SECONDS_MAX
            )
            outputs = await read_outputs(self._connection, pipeline.scored, source, VERSIONS)
            waits = waits_of(await read_inputs(self._connection, source), outputs)
            span_ms = (began_ms, ended_ms)
            return exchanged(told, outputs, waits, span_ms, rss, whole, subject.log, VERSIONS)

    async def _exchange(
        self, title: str, reloads: int, subject: Subject, pipeline: Pipeline, scenario: Scenario
    ) -> tuple[list[tuple[int, int]], list[int], list[float]]:
        """Return what was told when, memory after each exchange, and how long each took."""
        told: list[tuple[int, int]] = []
        rss: list[int] = []
        whole: list[float] = []
        for done in range(1, reloads + 1):
            version = done % 2
            began_s = time.monotonic()
            number = await asyncio.to_thread(self._models.promote, VERSIONS[version])
            promoted_s = time.monotonic() - began_s
            # Verifying it took time from the load, which shall not count as a reload's doing.
            await asyncio.sleep(SETTLE_S)
            began_s = time.monotonic()
            told.append((version, _now_ms()))
            await self._models.tell(self._connection, pipeline)
            await _served(subject, number, scenario.processes or 1)
            whole.append(1_000 * (promoted_s + time.monotonic() - began_s))
            await asyncio.sleep(GAP_S)
            usage = subject.usage()
            rss.append(0 if usage is None else usage.rss_bytes)
            self._show(title, done, reloads)
        return told, rss, whole

    async def _started(self, subject: Subject, pipeline: Pipeline) -> None:
        """Wait for the first output."""
        until = time.monotonic() + STARTS_S_MAX
        while await count_records(self._connection, pipeline.scored) == 0:
            subject.check()
            if time.monotonic() > until:
                raise GateFailedError(
                    "no_outputs",
                    f"Nothing was written within {STARTS_S_MAX:.0f} s.",
                    "Look at the logs of the process; run the benchmark on a quieter machine.",
                )
            await asyncio.sleep(LOOK_S)

    # -- catching up ---------------------------------------------------------------------------

    async def shadow(self, events: int) -> list[Figure]:
        """Measure catching up with a shadow and without: what ships, and a shadow of 100 trees."""
        ways: dict[str, Way] = {WORKER: ("shadow", True), "without": ("nothing", True)}
        shipped, two = shipped_ground(self._ground), two_stage_scenario()
        figures = await self._beside(
            "two stages, with a shadow", shipped, two, two_stage_load(events), ways
        )
        return figures + await self._beside(
            f"{self._scenario.name}, with a shadow of as many",
            self._models,
            self._scenario,
            single_load(events),
            ways,
        )

    async def guard(self, events: int) -> list[Figure]:
        """Measure catching up with evidence and guard, and without a registry."""
        return await self._beside(
            f"{self._scenario.name}, with evidence and guard",
            self._models,
            self._scenario,
            single_load(events),
            {WORKER: ("nothing", True), "without": ("nothing", False)},
        )

    async def _beside(
        self,
        title: str,
        models: ModelsGround,
        scenario: Scenario,
        load: PaymentLoad,
        ways: dict[str, Way],
    ) -> list[Figure]:
        async with self._ground.source(scenario) as source:

            async def run(name: str) -> Throughput:
                beside, registry = ways[name]
                await asyncio.to_thread(models.put_beside, beside)
                self._show(f"{title}: {name}", 0, None)
                return await catch_up(
                    self._connection,
                    models.worker(scenario, source, self._one, registry=registry),
                    scenario,
                    load,
                    lambda done: self._show("caught up", done, load.expected),
                )

            await load.send(self._connection, source, self._show)
            runs = await in_turns({name: partial(run, name) for name in ways}, self._repeat)
        return throughput_figures(title, runs, load.expected)


async def _served(subject: Subject, number: int, workers: int) -> None:
    """Wait until so many workers say that they serve what an entry of the history says."""
    said = re.compile(rf"models_serve\b.*\bnumber={number}\b")
    until = time.monotonic() + SERVED_S_MAX
    while len(said.findall(subject.log)) < workers:
        subject.check()
        if time.monotonic() > until:
            raise GateFailedError(
                "not_served",
                f"Entry {number} of the history was not served within {SERVED_S_MAX:.0f} s.",
                "Look at the logs of the process (--keep); run it on a quieter machine.",
            )
        await asyncio.sleep(LOOK_S)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
