"""What a reader of committed records sees of a worker that is killed, or started again on purpose.

Two workers share a pipeline with a past of many keys, live payments flow, and something happens to
one of them. A partition counts with every stage that it belongs to: a payment passes one of the
input and one of each internal topic.
"""

from __future__ import annotations

import ast
import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from stream_infer.benchmark.flow import Flow, Mask, first_output_s, longest_pause_s, passing
from stream_infer.benchmark.ground import PARTITIONS, Ground
from stream_infer.benchmark.latency import PacedPayments
from stream_infer.benchmark.load import PaymentLoad, Show, single_load
from stream_infer.benchmark.scenarios import Scenario
from stream_infer.benchmark.spread import Figure, collect
from stream_infer.benchmark.subject import Subject
from stream_infer.benchmark.throughput import watch_outputs
from stream_infer.dataplane.build import stage_topics
from stream_infer.errors import GateFailedError
from stream_infer.features.plan import compile_plan
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.pipeline import Pipeline
from stream_infer.simulators.fraud import Transactions

RATE = 1_000
SESSION_S = 15.0
"""The worker's default session time-out."""
GOAL_S = 5.0
GOAL_MILLION_S = 15.0
RESTART_GOAL_S = 3.0
RESTARTS = (
    # what happens, workers, whether they are static members, whether a supervisor replaces them
    ("restart of one alone", 1, False, False),
    ("rolling restart of two", 2, False, False),
    ("rolling restart of two, static", 2, True, False),
    ("replacing one alone", 1, False, True),
    ("replacing two, static", 2, True, True),
)
SETTLE_S = 3.0
"""Between two things that happen, so that each has its own pause."""
PATIENCE_S = 120.0
CATCH_UP_S_MAX = 600.0
CHECKPOINTS_S_MAX = 180.0
FLOW_S = 2 * PATIENCE_S + CHECKPOINTS_S_MAX
REPLAY_MOST = 100_000
"""Records behind its newest checkpoint that a partition has in steady operation."""
_ASSIGNED = re.compile(r"\] assigned +partitions=(\[.*\])")
_PUBLISHED = re.compile(r"checkpoint_published .*offset=(\d+) source=(\S+)")


def assignments(log: str) -> list[list[str]]:
    """Return the partitions of each assignment that a worker's log tells of."""
    return [ast.literal_eval(found) for found in _ASSIGNED.findall(log)]


def newest_checkpoints(log: str) -> dict[str, int]:
    """Return the offset of each partition's newest checkpoint that a worker's log tells of."""
    newest: dict[str, int] = {}
    for offset, source in _PUBLISHED.findall(log):
        newest[source] = max(int(offset), newest.get(source, 0))
    return newest


@dataclass(slots=True)
class Pair:
    """The workers of a run.

    start  starts one more by a name that says which of them it is
    """

    run: str
    pipeline: Pipeline
    start: Callable[[str], Subject]
    workers: dict[str, Subject] = field(default_factory=dict)

    def owned(self, name: str) -> set[str]:
        """Return the partitions of a worker's present assignment."""
        found = assignments(self.workers[name].log)
        return set(found[-1]) if found else set()

    def share(self) -> bool:
        """Say whether each partition has one owner, and each worker some of them."""
        owned = [self.owned(name) for name in self.workers]
        return all(owned) and sum(map(len, owned)) == len(set.union(*owned))


@dataclass(frozen=True, slots=True)
class Kill:
    """What followed a kill.

    first_s     partition of the victim -> how long after it the first output was there; None where
                none came
    assigned_s  how long after it the other one had the partitions
    """

    first_s: dict[str, float | None]
    assigned_s: float


@dataclass(frozen=True, slots=True)
class Restarts:
    """What followed restarts on purpose.

    pauses_s  partition -> the longest time without an output
    stop_s    of each, from the signal to its end
    start_s   of each, from its start to its assignment; of one that a supervisor replaces, from
              the word to do so
    """

    pauses_s: dict[str, float]
    stop_s: list[float]
    start_s: list[float]


