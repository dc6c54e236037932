"""How throughput grows with processes and cores: two on two against one on one.

Both runs fold the same input, and Kafka and whoever watches have the same other cores in both,
so that nothing but the number of processes and their cores differs. What Kafka used stands
beside each figure: two processes are no faster than a Kafka that has no core left.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from stream_infer.benchmark.cores import Cores
from stream_infer.benchmark.ground import WORKER, Ground
from stream_infer.benchmark.load import Load, Show
from stream_infer.benchmark.scenarios import Scenario
from stream_infer.benchmark.spread import Figure, collect
from stream_infer.benchmark.subject import processor_seconds
from stream_infer.benchmark.throughput import Throughput, throughput, watch_outputs
from stream_infer.benchmark.turns import in_turns
from stream_infer.errors import GateFailedError
from stream_infer.kafka.connection import Connection

SECONDS_MAX = 120.0
ONE = "one"
"""Name of the run that two processes are compared with."""

TOGETHER = {"group.initial.rebalance.delay.ms": "3000"}
"""Setting of the Kafka to measure on, and Kafka's default: two processes that start together begin
together. Without it the first one begins with all partitions, and gives half of them up at once."""


class ScaleSession:
    """Measures one and two processes on one Kafka.

    connection  where Kafka is
    cores       those of two processes, and the others
    folder      for pipeline files and logs of the processes
    repeat      runs of each figure
    broker_pid  of Kafka's process, None when it is not on this machine
    show        called with what is done, how many, of how many
    Raises      GateFailedError ``cores_too_few``: two processes, and one core for everything else
    """

    def __init__(
        self,
        connection: Connection,
        cores: Cores,
        folder: Path,
        *,
        repeat: int,
        broker_pid: int | None,
        show: Show,
    ) -> None:
        if cores.subject is None or len(cores.subject) < 2:
            raise GateFailedError(
                "cores_too_few",
                "Two processes on two cores, with Kafka on others, need three cores that can be"
                " chosen; nothing was measured.",
                "Run it on Linux with four cores or more.",
            )
        last = frozenset([max(cores.subject)])
        self._connection = connection
        self._repeat = repeat
        self._broker_pid = broker_pid
        self._show = show
        self._cores = {1: last, 2: cores.subject}
        self._ground = Ground(connection, cores, folder)

    async def measure(self, scenario: Scenario, load: Load) -> list[Figure]:
        """Return events a second, their processor time, and what Kafka used, of two and of one."""
        async with self._ground.source(scenario) as source:
            await load.send(self._connection, source, self._show)
            ways = {number: partial(self._run, number, scenario, source, load) for number in (1, 2)}
            runs = await in_turns(ways, self._repeat)
        return scale_figures(scenario.name, runs[1], runs[2])

    async def _run(
        self, processes: int, scenario: Scenario, source: str, load: Load
    ) -> tuple[Throughput, float | None]:
        scenario = replace(scenario, processes=processes)
        broker: list[tuple[float, float | None]] = []

        def note(outputs: int) -> None:
            broker.append((time.monotonic(), self._broker_seconds()))
            self._show(f"{scenario.name}: {processes}", outputs, load.expected)

        cores = self._cores[processes]
        async with self._ground.subject(WORKER, scenario, source, cores) as (subject, made):
            samples = await watch_outputs(
                self._connection,
                made.scored,
                load.expected,
                subject,
                seconds_max=SECONDS_MAX,
                show=note,
            )
        # From the last sample before any output: a short run has one sample with outputs.
        begun = next(at for at, sample in enumerate(samples) if sample.outputs)
        return throughput(samples, scenario.measured(load)), cores_used(broker[max(0, begun - 1) :])

    def _broker_seconds(self) -> float | None:
        return None if self._broker_pid is None else processor_seconds(self._broker_pid)


def cores_used(samples: list[tuple[float, float | None]]) -> float | None:
    """Return how many cores a process kept busy between the first and the last sample.

    samples  moment and processor time of the process until then, both in seconds

    >>> cores_used([(10.0, 3.0), (11.0, 4.0), (14.0, 9.0)])
    1.5
    """
    if len(samples) < 2 or samples[0][1] is None or samples[-1][1] is None:
        return None
    return (samples[-1][1] - samples[0][1]) / (samples[-1][0] - samples[0][0])


def scale_figures(
    name: str,
    one: list[tuple[Throughput, float | None]],
    two: list[tuple[Throughput, float | None]],
) -> list[Figure]:
    """Return the figures of two processes beside those of one."""
    return [
        collect(
            f"{name}, two processes",
            "events/s",
            [run.events_per_s for run, _ in two],
            {ONE: [run.events_per_s for run, _ in one]},
        ),
        collect(
            f"{name}, processor time",
            "µs/event",
            [run.processor_us for run, _ in two],
            {ONE: [run.processor_us for run, _ in one]},
        ),
        collect(
            f"{name}, Kafka",
            "cores busy",
            [used for _, used in two],
            {ONE: [used for _, used in one]},
        ),
    ]
