"""One seeded run: Kafka, topics, workers, load, faults, and the judgement of it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from chaos.faults import Faults
from chaos.load import SCORED_BYTES_MAX, Feeder, Load
from chaos.script import Script, script_of
from chaos.verdict import Verdict, judge, records_outside, settle
from chaos.workers import Crew
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import create_topics
from stream_infer.pipeline import Pipeline
from support.cluster import Cluster
from support.pipelines import own_pipeline, written

PARTITIONS = 3
SETTINGS = {"commit_interval_ms": "50", "align_wait_max": "1s", "unknown_fields": "keep"}
ABORTS_EVERY_MS = 10_000
"""How often a broker looks for transactions beyond their time-out: Kafka's default."""
ABORTS_OFTEN_MS = 1_000
"""The same where no broker starts again: one that looks before it knows the leaders of its
partitions drops markers, which more looks make more likely."""
EXPIRY = {
    "transactional.id.expiration.ms": "3000",
    "transaction.remove.expired.transaction.cleanup.interval.ms": "500",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How runs are made.

    seed       from which everything is drawn
    delivery   of the workers
    judged_as  what the judge expects, None: the same. Other than `delivery` to see that it sees
    plants     what is planted into the workers
    session_s  session time-out of the group
    rate       payments a second
    steps      number of faults, None for a drawn one
    script     in place of the seed's
    settings   of the workers, in place of those of every run
    """

    seed: int
    delivery: str = "exactly_once"
    judged_as: str | None = None
    plants: Sequence[str] = ()
    session_s: float = 4.0
    rate: int = 300
    steps: int | None = None
    script: Script | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def transaction_s(self) -> float:
        """Time-out of the workers' transactions."""
        return self.session_s / 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one run."""

    script: Script
    sent: int
    verdict: Verdict
    ended: list[str]
    folder: Path
    without_effect: list[str]
    shifted: int

    @property
    def red(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.verdict.problems)

    def line(self) -> str:
        """Return the run in one line."""
        script, verdict = self.script, self.verdict
        faults = Counter(step.fault for step in script.steps)
        done = ", ".join(f"{name} {n}" if n > 1 else name for name, n in faults.items())
        head = f"seed {script.seed} ({script.nodes} broker{'s' * (script.nodes > 1)}"
        head += ", static members" * script.static + ", checkpoints in a folder" * script.folder
        head += ")"
        books, recomputed = verdict.audited, verdict.recomputed
        if books is None or recomputed is None:
            return f"{head}: faults: {done}; RED: {verdict.problems}"
        once = books.scored - books.scored_twice
        return (
            f"{head}: faults: {done}; events in {books.records:,}; scored once {once:,}, "
            f"never {books.lost}, twice {books.scored_twice:,}; dead letters "
            f"{books.dead_letters:,}; outputs {recomputed.total('expected'):,}, lost "
            f"{recomputed.total('lost')}, different {recomputed.total('different')}, twice "
            f"{recomputed.twice:,}, unexpected {recomputed.total('unexpected')}, out of order "
            f"{recomputed.total('disordered')}; alerts opened twice {verdict.opened_twice}; "
            f"longest pause {verdict.pause_s:.1f} s"
            + (f"; records of a wrong clock {self.shifted:,}" if script.has("clock_jump") else "")
            + (f"; without effect: {self.without_effect}" if self.without_effect else "")
            + f": {'RED' if self.red else 'ok'}"
        )


async def run_seed(plan: Plan, folder: Path | None = None) -> Outcome:
    """Do one run and judge it; its logs stay in the folder."""
    script = plan.script or script_of(plan.seed, delivery=plan.delivery, steps=plan.steps)
    folder = folder or Path(tempfile.mkdtemp(prefix=f"chaos-{plan.seed}-"))
    pipeline = own_pipeline()
    file = written(pipeline, folder)
    async with Cluster(script.nodes, _broker_settings(script)) as cluster:
        await _make_topics(cluster, pipeline)
        crew = Crew(
            file,
            cluster.bootstrap,
            settings={
                **SETTINGS,
                "delivery": plan.delivery,
                "session_timeout": f"{plan.session_s:g}s",
                "transaction_timeout": f"{plan.transaction_s:g}s",
                **_checkpoints(script, folder),
                **plan.settings,
            },
            plants=plan.plants,
            static=script.static,
        )
        try:
            return await _run(plan, script, cluster, pipeline, crew, folder)
        finally:
            crew.kill_all()


def _checkpoints(script: Script, folder: Path) -> dict[str, str]:
    """Return the setting of where checkpoints are; the default of Kafka is left alone."""
    if not script.folder:
        return {}
    kept = folder / "checkpoints"
    kept.mkdir()
    return {"checkpoints": kept.as_uri()}


def _aborts_every_ms(script: Script) -> int:
    return ABORTS_EVERY_MS if script.restarts_brokers else ABORTS_OFTEN_MS


def _broker_settings(script: Script) -> dict[str, str]:
    looks = "transaction.abort.timed.out.transaction.cleanup.interval.ms"
    return {
        looks: str(_aborts_every_ms(script)),
        **(EXPIRY if script.has("expired_id") else {}),
    }


async def _make_topics(cluster: Cluster, pipeline: Pipeline) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    try:
        # Smaller than its input: some outputs are refused for good.
        limit = {
            "max.message.bytes": str(SCORED_BYTES_MAX),
            # Pauses are told by it; workers may have wrong clocks.
            "message.timestamp.type": "LogAppendTime",
        }
        scored = NewTopic(pipeline.scored, PARTITIONS, cluster.replicas, topic_configs=limit)
        await admin.create_topics([scored])
    finally:
        await admin.close()
    await create_topics(
        Connection(bootstrap=cluster.bootstrap),
        pipeline,
        partitions=PARTITIONS,
        replication_factor=cluster.replicas,
    )


async def _run(
    plan: Plan,
    script: Script,
    cluster: Cluster,
    pipeline: Pipeline,
    crew: Crew,
    folder: Path,
) -> Outcome:
    load = Load(pipeline, plan.seed)
    feeder = Feeder(cluster.bootstrap, load, plan.rate)
    began_ms = time.time_ns() // 1_000_000
    await feeder.start()
    workers = [crew.add() for _ in range(script.workers)]
    await workers[0].says("assigned")
    abort_s_max = plan.transaction_s + _aborts_every_ms(script) / 1000
    faults = Faults(cluster, crew, pipeline, feeder, load, plan.session_s, abort_s_max)
    for step in script.steps:
        await asyncio.sleep(step.wait_s)
        await faults.do(step)
    await asyncio.sleep(1.0)
    sent = await feeder.finish()
    settled = await settle(cluster.bootstrap, pipeline, crew.look_after)
    while crew.running:
        await crew.terminate(crew.running[0])
    judged_as = plan.judged_as or plan.delivery
    verdict = await judge(cluster.bootstrap, pipeline, delivery=judged_as, settled=settled)
    verdict.problems.extend(f"traceback in {name}" for name in crew.tracebacks())
    shifted = await records_outside(cluster.bootstrap, pipeline, began_ms)
    return Outcome(
        script=script,
        sent=sent,
        verdict=verdict,
        ended=crew.ended,
        folder=folder,
        without_effect=faults.idle,
        shifted=shifted,
    )