class OutageSession:
    """Measures outages on one Kafka.

    connection  where Kafka is
    ground      makes topics and commands
    repeat      runs of each figure
    show        called with what is done, how many, of how many
    """

    def __init__(self, connection: Connection, ground: Ground, *, repeat: int, show: Show) -> None:
        self._connection = connection
        self._ground = ground
        self._repeat = repeat
        self._show = show

    # -- failover ---------------------------------------------------------------------------

    async def failover(self, scenario: Scenario, keys: int, *, static: bool) -> list[Figure]:
        """Kill one of two workers with `keys` keys; a static member is not started again."""
        kills = [await self._kill(scenario, keys, static=static) for _ in range(self._repeat)]
        title = f"{scenario.name}, failover, {keys:,} keys" + (", static" if static else "")
        longest = [_longest(kill.first_s.values()) for kill in kills]
        return [
            collect(f"{title}, first output of each partition", "s", longest),
            collect(
                f"{title}, beyond the session time-out",
                "s",
                [None if each is None else each - SESSION_S for each in longest],
            ),
            collect(f"{title}, next owner assigned", "s", [kill.assigned_s for kill in kills]),
        ]

    async def _kill(self, scenario: Scenario, keys: int, *, static: bool) -> Kill:
        load = single_load(_events_of(keys) + int(FLOW_S) * RATE, keys)
        async with self._pair(scenario, load, _events_of(keys), static=static) as (pair, flow):
            victim, other = sorted(pair.workers, key=lambda name: len(pair.owned(name)))[::-1]
            lost = pair.owned(victim)
            counts = {name: mask for name, mask in self._masks(pair, flow).items() if name in lost}
            had = len(assignments(pair.workers[other].log))
            killed_s = time.monotonic()
            pair.workers[victim].send(signal.SIGKILL)
            self._show(f"{scenario.name}: killed", 0, None)
            await _until(lambda: len(assignments(pair.workers[other].log)) > had)
            assigned_s = time.monotonic() - killed_s

            def found() -> dict[str, float | None]:
                return {name: first_output_s(flow, mask, killed_s) for name, mask in counts.items()}

            await _until(lambda: None not in found().values())
            return Kill(found(), assigned_s)

    # -- restarts ---------------------------------------------------------------------------

    async def restart(self, scenario: Scenario, keys: int) -> list[Figure]:
        """Start a lone worker again, then each of two, without and with names of their own.

        Then the same by a supervisor that has each replaced.
        """
        figures: list[Figure] = []
        for title, count, static, replaces in RESTARTS:
            how = replace(scenario, processes=1) if replaces else scenario
            runs = [
                await self._restart(how, keys, count, static=static) for _ in range(self._repeat)
            ]
            name = f"{scenario.name}, {title}"
            pauses = [max(run.pauses_s.values()) for run in runs]
            assigned = [max(run.start_s) for run in runs]
            figures.append(collect(f"{name}, longest pause of a partition", "s", pauses))
            if not replaces:
                stops = [max(run.stop_s) for run in runs]
                figures.append(collect(f"{name}, to stop", "s", stops))
            figures.append(collect(f"{name}, to be assigned", "s", assigned))
        return figures

    async def _restart(
        self, scenario: Scenario, keys: int, count: int, *, static: bool
    ) -> Restarts:
        replaces = scenario.processes is not None
        load = single_load(_events_of(keys) + int(FLOW_S) * RATE, keys)
        past = _events_of(keys)
        async with self._pair(scenario, load, past, count=count, static=static) as (pair, flow):
            began_s = time.monotonic()
            stop_s, start_s = [], []
            for name in sorted(pair.workers):
                self._show(f"{scenario.name}: restart of {name}", 0, None)
                at_s = time.monotonic()
                if replaces:
                    pair.workers[name].send(signal.SIGUSR2)
                    await _until(partial(_has_replaced, pair.workers[name]))
                else:
                    pair.workers[name].send(signal.SIGTERM)
                    await asyncio.to_thread(pair.workers[name].wait)
                    stop_s.append(time.monotonic() - at_s)
                    at_s = time.monotonic()
                    pair.start(name)
                await _until(pair.share)
                start_s.append(time.monotonic() - at_s)
                await asyncio.sleep(SETTLE_S)
            ended_s = time.monotonic()
            masks = self._masks(pair, flow)
        return Restarts(
            {
                name: longest_pause_s(flow.arrived_s[mask], began_s, ended_s)
                for name, mask in masks.items()
            },
            stop_s,
            start_s,
        )

    # -- the ground of both -----------------------------------------------------------------

    @asynccontextmanager
    async def _pair(
        self,
        scenario: Scenario,
        load: PaymentLoad,
        past: int,
        *,
        count: int = 2,
        static: bool,
    ) -> AsyncIterator[tuple[Pair, Flow]]:
        """Run workers that have done the past of a load, with the rest of it flowing."""
        rows = _until_now(load.transactions, past)
        before = PaymentLoad(rows.take(slice(0, past)), rows.take(slice(0, 0)), 0.0)
        flow = Flow(PacedPayments(rows.take(slice(past, len(rows)))), RATE)
        async with AsyncExitStack() as stack:
            source = await stack.enter_async_context(self._ground.source(scenario))
            await before.send(self._connection, source, self._show)
            run, pipeline = await stack.enter_async_context(self._ground.run(scenario, source))

            def start(name: str) -> Subject:
                number = len(list(self._ground.folder.glob(f"{run}-{name}-*.log")))
                subject = Subject(
                    f"worker {name}",
                    self._ground.worker(
                        run, scenario, source, {"instance_id": name} if static else None
                    ),
                    None,
                    self._ground.folder / f"{run}-{name}-{number}.log",
                )
                pair.workers[name] = stack.enter_context(subject)
                return subject

            pair = Pair(run, pipeline, start)
            first = start("one")
            await watch_outputs(
                self._connection,
                pipeline.scored,
                before.expected,
                first,
                seconds_max=CATCH_UP_S_MAX,
                show=lambda done: self._show("the past", done, before.expected),
            )
            for name in ("two", "three")[: count - 1]:
                start(name)
            await _until(pair.share)
            await stack.enter_async_context(flow.running(self._connection, source, pipeline.scored))
            await _until(lambda: bool(np.count_nonzero(~np.isnan(flow.arrived_s)) > RATE))
            await self._until_checkpoints(pair)
            await asyncio.sleep(SETTLE_S)
            yield pair, flow

    async def _until_checkpoints(self, pair: Pair) -> None:
        """Wait until no partition's newest checkpoint is far behind, as in steady operation."""
        async with log_reader(self._connection) as reader:
            topics = stage_topics(compile_plan(pair.pipeline))
            places = [tp for topic in topics for tp in await reader.partitions(topic)]
            bounds = await reader.bounds(places)
        ends = {f"{tp.topic}-{tp.partition}": stretch.end for tp, stretch in bounds.items()}

        def are_near() -> bool:
            logs = "".join(worker.log for worker in pair.workers.values())
            newest = newest_checkpoints(logs)
            return all(end - newest.get(name, 0) <= REPLAY_MOST for name, end in ends.items())

        with suppress(GateFailedError):
            self._show("checkpoints", 0, None)
            await _until(are_near, CHECKPOINTS_S_MAX)

    def _masks(self, pair: Pair, flow: Flow) -> dict[str, Mask]:
        """Return, for each partition that payments pass, which do."""
        rows = flow.rows
        keys = {"customer_id": rows.customer_ids, "terminal_id": rows.terminal_ids}
        topics = stage_topics(compile_plan(pair.pipeline))
        stages = [
            (topic, keys[entity])
            for topic, entity in zip(topics, pair.pipeline.events.entities, strict=False)
        ]
        return {
            f"{topic}-{partition}": mask
            for (topic, partition), mask in passing(stages, PARTITIONS).items()
            if np.count_nonzero(mask)
        }


def _has_replaced(supervisor: Subject) -> bool:
    supervisor.check()
    return "process_replaced" in supervisor.log


def _until_now(rows: Transactions, past: int) -> Transactions:
    """Return the rows with times such that the first `past` of them end now."""
    ago_ms = time.time_ns() // 1_000_000 - int(rows.event_time[past - 1])
    return replace(rows, event_time=rows.event_time + ago_ms)


def _events_of(keys: int) -> int:
    """Return how many payments make a past in which nearly every key has some."""
    return 4 * keys


def _longest(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None


async def _until(condition: Callable[[], bool], seconds_max: float = PATIENCE_S) -> None:
    """Wait for a condition; raise GateFailedError when it does not come about."""
    until = time.monotonic() + seconds_max
    while not condition():
        if time.monotonic() > until:
            raise GateFailedError(
                "no_outputs",
                f"The workers did not go on within {seconds_max:.0f} s.",
                "Look at the logs of the processes (--keep); run it on a quieter machine.",
            )
        await asyncio.sleep(0.02)
