"""What a worker whose versions a registry decides does beside scoring."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any

import structlog

from stream_infer.events.mapping import FieldMapping
from stream_infer.events.told import Told
from stream_infer.events.topic_names import (
    MODEL_EVIDENCE,
    OPERATIONS_ALERTS,
    guard_group,
    guard_topic,
    models_topic,
)
from stream_infer.guarding.again import while_kafka_is_away
from stream_infer.guarding.feeding import TrialFeed
from stream_infer.guarding.guard import Guard
from stream_infer.guarding.latest import read_latest
from stream_infer.guarding.operations import OperationsDesk
from stream_infer.guarding.owning import Owning
from stream_infer.guarding.publishing import publish_forever
from stream_infer.guarding.topic import evidence_sender, guard_forever
from stream_infer.guarding.trial_records import TrialRecords
from stream_infer.guarding.trials import TrialKeeper
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.sending import topic_sender
from stream_infer.pipeline import Pipeline
from stream_infer.registry.control_topic import follow_told, tell
from stream_infer.serving.live import LiveModel
from stream_infer.serving.overload import Lag, LagWatch, Overload, OverloadLimits
from stream_infer.serving.router import Router
from stream_infer.settings.model import ModelSettings

log = structlog.get_logger("stream_infer.models")

LOOK_EVERY_S = 1.0


class LiveWork:
    """What is done about one model beside scoring with it; owns the guard of this worker.

    topics         those that exist: without that of versions nothing is told, and without that
                   of evidence nobody guards
    worker         name of this worker, for evidence and the history
    settings       what is done without a person
    label_mapping  where the labels' fields stand in the user's own JSON
    lag            tells how far behind scoring is
    Raises         ConfigError where a trial is asked for and the pipeline has no labels
    """

    def __init__(
        self,
        connection: Connection,
        pipeline: Pipeline,
        live: LiveModel[Any],
        topics: Collection[str],
        *,
        worker: str,
        settings: ModelSettings | None = None,
        label_mapping: FieldMapping | None = None,
        lag: Callable[[], Lag] | None = None,
    ) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self._live = live
        self._topics = topics
        self._worker = worker
        self._settings = settings or ModelSettings()
        self._lag = lag
        self._model = live.name_and_version[0]
        self._records = (
            None
            if self._settings.trial == "off" or not isinstance(live.router, Router)
            else TrialRecords(pipeline, label_mapping)
        )
        self.guard: Guard | None = None

    def coroutines(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs for ever: doing what is told, telling what was seen, guarding."""
        models = models_topic(self._pipeline)
        if models is None or models not in self._topics:
            return []
        work: list[Coroutine[Any, Any, None]] = [
            self._live.exchange.follow(
                partial(follow_told, self._connection, models, self._model), self._live.told
            )
        ]
        router = self._live.router
        if not isinstance(router, Router):
            return work
        if self._lag is not None:
            work.append(watch_lag(router, self._lag, self._limits()))
        if MODEL_EVIDENCE in self._topics:
            work += [
                while_kafka_is_away(partial(self._publish, router)),
                while_kafka_is_away(partial(self._guard, models)),
            ]
        return work

    def _limits(self) -> OverloadLimits:
        settings = self._settings
        return OverloadLimits(
            enter_lag_ms=settings.fast_enter_lag_ms, leave_lag_ms=settings.fast_leave_lag_ms
        )

    async def _publish(self, router: Router) -> None:
        async with evidence_sender(self._connection, MODEL_EVIDENCE) as send:
            await publish_forever(router, send, pipeline=self._pipeline.name, worker=self._worker)

    async def _guard(self, models: str) -> None:
        connection, name = self._connection, self._pipeline.name

        async def tell_workers(told: Told) -> None:
            await tell(connection, models, told)

        async def send(key: bytes, value: bytes) -> None:
            async with topic_sender(connection, OPERATIONS_ALERTS) as sender:
                await sender.send([key.decode()], [value])

        keeper = None if self._records is None else TrialKeeper(self._model, self._settings)
        own = guard_topic(self._pipeline)
        own = own if own in self._topics else None
        desk = None
        if OPERATIONS_ALERTS in self._topics:
            desk = OperationsDesk(name, partial(read_latest, connection, OPERATIONS_ALERTS), send)
        self.guard = guard = Guard(
            self._live.registry,
            self._model,
            tell_workers,
            pipeline=name,
            who=f"guard of {name} on {self._worker}",
            trial=keeper,
            operations=desk,
        )
        feed = (
            None
            if keeper is None or self._records is None
            else TrialFeed(connection, keeper, self._records, own)
        )
        owning = Owning(connection, guard, own, feed)
        await guard_forever(
            connection, MODEL_EVIDENCE, guard, group=guard_group(name), beside=owning.work
        )


async def watch_lag(
    router: Router,
    lag: Callable[[], Lag],
    limits: OverloadLimits,
    *,
    every_s: float = LOOK_EVERY_S,
) -> None:
    """Let the fast model serve while scoring is behind, for ever; without one nothing changes."""
    watch, overload = LagWatch(), Overload()
    while True:
        await asyncio.sleep(every_s)
        lag_ms = watch.lag_ms(lag())
        after = overload.after(lag_ms, time.monotonic(), limits)
        if after.fast != overload.fast and router.serving.fast is not None:
            log.warning("fast_model_serves" if after.fast else "champion_serves", lag_ms=lag_ms)
        overload = after
        router.is_overloaded = overload.fast
