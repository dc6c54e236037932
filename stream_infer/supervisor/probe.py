"""The throw-away child: goes through a suspect range on a copy of the state, record by record.

The state is the silent replay of the log, as a worker restores it; outputs are made and thrown
away. What is in work is noted before each step, so that whoever started this process knows the
record that ended it. Ending well means that no record of the range kills.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog
from aiokafka import AIOKafkaConsumer

from stream_infer.dataplane.at_work import Span, slot_of
from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.build import Parts, build_stages
from stream_infer.dataplane.offsets import declared_start
from stream_infer.dataplane.replay import replay_log
from stream_infer.dataplane.replaying import replaying_consumer
from stream_infer.dataplane.skips import without_skipped
from stream_infer.dataplane.stage import Stage
from stream_infer.errors import NotFoundError
from stream_infer.features.plan import compile_plan
from stream_infer.kafka.connection import Connection, reach, translated
from stream_infer.kafka.reading import TopicPartition, log_reader
from stream_infer.kafka.skips import read_skips, skipped_offsets
from stream_infer.kafka.topics import administration, pipeline_topics, read_topics
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
    run = ProbeRun(stage, worker.settings.state_bytes_max, skipped)
    make_consumer = replaying_consumer(connection)
    async with translated(connection):
        if run.state is not None:
            start = await _fold_start(connection, worker.pipeline.name, source)
            log.info("probe_restores", source=str(source), start=start, until=span.first)
            await _replay(source, start, span.first, run.fold, make_consumer)
        await _replay(source, span.first, span.last + 1, run.step_each, make_consumer)
    return run.records


class ProbeRun:
    """One stage, the copy of its state, and how far it has come.

    skipped  offsets of the partition that are passed over
    """

    def __init__(self, stage: Stage, bytes_max: int | None, skipped: Collection[int]) -> None:
        self.state = stage.open_state(bytes_max)
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


async def _fold_start(connection: Connection, group: str, source: Partition) -> int:
    """Return where the fold of a partition began, or its log's start if that is later."""
    tp = TopicPartition(*source)
    async with administration(connection) as client:
        found = await client.list_consumer_group_offsets(group, partitions=[tp])
    async with log_reader(connection) as reader:
        bounds = await reader.bounds([tp])
    entry = found.get(tp)
    declared = None if entry is None or entry.offset < 0 else declared_start(entry.metadata)
    start = bounds[tp].start
    return start if declared is None else max(declared, start)
