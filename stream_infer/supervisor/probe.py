"""The throw-away child: goes through a suspect range on a copy of the state, record by record.

The state is made as a worker makes it: the newest checkpoint in front of the range, with the
history that the fold began with if there is one, and the silent replay of the log from there.
Outputs are made and thrown away. What is in work is noted before each step, so that whoever
started this process knows the record that ended it. Ending well means that no record of the
range kills.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer

from stream_infer.checkpoints.marks import read_mark
from stream_infer.checkpoints.opening import open_store
from stream_infer.checkpoints.store import CheckpointStore
from stream_infer.dataplane.at_work import Span, slot_of
from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.build import Parts, build_stages
from stream_infer.dataplane.checkpoint_finding import CheckpointFinder, ReadMark
from stream_infer.dataplane.committed import read_committed_by_group
from stream_infer.dataplane.offsets import Committed, StartPoint, committed_base, declared_start
from stream_infer.dataplane.replay import replay_log
from stream_infer.dataplane.replaying import replaying_consumer
from stream_infer.dataplane.skips import without_skipped
from stream_infer.dataplane.stage import Stage
from stream_infer.errors import NotFoundError
from stream_infer.features.plan import compile_plan
from stream_infer.kafka.connection import reach, translated
from stream_infer.kafka.reading import TopicPartition, log_reader
from stream_infer.kafka.skips import read_skips, skipped_offsets
from stream_infer.kafka.topics import pipeline_topics, read_topics
from stream_infer.observability.meter import StageMeter
from stream_infer.precompile import precompile_pipeline
from stream_infer.scoring.binding import bind_model
from stream_infer.worker import Worker

log = structlog.get_logger("stream_infer.supervisor")


async def probe(worker: Worker, span: Span) -> int:
    """Take each record of a range through its stage; return how many there were.

    worker  as it would run; only what it was told is used
    Raises  NotFoundError ``stage_unknown``; what building the stages and reading raises
    """
    connection = worker.connection
    await reach(connection)
    precompile_pipeline(worker.pipeline)
    stage = await _stage(worker, span.topic)
    source = Partition(span.topic, span.partition)
    skips = skipped_offsets(await read_skips(connection, worker.pipeline))
    skipped = skips.get(source, frozenset())
    make_consumer = replaying_consumer(connection)
    async with translated(connection):
        begin = await _beginning(worker, stage, span, skipped)
        run = ProbeRun(stage, begin.state, skipped)
        if run.state is not None:
            log.info("probe_restores", source=str(source), start=begin.offset, until=span.first)
            await _replay(source, begin.offset, span.first, run.fold, make_consumer)
        await _replay(source, span.first, span.last + 1, run.step_each, make_consumer)
    return run.records


class ProbeRun:
    """One stage, the copy of its state, and how far it has come.

    state    what it begins with, None for a stage without one
    skipped  offsets of the partition that are passed over
    """

    def __init__(self, stage: Stage, state: Any, skipped: Collection[int]) -> None:
        self.state = state
        self.records = 0
        self._stage = stage
        self._skipped = skipped
        self._slot = slot_of(stage.name, stage.topic)
        self._meter = StageMeter()

    def fold(self, batch: RecordBatch) -> None:
        """Fold records in front of the range, as a restore does."""
        kept = self._kept(batch)
        if kept is None:
            return
        self._slot.begin([(kept.source.partition, kept.first, kept.last)])
        [read] = self._stage.read_silently([kept])
        self._stage.fold_only(read, self.state)
        self._slot.end()

    def step_each(self, batch: RecordBatch) -> None:
        """Take records of the range one by one, all the way to their outputs."""
        kept = self._kept(batch)
        for record in [] if kept is None else kept.records:
            self._slot.begin([(batch.source.partition, record.offset, record.offset)])
            [read] = self._stage.read([RecordBatch(batch.source, [record])])
            self._stage.step([(read, self.state)], self._meter)
            self._slot.end()
            self.records += 1

    def _kept(self, batch: RecordBatch) -> RecordBatch | None:
        records = without_skipped(batch.records, self._skipped)
        return RecordBatch(batch.source, records) if records else None


async def _replay(
    source: Partition,
    start: int,
    end: int,
    on_batch: Callable[[RecordBatch], None],
    make_consumer: Callable[[], AIOKafkaConsumer],
) -> None:
    if start < end:
        await replay_log(source, start, end, on_batch, make_consumer)


async def _stage(worker: Worker, topic: str) -> Stage:
    """Return the stage that reads a topic, built as a worker builds it."""
    pipeline = worker.pipeline.with_partitioning(worker.settings.partitioning)
    plan = compile_plan(pipeline)
    names = [spec.name for spec in pipeline_topics(pipeline)]
    facts = await read_topics(worker.connection, names)
    stages = build_stages(
        Parts(
            plan,
            bind_model(await asyncio.to_thread(worker.champion), plan, worker.execution),
            {name: fact.partitions for name, fact in facts.items()},
            worker.settings,
            worker.fields,
            worker.label_fields,
        )
    )
    for stage in stages:
        if stage.topic == topic:
            return stage
    raise NotFoundError(
        "stage_unknown",
        f"No stage of pipeline {pipeline.name!r} reads topic {topic!r}.",
        f"It reads: {', '.join(sorted(stage.topic for stage in stages))}.",
        topic=topic,
    )


class Beginning(NamedTuple):
    """A state, and the first offset that is not in it."""

    state: Any
    offset: int


async def _beginning(
    worker: Worker, stage: Stage, span: Span, skipped: Collection[int]
) -> Beginning:
    """Return what a worker would begin with that was assigned the partition at the range."""
    connection, pipeline = worker.connection, worker.pipeline.name
    source = Partition(span.topic, span.partition)
    tp = TopicPartition(*source)
    commit = (await read_committed_by_group(connection, pipeline)).get(source)
    async with log_reader(connection) as reader:
        log_start = (await reader.bounds([tp]))[tp].start
    start = fold_start(commit, span, log_start)
    bytes_max = worker.settings.state_bytes_max
    where = worker.settings.checkpoints
    if where == "off":
        return Beginning(stage.open_state(bytes_max), start.replay_from)
    store = open_store(where, connection, pipeline)
    try:
        return await begin_with(
            store,
            pipeline,
            stage,
            source,
            start,
            skipped,
            bytes_max=bytes_max,
            mark=lambda at, offset: read_mark(connection, *at, offset),
        )
    finally:
        await store.close()


def fold_start(commit: Committed | None, span: Span, log_start: int) -> StartPoint:
    """Return where the fold of a range's partition began, as a worker's assignment that ends there.

    commit  of the group; one of another tool does not say where it began
    """
    said = None if commit is None else declared_start(commit.metadata)
    declared = log_start if said is None else said
    return StartPoint(
        declared,
        max(declared, log_start),
        span.first,
        must_commit=False,
        end=span.last + 1,
        base=None if commit is None else committed_base(commit.metadata),
    )


async def begin_with(
    store: CheckpointStore,
    pipeline: str,
    stage: Stage,
    source: Partition,
    start: StartPoint,
    skipped: Collection[int],
    *,
    bytes_max: int | None = None,
    mark: ReadMark | None = None,
) -> Beginning:
    """Return the state of the newest checkpoint in front of a range, else an empty one.

    Raises  StandstillError ``base_missing`` where the fold began with a history that nobody has
    """

    def open_state() -> Any:
        return stage.open_state(bytes_max)

    finder = CheckpointFinder(store, pipeline, read_mark=mark)
    finder.skipped = {source: skipped}
    found = await finder.newest(source, stage.name, start, open_state)
    if found is None:
        return Beginning(open_state(), start.replay_from)
    return Beginning(found.state, max(found.offset, start.replay_from))
