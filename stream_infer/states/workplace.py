"""What a build works with: the pipeline's stages as a worker builds them, and where things are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stream_infer.checkpoints.store import CheckpointStore
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.build import Parts, build_stages
from stream_infer.dataplane.committed import read_committed_by_group
from stream_infer.dataplane.offsets import Committed, LogBounds
from stream_infer.dataplane.stage import Stage
from stream_infer.events.mapping import FieldMapping
from stream_infer.features.plan import Plan, compile_plan
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import TopicPartition, log_reader
from stream_infer.kafka.skips import Skipped, read_skips, skipped_offsets
from stream_infer.kafka.topics import check_topics, pipeline_topics, read_topics
from stream_infer.pipeline import Pipeline
from stream_infer.settings.worker import WorkerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """A pipeline on its Kafka, as of one moment.

    plan        the compiled pipeline
    stages      those that have a state, in the order in which data passes them
    entrance    the stage that reads the pipeline's events; it may have no state
    partitions  topic -> number of partitions
    committed   what the group has committed
    bounds      ends of the logs that the stages read
    skipped     offsets that every fold passes over
    """

    connection: Connection
    store: CheckpointStore
    settings: WorkerSettings
    plan: Plan
    stages: tuple[Stage, ...]
    entrance: Stage
    partitions: Mapping[str, int]
    committed: Mapping[Partition, Committed]
    bounds: Mapping[Partition, LogBounds]
    skipped: Skipped

    @property
    def pipeline(self) -> Pipeline:
        """The declaration."""
        return self.plan.pipeline

    def sources(self, stage: Stage) -> list[Partition]:
        """Return the partitions that a stage reads."""
        return [Partition(stage.topic, p) for p in range(self.partitions[stage.topic])]


async def open_workplace(
    connection: Connection,
    store: CheckpointStore,
    pipeline: Pipeline,
    settings: WorkerSettings,
    *,
    fields: FieldMapping | None = None,
    label_fields: FieldMapping | None = None,
) -> Workplace:
    """Read what stands in Kafka about a pipeline, and build its stages.

    Raises  NotFoundError and ConflictError when its topics are missing or do not fit; BrokerError
    """
    pipeline = pipeline.with_partitioning(settings.partitioning)
    await check_topics(connection, pipeline)
    facts = await read_topics(connection, [spec.name for spec in pipeline_topics(pipeline)])
    partitions = {name: fact.partitions for name, fact in facts.items()}
    plan = compile_plan(pipeline)
    # Without the model: nothing is scored, and no state depends on a score.
    parts = Parts(plan, None, partitions, settings, fields, label_fields)
    built = build_stages(parts)
    stages = tuple(s for s in built if not s.reads_all and s.open_state(None) is not None)
    [entrance] = [stage for stage in built if stage.topic == pipeline.events.topic]
    # Before the ends, so that no commit lies behind them.
    committed = await read_committed_by_group(connection, pipeline.name)
    skipped = skipped_offsets(await read_skips(connection, pipeline))
    topics = dict.fromkeys([entrance.topic, *(stage.topic for stage in stages)])
    places = [TopicPartition(name, p) for name in topics for p in range(partitions[name])]
    async with log_reader(connection) as reader:
        found = await reader.bounds(places)
    return Workplace(
        connection=connection,
        store=store,
        settings=settings,
        plan=plan,
        stages=stages,
        entrance=entrance,
        partitions=partitions,
        committed=committed,
        bounds={Partition(*tp): LogBounds(log.start, log.end) for tp, log in found.items()},
        skipped=skipped,
    )
