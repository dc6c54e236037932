"""The one place where the parts are joined: Faust's app, our transport, a pipeline's stages.

`StreamApp` is a `faust.App`. Ordinary agents, timers, tables, the web server and
``faust -A module worker`` work as ever; `StreamApp.serve` adds a pipeline whose
stages run on the data plane instead of on Faust's per-message path.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import faust

from stream_infer.checkpoints.marks import read_mark
from stream_infer.checkpoints.opening import open_store
from stream_infer.dataplane.build import Parts, read_topics
from stream_infer.dataplane.checkpointing import Checkpointer
from stream_infer.dataplane.dead_workers import DeadWorkers
from stream_infer.dataplane.earlier_versions import EarlierVersions
from stream_infer.dataplane.facts import lag_of
from stream_infer.dataplane.faust_settings import faust_settings
from stream_infer.dataplane.opening import check_kafka
from stream_infer.dataplane.patience import Patience
from stream_infer.dataplane.plane import DataPlane
from stream_infer.dataplane.progress_reading import read_progress
from stream_infer.dataplane.progress_sharing import ProgressSharing
from stream_infer.dataplane.replaying import LogReplayer
from stream_infer.dataplane.sender_making import SenderMaker
from stream_infer.dataplane.senders import Assigned, Senders
from stream_infer.dataplane.topic_watch import watch_topics
from stream_infer.dataplane.transport import (
    SETTLE_SECONDS,
    BatchConsumer,
    BatchTransport,
    RecordBatchSchema,
)
from stream_infer.dataplane.watch import watch_broker
from stream_infer.errors import ConfigError
from stream_infer.events.mapping import FieldMapping
from stream_infer.events.sensitive import check_sensitive
from stream_infer.events.topic_names import progress_topic
from stream_infer.features.plan import Plan, compile_plan
from stream_infer.guarding.facts import model_facts
from stream_infer.guarding.running import LiveWork
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.dead_transactions import group_transactions
from stream_infer.kafka.skips import Skipped, read_skips, skipped_offsets
from stream_infer.kafka.topic_changes import state_partitions
from stream_infer.kafka.topics import count_partitions, pipeline_topics
from stream_infer.kafka.transactions import GroupMember
from stream_infer.observability.facts import ModelFacts
from stream_infer.pipeline import Pipeline
from stream_infer.scoring.binding import bind_model, version_of
from stream_infer.scoring.execution import ON_CPU, Execution
from stream_infer.scoring.model import Model
from stream_infer.serving.forecaster import Forecaster
from stream_infer.serving.live import LiveModel
from stream_infer.serving.router import Router
from stream_infer.settings.model import ModelSettings
from stream_infer.settings.worker import WorkerSettings


class StreamApp(faust.App):
    """A Faust app that can serve a pipeline on record batches.

    name        consumer group: the name of the pipeline that it serves
    connection  where Kafka is
    patience    how it waits for Kafka while it starts; by default not at all
    options     any setting of `faust.App`
    """

    plane: DataPlane

    def __init__(
        self,
        name: str,
        *,
        connection: Connection | None = None,
        patience: Patience | None = None,
        **options: Any,
    ) -> None:
        self.connection = connection or Connection()
        self.patience = patience or Patience()
        super().__init__(name, **faust_settings(self.connection, options))
        self._make_parts: Callable[[Mapping[str, int]], Parts] | None = None
        self._pipeline: Pipeline | None = None
        self._partitions: dict[str, int] = {}
        self._earlier = EarlierVersions(time.time_ns() // 1_000_000)
        self._live: LiveModel[Any] | None = None
        self._live_work: LiveWork | None = None
        self._versions = ModelSettings()
        self._label_fields: FieldMapping | None = None
        self._scored_by: tuple[str, str] | None = None
        self.plane = self._empty_plane(WorkerSettings())

    @property
    def scored_by(self) -> tuple[str, str] | None:
        """Name and version of the model that scores now."""
        return self._scored_by if self._live is None else self._live.name_and_version

    def model_facts(self) -> ModelFacts | None:
        """Return which versions serve and what is seen of them; None without a registry."""
        if self._live is None:
            return None
        return model_facts(self._live, None if self._live_work is None else self._live_work.guard)

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    # -- what a user declares ---------------------------------------------------------

    def serve(
        self,
        pipeline: Pipeline,
        *,
        model: Model | Path | str | LiveModel[Any] | None = None,
        settings: WorkerSettings | None = None,
        fields: FieldMapping | None = None,
        label_fields: FieldMapping | None = None,
        execution: Execution = ON_CPU,
        versions: ModelSettings | None = None,
    ) -> Plan:
        """Add a pipeline; its stages become agents of this app.

        model     a loaded model or its folder, or what a registry says serves; None only for a
                  pipeline without a model
        settings  how to run the stages
        fields    where the events' fields stand in the user's own JSON
        execution where a model that is named by its folder runs
        versions  what is done about a registry's versions without a person
        Returns   the compiled plan
        Raises    ConfigError for a wrong declaration; ConflictError for a model that does
                  not fit it
        """
        if self._pipeline is not None:
            raise ConfigError(
                "second_pipeline",
                f"The app already serves {self._pipeline.name!r}.",
                "Run the second pipeline in an app, and a consumer group, of its own.",
            )
        if (model is None) != (pipeline.model is None):
            raise ConfigError(
                "model_missing" if model is None else "model_unwanted",
                f"Pipeline {pipeline.name!r} declares model {pipeline.model!r}, "
                f"but {'none' if model is None else 'one'} was given.",
                "Declare the model in the pipeline and give it to `serve`, or do neither.",
            )
        if self.conf.id != pipeline.name:
            raise ConfigError(
                "app_name_differs",
                f"The app is named {self.conf.id!r}, the pipeline {pipeline.name!r}.",
                f"Name the app {pipeline.name!r}: its consumer group and the pipeline's internal "
                "topics belong together.",
            )
        settings = settings or WorkerSettings()
        pipeline = pipeline.with_partitioning(settings.partitioning)
        check_sensitive(pipeline.events)
        plan = compile_plan(pipeline)
        self._live = model if isinstance(model, LiveModel) else None
        scorer = (
            model.router if isinstance(model, LiveModel) else bind_model(model, plan, execution)
        )
        live = isinstance(scorer, Router | Forecaster)
        self._scored_by = None if live else version_of(scorer)
        self._versions, self._label_fields = versions or ModelSettings(), label_fields
        self._pipeline = pipeline
        self.plane = self._empty_plane(settings)
        self._make_parts = lambda partitions: Parts(
            plan, scorer, partitions, settings, fields, label_fields, self._earlier
        )
        for topic in read_topics(plan):
            self._add_stage_agent(topic)
        return plan

    def _add_stage_agent(self, topic: str) -> None:
        async def stage(stream: Any) -> None:
            async for batches in stream:
                self.plane.accept(batches)

        channel = self.topic(topic, schema=RecordBatchSchema(), acks=False)
        self.agent(channel, name=f"stage.{topic}")(stage)

    # -- start and stop -----------------------------------------------------------------

    async def on_first_start(self) -> None:
        """Check the topics and build the stages before anything is read."""
        if self._pipeline is not None:
            await self._open_plane(self._pipeline)
        await super().on_first_start()

    async def _open_plane(self, pipeline: Pipeline) -> None:
        if self._make_parts is None:
            raise ConfigError("no_pipeline", "The app serves no pipeline.", "Call `serve` first.")
        stages, self._partitions = await self.patience.through(
            partial(
                check_kafka,
                self.connection,
                pipeline,
                self.conf.id,
                self._make_parts,
                self._earlier,
            )
        )
        partitions = self._partitions
        self.plane.open_stages(stages, state_partitions(pipeline, partitions))
        self.plane.checkpoints = self._open_checkpoints(pipeline)
        self.plane.dead_workers = self._end_dead_workers()
        self.plane.ledger.commit_positions = cast("BatchConsumer", self.consumer).commit_positions
        self.plane.ledger.read_to = cast("BatchConsumer", self.consumer).read_to
        self.plane.answered_ms = cast("BatchConsumer", self.consumer).answered_ms
        progress = progress_topic(pipeline)
        if progress is not None:
            self.plane.sharing = self._share_progress(progress, partitions)
            self.add_future(self.plane.sharing.read_forever())
        if self._live is not None:
            self._live_work = LiveWork(
                self.connection,
                pipeline,
                self._live,
                partitions,
                worker=self.plane.instance,
                settings=self._versions,
                label_mapping=self._label_fields,
                lag=lambda: lag_of(self.plane),
            )
            for work in self._live_work.coroutines():
                self.add_future(work)
        self.add_future(self.plane.commit_forever())
        self.add_future(self.plane.tick_forever())
        self.add_future(watch_broker(self.connection, tell=self._note_broker))
        names = [spec.name for spec in pipeline_topics(pipeline)]
        count = partial(count_partitions, self.connection, names)
        self.add_future(watch_topics(pipeline, partitions, count))

    async def on_shutdown(self) -> None:
        """Close what the stages leave open, when nothing is consumed any more."""
        await self.plane.close()
        await super().on_shutdown()

    def _open_checkpoints(self, pipeline: Pipeline) -> Checkpointer | None:
        where = self.plane.settings.checkpoints
        if where == "off":
            return None
        return Checkpointer(
            open_store(where, self.connection, pipeline.name),
            pipeline.name,
            read_mark=lambda source, offset: read_mark(self.connection, *source, offset),
            on_failure=self.crash,
        )

    def _end_dead_workers(self) -> DeadWorkers | None:
        settings = self.plane.settings
        if settings.delivery != "exactly_once":
            return None
        group, timeout_ms = self.conf.id, settings.transaction_timeout_ms
        return DeadWorkers(
            group,
            self.plane.instance,
            timeout_ms / 1000 + SETTLE_SECONDS,
            partial(group_transactions, self.connection, group, timeout_ms),
        )

    def _share_progress(self, topic: str, partitions: Mapping[str, int]) -> ProgressSharing:
        settings = self.plane.settings
        return ProgressSharing(
            topic,
            partitions,
            instance=self.plane.instance,
            generation=lambda: self._member().generation_id,
            read=partial(read_progress, self.connection, topic),
            # Others have a dead worker's partitions by then, and what it left open is aborted.
            silent_s_max=settings.session_timeout_ms / 1000 + SETTLE_SECONDS,
            on_progress=self.plane.note_progress,
            on_failure=self.crash,
        )

    def _empty_plane(self, settings: WorkerSettings) -> DataPlane:
        return DataPlane(
            settings,
            replay=LogReplayer(self.connection, lambda p: self.plane.skipped.get(p, ())),
            make_senders=self._make_senders,
            on_failure=self.crash,
            read_skips=self._read_skips,
        )

    async def _read_skips(self) -> Skipped:
        if self._pipeline is None:
            return {}
        return skipped_offsets(await read_skips(self.connection, self._pipeline))

    def _make_senders(self, assigned: Assigned) -> Senders:
        settings = self.plane.settings
        maker = SenderMaker(
            self.connection,
            group=self.conf.id,
            instance=self.plane.instance,
            settings=settings,
            partitions=self._partitions,
            member=self._member,
            read_committed_offsets=cast("BatchConsumer", self.consumer).committed_offsets,
        )
        return maker.make(assigned)

    def _member(self) -> GroupMember:
        """Return who this worker is in the group, as of the current assignment."""
        member = cast("BatchConsumer", self.consumer).member
        if member is None:
            raise RuntimeError("partitions were assigned to a worker that is no member")
        return member

    def _note_broker(self, away_since_s: float | None) -> None:
        self.plane.broker_away_since_s = away_since_s
