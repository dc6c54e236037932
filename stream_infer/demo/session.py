"""One run of the demo, from the first topic to the audit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from stream_infer.audit.reconcile import audit
from stream_infer.demo.load import Load, PastThenLive
from stream_infer.demo.members import Members
from stream_infer.demo.observing import Observer
from stream_infer.demo.plan import DemoPlan, plan_demo
from stream_infer.demo.summary import PipelineSummary, Summary
from stream_infer.demo.topics import create_demo_topics
from stream_infer.demo.truth import PaymentsTruth, Place, RoadsTruth
from stream_infer.demo.view import View
from stream_infer.demo.watching import Watched, watch
from stream_infer.kafka.connection import Connection
from stream_infer.pipeline import Pipeline
from stream_infer.pipelines import fraud, traffic
from stream_infer.simulators.pieces import Role, fraud_pieces, traffic_pieces
from stream_infer.simulators.records import FRAUD_TRUTH, TRAFFIC_TRUTH
from stream_infer.simulators.roads import sensor_table
from stream_infer.simulators.traffic import Readings

LOOK_S = 0.2
PAST_S_MAX = 300.0
DRAIN_S_MAX = 60.0
ALERTS_SETTLE_S = 0.5
CANCEL_S_MAX = 5.0
ROWS_PER_PIECE = 5_000


async def run_demo(
    connection: Connection,
    members: Members,
    *,
    seconds: float,
    rate: float,
    seed: int,
    show: Callable[[View], None],
    stop: asyncio.Event,
    check: Callable[[], None] = lambda: None,
) -> Summary:
    """Run a demo of both built-in pipelines; see `Session`.

    Raises  what `plan_demo` raises, and whatever made a part of it fail
    """
    session = Session(
        connection,
        members,
        plan_demo(seed=seed, rate=rate, seconds=seconds),
        (fraud.pipeline, traffic.pipeline),
        seconds=seconds,
        show=show,
        stop=stop,
        check=check,
    )
    return await session.run()


class Session:
    """Everything that runs while the demo runs.

    connection  a Kafka without records of these pipelines
    members     the workers, who are not told yet where it is
    check       raises when the Kafka has ended
    show        called a few times a second
    stop        breaks the run off: what is under way is finished, and the summary made
    """

    def __init__(
        self,
        connection: Connection,
        members: Members,
        plan: DemoPlan,
        pipelines: tuple[Pipeline, Pipeline],
        *,
        seconds: float,
        show: Callable[[View], None],
        stop: asyncio.Event,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._members = members
        self._seconds = seconds
        self._show = show
        self._stop = stop
        self._check = check
        self._begun = time.monotonic()
        self._live_begun: float | None = None
        self._tasks: list[asyncio.Task[None]] = []
        payments, roads = pipelines
        self._payments_truth = PaymentsTruth()
        self._roads_truth = RoadsTruth(_places(plan))
        self._watched = {
            payments.name: Watched(payments, self._payments_load(payments, plan)),
            roads.name: Watched(roads, self._roads_load(roads, plan)),
        }
        self._observer = Observer(
            self._watched[payments.name],
            self._watched[roads.name],
            self._payments_truth,
            self._roads_truth,
            View(
                phase="",
                share=None,
                elapsed_s=0.0,
                seconds=seconds,
                bootstrap=connection.bootstrap,
                lanes=(),
                corridors=(),
                alerts=(),
                tally=Observer.no_tally,
            ),
        )

    async def run(self) -> Summary:
        """Run to the end; raises what made any part of it fail."""
        await create_demo_topics(
            self._connection, [each.pipeline for each in self._watched.values()]
        )
        self._members.tell(self._connection.bootstrap)
        stop_load, stop_watch = asyncio.Event(), asyncio.Event()
        loads = [each.load for each in self._watched.values()]
        loading = [asyncio.create_task(load.run(self._connection, stop_load)) for load in loads]
        watching = asyncio.create_task(watch(self._connection, self._watched, stop_watch))
        self._tasks = [*loading, watching]
        try:
            await self._until("past", self._past_share, PAST_S_MAX)
            if not self._stop.is_set():
                for load in loads:
                    load.open()
                self._live_begun = time.monotonic()
                await self._until("live", self._live_share, self._seconds + LOOK_S)
            live_s = 0.0 if self._live_begun is None else time.monotonic() - self._live_begun
            stop_load.set()
            await asyncio.gather(*loading)
            self._tasks = [watching]
            await self._until("draining", self._drained_share, DRAIN_S_MAX, stoppable=False)
            await asyncio.sleep(ALERTS_SETTLE_S)
            await asyncio.to_thread(self._members.stop)
            await asyncio.sleep(ALERTS_SETTLE_S)
        except BaseException:
            # Without its Kafka a sender waits half a minute for an answer that will not come.
            await _cancelled([*loading, watching])
            raise
        stop_watch.set()
        ended = await asyncio.gather(*loading, watching, return_exceptions=True)
        for result in ended:
            if isinstance(result, BaseException):
                raise result
        return await self._summary(live_s)

    def _payments_load(self, pipeline: Pipeline, plan: DemoPlan) -> Load:
        topics: dict[Role, str] = {"events": pipeline.events.topic, "truth": FRAUD_TRUTH}
        if pipeline.labels is not None:
            topics["labels"] = pipeline.labels.topic
        return Load(
            pipeline.name,
            fraud_pieces(plan.payments, rows_max=ROWS_PER_PIECE),
            topics,
            PastThenLive(plan.payments_time),
            self._payments_truth.note,
        )

    def _roads_load(self, pipeline: Pipeline, plan: DemoPlan) -> Load:
        def note(readings: Readings) -> None:
            self._roads_truth.note_speeds(readings.sensor, readings.time, readings.true_speed)

        return Load(
            pipeline.name,
            traffic_pieces(plan.roads, rows_max=ROWS_PER_PIECE, note=note),
            {"events": pipeline.events.topic, "truth": TRAFFIC_TRUTH},
            PastThenLive(plan.roads_time),
            self._roads_truth.note,
        )

    async def _until(
        self, phase: str, share: Callable[[], float], seconds_max: float, *, stoppable: bool = True
    ) -> None:
        """Show what happens until this phase's share is 1, or its time is over."""
        deadline = time.monotonic() + seconds_max
        while time.monotonic() < deadline and not (stoppable and self._stop.is_set()):
            await asyncio.wait(self._tasks, timeout=LOOK_S)
            self._look_for_failures()
            done = share()
            self._show_now(PHASES[phase], done)
            if done >= 1.0:
                return

    def _look_for_failures(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()
        self._members.check()
        self._check()

    def _show_now(self, phase: str, share: float | None) -> None:
        elapsed_s = 0.0
        if self._live_begun is not None:
            elapsed_s = min(time.monotonic() - self._live_begun, self._seconds)
        view = self._observer.view(time.monotonic())
        self._show(replace(view, phase=phase, share=share, elapsed_s=elapsed_s))

    def _past_share(self) -> float:
        """Return how much of both pasts is scored; less than 1 while one is still written."""
        shares = []
        for each in self._watched.values():
            whole = each.load.pace.past_events
            written = whole or each.load.fed.sent["events"]
            share = each.done / written if written else 0.0
            shares.append(min(share, 1.0 if whole is not None else 0.95))
        return sum(shares) / len(shares)

    def _live_share(self) -> float:
        begun = self._live_begun or time.monotonic()
        return min(1.0, (time.monotonic() - begun) / self._seconds)

    def _drained_share(self) -> float:
        sent = sum(each.load.fed.sent["events"] for each in self._watched.values())
        done = sum(each.done for each in self._watched.values())
        return min(1.0, done / sent) if sent else 1.0

    async def _summary(self, live_s: float) -> Summary:
        parts = {}
        for number, (name, each) in enumerate(self._watched.items()):
            self._show_now(PHASES["audit"], number / len(self._watched))
            report = await audit(self._connection, each.pipeline, {}, lambda _read: None)
            fed = each.load.fed
            parts[name] = PipelineSummary(
                events=fed.sent["events"],
                labels=fed.sent["labels"],
                late=each.late,
                latencies=each.latencies,
                report=report,
            )
        firsts = [e.first_alert_s for e in self._watched.values() if e.first_alert_s is not None]
        decisions = next(iter(self._watched.values())).decisions
        return Summary(
            seconds=time.monotonic() - self._begun,
            live_seconds=live_s,
            first_alert_s=min(firsts) - self._begun if firsts else None,
            interrupted=self._stop.is_set(),
            pipelines=parts,
            decisions=decisions,
            tally=self._observer.tally(),
        )


PHASES = {
    "past": "scoring the past, at full speed",
    "live": "live, Ctrl-C ends it",
    "draining": "scoring what is under way",
    "audit": "audit: all scored, none twice?",
}


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel the tasks and wait for their ends, but not for ever."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=CANCEL_S_MAX)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # looked at, so that nobody reports it: another one is raised


def _places(plan: DemoPlan) -> dict[str, Place]:
    return {
        row["sensor_id"]: Place(
            row["sensor_id"], row["corridor"], row["position_km"], row["free_flow_kmh"]
        )
        for row in sensor_table(plan.roads)
    }
