"""A worker: one pipeline served by one app in one process, from start to clean stop."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import structlog

import stream_infer
from stream_infer.app import StreamApp
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.facts import PlaneObserver
from stream_infer.dataplane.lifecycle import Phase
from stream_infer.dataplane.patience import Patience
from stream_infer.dataplane.running import run_until
from stream_infer.errors import BrokerError, ConfigError, NotFoundError
from stream_infer.events.mapping import FieldMapping
from stream_infer.events.topic_names import models_topic
from stream_infer.features.plan import compile_plan
from stream_infer.kafka.connection import Connection, reach, translated
from stream_infer.kafka.open_transactions import holder_of
from stream_infer.models.ready import ready_model_dir
from stream_infer.observability.facts import PlaneFacts
from stream_infer.observability.pulse import Pulse
from stream_infer.observability.serving import observing
from stream_infer.pipeline import Pipeline
from stream_infer.precompile import precompile_pipeline
from stream_infer.registry.control_topic import read_told
from stream_infer.registry.entry import CHAMPION
from stream_infer.registry.registry import Registry
from stream_infer.scoring.conditions import ConditionScorer
from stream_infer.scoring.execution import ON_CPU, Execution
from stream_infer.scoring.model import Model
from stream_infer.scoring.session import Scorer
from stream_infer.serving.forecaster import Forecaster
from stream_infer.serving.live import LiveModel
from stream_infer.serving.router import Router, Serving
from stream_infer.serving.versions import VersionSource
from stream_infer.settings.model import ModelSettings
from stream_infer.settings.web import WebSettings
from stream_infer.settings.worker import WorkerSettings

log = structlog.get_logger("stream_infer.worker")

THREAD_SWITCH_SECONDS = 0.001
HEARTBEAT_SECONDS = 1.0
"""A member learns of a rebalance by its next heartbeat, and all wait for the last one to learn."""
GARBAGE_THRESHOLD = 50_000
LARGE_BLOCK_BYTES = 1 << 20
# mallopt(3): parameters by number.
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8


class Worker:
    """Everything that `stream-infer worker` and the demo run.

    A process may begin without the garbage collector, which imports take a sixth longer with: it
    is on again when the worker is ready.

    model         a loaded model or its folder; by default the ready model named by the pipeline
    fields        where the events' fields stand in the user's own JSON
    label_fields  where the labels' fields stand
    web           where metrics and health are served; None: nowhere
    registry      says which versions serve, in place of `model`; None: `model` serves for good
    cache         folder for copies of the registry's versions, from which a restart serves where
                  the registry cannot be reached; by default they go with the process
    execution     where models run
    versions      what is done about the registry's versions without a person
    """

    def __init__(
        self,
        pipeline: Pipeline,
        connection: Connection,
        settings: WorkerSettings,
        *,
        model: Model | Path | None = None,
        fields: FieldMapping | None = None,
        label_fields: FieldMapping | None = None,
        web: WebSettings | None = None,
        registry: Registry | None = None,
        cache: Path | None = None,
        execution: Execution = ON_CPU,
        versions: ModelSettings | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.connection = connection
        self.settings = settings
        self.model = model
        if model is None and pipeline.model is not None and registry is None:
            self.model = ready_model_dir(pipeline.model)
        self.fields = fields
        self.label_fields = label_fields
        self.web = web
        self.registry = registry
        self.cache = cache
        self.execution = execution
        self.versions = versions or ModelSettings()
        self.app: StreamApp | None = None
        self._away_since_s: float | None = None

    @property
    def is_serving(self) -> bool:
        """Whether the group has said which partitions to read, and each of them runs."""
        plane = None if self.app is None else self.app.plane
        return (
            plane is not None
            and plane.joined
            and all(task.phase is Phase.RUNNING for task in plane.tasks.values())
        )

    def prepare(self) -> None:
        """Load what `run` would load, so that it begins at once. Blocks."""
        precompile_pipeline(self.pipeline)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set. Raises what made the worker stop on its own."""
        name, version = self.pipeline.name, stream_infer.__version__
        try:
            async with observing(self.web, pipeline=name, version=version) as pulse:
                await self._run(stop, pulse)
        finally:
            gc.enable()

    async def _run(self, stop: asyncio.Event, pulse: Pulse) -> None:
        patience = Patience(
            self.settings.connect_wait_ms / 1000, is_stopping=stop.is_set, tell=self._note_broker
        )
        pulse.gather = lambda: PlaneFacts(
            stopping=stop.is_set(), broker_away_since_s=self._away_since_s
        )
        try:
            await self._serve(stop, pulse, patience)
        except BrokerError:
            if not patience.was_cut_short:
                raise

    async def _serve(self, stop: asyncio.Event, pulse: Pulse, patience: Patience) -> None:
        await patience.through(partial(reach, self.connection))
        # From the cache this takes milliseconds. Cold it takes many seconds of a core, and in
        # the middle of work the worker would miss its heartbeats.
        await asyncio.to_thread(precompile_pipeline, self.pipeline)
        _tune_interpreter()
        # Faust wants a folder for tables of its own; the stages keep none.
        with tempfile.TemporaryDirectory(prefix="stream-infer-") as folder:
            self.app = StreamApp(
                self.pipeline.name,
                connection=self.connection,
                patience=patience,
                datadir=folder,
                **_membership(self.settings),
            )
            # Nothing here is written by Faust; its producer would only be one more connection.
            self.app.boot_strategy.enable_kafka_producer = False
            self.app.serve(
                self.pipeline,
                model=self.model
                if self.registry is None
                else await self._live(
                    self.registry, self.cache or Path(folder) / "models", patience
                ),
                settings=self.settings,
                fields=self.fields,
                label_fields=self.label_fields,
                execution=self.execution,
                versions=self.versions,
            )
            pulse.gather = PlaneObserver(
                self.app.plane,
                model=lambda: None if self.app is None else self.app.scored_by,
                is_stopping=stop.is_set,
                find_holder=self._holder_of,
                models=self.app.model_facts,
            )
            async with translated(self.connection):
                await run_until(self.app, stop)

    async def _live(self, registry: Registry, cache: Path, patience: Patience) -> LiveModel[Any]:
        """Return what the registry says serves; the topic's word where it has one."""
        name, topic = self.pipeline.model, models_topic(self.pipeline)
        if name is None or topic is None:
            raise ConfigError(
                "registry_unwanted",
                f"Pipeline {self.pipeline.name!r} has no model that a registry could exchange.",
                "Leave [model] registry out, or declare the model in the pipeline.",
            )
        try:
            told = await patience.through(partial(read_told, self.connection, topic, name))
        except NotFoundError as error:
            # An older pipeline's topics: what the registry says at the start serves for good.
            log.warning(error.code, topic=topic, cause=error.message, fix=error.fix)
            told = None
        plan = compile_plan(self.pipeline)
        source = VersionSource(registry, name, cache, self.execution)
        if self.pipeline.conditions is not None:
            return await asyncio.to_thread(
                LiveModel[Forecaster],
                source,
                told,
                partial(ConditionScorer, plan),
                Forecaster,
                on_failure=self._fail,
                aliases=(CHAMPION,),
            )
        return await asyncio.to_thread(
            LiveModel[Router],
            source,
            told,
            lambda model: Scorer(model, plan.feature_names, plan.fingerprint),
            lambda champion: Router(Serving(champion), counts=True),
            on_failure=self._fail,
        )

    def champion(self) -> Model | Path | None:
        """Return the model that a worker would begin with; None without one. Blocks.

        Raises  what `VersionSource.load` raises
        """
        name = self.pipeline.model
        if self.registry is None or name is None:
            return self.model
        with tempfile.TemporaryDirectory(prefix="stream-infer-") as folder:
            cache = self.cache or Path(folder)
            source = VersionSource(self.registry, name, cache, self.execution)
            told = source.what_serves()
            served = None if told is None else told.served.get(CHAMPION)
            return None if served is None else source.load(served)

    def _note_broker(self, away_since_s: float | None) -> None:
        self._away_since_s = away_since_s
        if self.app is not None:
            self.app.plane.broker_away_since_s = away_since_s

    async def _fail(self, error: BaseException) -> None:
        if self.app is not None:
            await self.app.crash(error)

    async def _holder_of(self, partition: Partition) -> str | None:
        # It may be a dead worker's that was no member any more when it began its transaction.
        if self.app is not None:
            self.app.plane.look_for_dead_workers()
        return await holder_of(self.connection, partition)


