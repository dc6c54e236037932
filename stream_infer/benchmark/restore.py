"""How fast a state is folded again from its log: the silent replay of a restore, by one core.

The log is replayed three times in each repeat, each time with one more of what a replay does, so
that the differences say where the time goes:

    read     records come from Kafka, and nothing is done with them
    decode   they become columns
    fold     the columns go into the state; this is the replay that a worker does

It runs in this process, on the core of the subject, through the data plane's own parts. Kafka has
the other cores and the log in memory.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from aiokafka import TopicPartition

from stream_infer.benchmark.cores import Cores, pinned
from stream_infer.benchmark.ground import WORKER, Ground
from stream_infer.benchmark.load import Load, Show
from stream_infer.benchmark.scenarios import Scenario
from stream_infer.benchmark.spread import Figure, collect
from stream_infer.benchmark.throughput import watch_outputs
from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.build import Parts, build_stages, stage_topics
from stream_infer.dataplane.replaying import LogReplayer
from stream_infer.dataplane.stage import Stage
from stream_infer.dataplane.together import StageWork
from stream_infer.features.plan import compile_plan
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.topics import pipeline_topics, read_topics
from stream_infer.pipeline import Pipeline
from stream_infer.scoring.binding import bind_model
from stream_infer.settings.worker import WorkerSettings

GOAL_PER_S = 500_000
STEPS = ("read", "decode", "fold")
SECONDS_MAX = 120.0


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay of all partitions of a log, one after the other.

    events      that were read
    wall_s      how long it took
    processor_s  of this process
    """

    events: int
    wall_s: float
    processor_s: float


class RestoreSession:
    """Measures replays on one Kafka.

    connection  where Kafka is
    cores       the subject's is the one that replays
    ground      makes topics and runs
    repeat      replays of each kind
    show        called with what is done, how many, of how many
    """

    def __init__(
        self, connection: Connection, cores: Cores, ground: Ground, *, repeat: int, show: Show
    ) -> None:
        self._connection = connection
        self._cores = cores
        self._ground = ground
        self._repeat = repeat
        self._show = show

    async def measure(self, scenario: Scenario, load: Load) -> list[Figure]:
        """Return events a second of the replay of a pipeline's last log, and where they go."""
        async with self._ground.source(scenario) as source:
            await load.send(self._connection, source, self._show)
            async with self._ground.subject(WORKER, scenario, source) as (subject, pipeline):
                # It writes the internal log, and then has nothing more to do.
                await watch_outputs(
                    self._connection,
                    pipeline.scored,
                    load.expected,
                    subject,
                    seconds_max=SECONDS_MAX,
                    show=lambda done: self._show("the log to replay", done, load.expected),
                )
                return await self._replays(scenario.name, await self._stage(scenario, pipeline))

    async def _stage(self, scenario: Scenario, pipeline: Pipeline) -> Stage:
        """Return the last stage that folds events."""
        plan = compile_plan(pipeline)
        facts = await read_topics(
            self._connection, [spec.name for spec in pipeline_topics(pipeline)]
        )
        partitions = {name: fact.partitions for name, fact in facts.items()}
        scorer = bind_model(scenario.model, plan)
        stages = build_stages(Parts(plan, scorer, partitions, WorkerSettings()))
        return next(stage for stage in stages if stage.topic == stage_topics(plan)[-1])

    async def _replays(self, name: str, stage: Stage) -> list[Figure]:
        runs: dict[str, list[Replay]] = {step: [] for step in STEPS}
        async with log_reader(self._connection) as reader:
            places = await reader.partitions(stage.topic)
            bounds = await reader.bounds(places)
        ends = {tp: stretch.end for tp, stretch in bounds.items() if stretch.end}
        # The first replay compiles and warms what every later one finds.
        await self._replay("fold", stage, ends)
        for _ in range(self._repeat):
            for step, done in runs.items():
                self._show(f"{name}, {step}", len(done), self._repeat)
                with pinned(self._cores.subject):
                    done.append(await self._replay(step, stage, ends))
        return restore_figures(name, runs)

    async def _replay(self, step: str, stage: Stage, ends: dict[TopicPartition, int]) -> Replay:
        replayer = LogReplayer(self._connection, lambda _partition: ())
        work = StageWork(stage)
        events = 0
        wall_s, processor_s = time.perf_counter(), time.process_time()
        for tp, end in ends.items():
            state = stage.open_state(None)

            def take(batch: RecordBatch, state: object = state) -> None:
                nonlocal events
                events += len(batch)
                if step == "decode":
                    stage.read([batch])
                elif step == "fold":
                    work.fold_silently(batch, state)

            await replayer(Partition(*tp), 0, end, take)
        return Replay(events, time.perf_counter() - wall_s, time.process_time() - processor_s)


def restore_figures(name: str, runs: dict[str, list[Replay]]) -> list[Figure]:
    """Return events a second of the whole replay, and processor time of each of its parts."""
    whole = runs["fold"]
    costs = {
        step: [run.processor_s / run.events * 1e6 if run.events else None for run in done]
        for step, done in runs.items()
    }
    parts = {
        "read": costs["read"],
        "decode": _less(costs["decode"], costs["read"]),
        "fold": _less(costs["fold"], costs["decode"]),
    }
    return [
        collect(
            f"{name}, replayed a second",
            "events/s",
            [run.events / run.wall_s if run.events else None for run in whole],
        ),
        collect(
            f"{name}, replayed for a second of processor time",
            "events/s",
            [run.events / run.processor_s if run.events else None for run in whole],
        ),
        *(collect(f"{name}, replay: {step}", "µs/event", values) for step, values in parts.items()),
    ]


def _less(values: list[float | None], others: list[float | None]) -> list[float | None]:
    return [
        None if value is None or other is None else value - other
        for value, other in zip(values, others, strict=True)
    ]
