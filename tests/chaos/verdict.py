"""What is known after a run: everything that came out, against everything that went in."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from stream_infer.audit.recompute.report import RecomputeReport
from stream_infer.audit.recompute.run import Recomputation, recompute
from stream_infer.audit.reconcile import audit
from stream_infer.audit.report import AuditReport
from stream_infer.errors import StreamInferError
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.stretch import Stretch
from stream_infer.kafka.topics import committed_offsets, pipeline_topics
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipeline import Pipeline
from stream_infer.settings.worker import WorkerSettings
from support.kafka import aread_all

SETTLE_S_MAX = 180.0
READ_ROLES = ("input", "labels", "internal", "lists")
TWINS_SHARE = 0.05
CLOCKS_DIFFER_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement of one run.

    settled        whether the group came to the end of its logs in time
    audited        inputs against scored events and dead letters, by event id
    recomputed     every output against the fold of its log
    opened_twice   alerts of which more than one record says ``opened``
    pause_s        longest time between two scored events, while there was load
    """

    settled: bool
    audited: AuditReport | None
    recomputed: RecomputeReport | None
    opened_twice: int = 0
    pause_s: float = 0.0
    problems: list[str] = field(default_factory=list)


async def settle(bootstrap: str, pipeline: Pipeline, look_after: Callable[[], None]) -> bool:
    """Wait until everything in the logs has been done and committed; False when it is not."""
    try:
        async with asyncio.timeout(SETTLE_S_MAX):
            while True:
                look_after()
                try:
                    if await _caught_up(bootstrap, pipeline):
                        return True
                except (KafkaError, StreamInferError):
                    pass  # a broker is still coming back
                await asyncio.sleep(0.3)
    except TimeoutError:
        return False


async def _caught_up(bootstrap: str, pipeline: Pipeline) -> bool:
    """Say whether no record lies behind a committed offset: markers of transactions do."""
    connection = Connection(bootstrap=bootstrap)
    # The committed offsets first: what was made of them is then in the logs read after.
    committed = await committed_offsets(connection, pipeline.name)
    topics = [spec.name for spec in pipeline_topics(pipeline) if spec.role in READ_ROLES]
    async with log_reader(connection, isolation="read_uncommitted", wait_ms=10) as reader:
        places = [tp for topic in topics for tp in await reader.partitions(topic)]
        ends = await reader.bounds(places)
    behind: dict[TopicPartition, Stretch] = {}
    for tp, log in ends.items():
        if tp not in committed:
            return False
        if committed[tp] < log.end:
            behind[tp] = Stretch(committed[tp], log.end)
    async with log_reader(connection, wait_ms=10) as reader:
        async for _ in reader.read(behind):
            return False
    return True


async def judge(bootstrap: str, pipeline: Pipeline, *, delivery: str, settled: bool) -> Verdict:
    """Judge a run that has settled."""
    connection = Connection(bootstrap=bootstrap)
    audited = await audit(connection, pipeline, {}, lambda _read: None)
    recomputed = await recompute(
        connection,
        Recomputation(
            pipeline=pipeline,
            models=[ready_model_dir(pipeline.model or "")],
            settings=WorkerSettings(unknown_fields="keep"),
            delivery=delivery,
            twins=TWINS_SHARE,
        ),
        lambda _read: None,
    )
    problems = [] if settled else ["it never came to the end of its logs"]
    if audited.lost:
        problems.append(f"{audited.lost} records lost: {audited.samples.get('lost')}")
    if delivery == "exactly_once" and audited.doubled:
        problems.append(f"{audited.doubled} records doubled: {audited.samples}")
    if recomputed.verdict != "proven":
        problems.append(f"recomputed: {recomputed.verdict}")
        problems += [str(each) for stage in recomputed.stages for each in stage.differences]
        problems += recomputed.unproven
    opened_twice = await _opened_twice(bootstrap, pipeline)
    if delivery == "exactly_once" and opened_twice:
        problems.append(f"{opened_twice} alerts opened twice")
    return Verdict(
        settled=settled,
        audited=audited,
        recomputed=recomputed,
        opened_twice=opened_twice,
        pause_s=await _longest_pause(bootstrap, pipeline),
        problems=problems,
    )


async def records_outside(bootstrap: str, pipeline: Pipeline, began_ms: int) -> int:
    """Return how many internal records say that they were written before a moment, or after now.

    Their times are those of the clock of the worker that wrote them.
    """
    now_ms = time.time_ns() // 1_000_000
    topics = [spec.name for spec in pipeline_topics(pipeline) if spec.role == "internal"]
    records = [each for topic in topics for each in await aread_all(bootstrap, topic)]
    first, last = began_ms - CLOCKS_DIFFER_MS, now_ms + CLOCKS_DIFFER_MS
    return sum(not first < each.timestamp < last for each in records)


class _Told(msgspec.Struct):
    alert_id: str
    change: str


async def _opened_twice(bootstrap: str, pipeline: Pipeline) -> int:
    if pipeline.alerts is None:
        return 0
    decode = msgspec.json.Decoder(_Told).decode
    told = [decode(each.value or b"") for each in await aread_all(bootstrap, pipeline.alerts.topic)]
    opened = Counter(each.alert_id for each in told if each.change == "opened")
    return sum(count > 1 for count in opened.values())


async def _longest_pause(bootstrap: str, pipeline: Pipeline) -> float:
    """Return the longest time between scored events, by when they were written."""
    times = sorted(each.timestamp for each in await aread_all(bootstrap, pipeline.scored))
    gaps = (later - earlier for earlier, later in pairwise(times))
    return max(gaps, default=0) / 1000
