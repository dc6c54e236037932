"""What a worker whose versions a registry decides does beside scoring."""

from __future__ import annotations

from collections.abc import Collection, Coroutine
from functools import partial
from typing import Any

from stream_infer.events.told import Told
from stream_infer.events.topic_names import MODEL_EVIDENCE, guard_group, models_topic
from stream_infer.guarding.guard import Guard
from stream_infer.guarding.publishing import publish_forever
from stream_infer.guarding.topic import evidence_sender, guard_forever
from stream_infer.kafka.connection import Connection
from stream_infer.pipeline import Pipeline
from stream_infer.registry.control_topic import follow_told, tell
from stream_infer.serving.live import LiveModel


def live_work(
    connection: Connection,
    pipeline: Pipeline,
    live: LiveModel,
    topics: Collection[str],
    *,
    worker: str,
) -> list[Coroutine[Any, Any, None]]:
    """Return what runs for ever: doing what is told, telling what was seen, guarding.

    topics  those that exist: without that of versions nothing is told, and without that of
            evidence nobody guards
    worker  name of this worker, for evidence and the history
    """
    name, models = live.name_and_version[0], models_topic(pipeline)
    if models is None or models not in topics:
        return []
    work: list[Coroutine[Any, Any, None]] = [
        live.exchange.follow(partial(follow_told, connection, models, name))
    ]
    if MODEL_EVIDENCE in topics:

        async def tell_workers(told: Told) -> None:
            await tell(connection, models, told)

        guard = Guard(
            live.registry,
            name,
            tell_workers,
            pipeline=pipeline.name,
            who=f"guard of {pipeline.name} on {worker}",
        )
        work += [
            _publish(connection, live, pipeline.name, worker),
            guard_forever(connection, MODEL_EVIDENCE, guard, group=guard_group(pipeline.name)),
        ]
    return work


async def _publish(connection: Connection, live: LiveModel, pipeline: str, worker: str) -> None:
    async with evidence_sender(connection, MODEL_EVIDENCE) as send:
        await publish_forever(live.router, send, pipeline=pipeline, worker=worker)