def _membership(settings: WorkerSettings) -> dict[str, Any]:
    """Return how Faust keeps up the membership of the group."""
    session_s = settings.session_timeout_ms / 1000
    return {
        "broker_session_timeout": session_s,
        "broker_heartbeat_interval": min(HEARTBEAT_SECONDS, session_s / 3),
        "consumer_group_instance_id": settings.instance_id,
    }


def _tune_interpreter() -> None:
    """Set the interpreter up for one busy loop and many short-lived records.

    What packs checkpoints and loads models beside the loop shares the interpreter's lock with it.
    With the default of 5 ms, each return from a system call may wait that long for them.
    Records hold no cycles, so collecting after every 700 of them finds nothing.
    """
    _keep_large_blocks_apart()
    sys.setswitchinterval(THREAD_SWITCH_SECONDS)
    # Without a collection before it: that takes 0.15 s to find 3,000 small objects of imports.
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 20)
    gc.enable()


def _keep_large_blocks_apart() -> None:
    """Have glibc map large blocks one by one, so that growing and freeing them leaves no holes.

    A state's arrays grow by doubling and fetched bytes come and go by the MiB. In the common
    heap they leave gaps that nothing fits into. Elsewhere than on glibc nothing is done.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
    mallopt(M_ARENA_MAX, 1)
