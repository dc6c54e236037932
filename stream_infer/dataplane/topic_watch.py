"""Stops a worker whose topics were deleted, or got partitions, while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from stream_infer.errors import BrokerError
from stream_infer.kafka.topic_changes import topic_change
from stream_infer.pipeline import Pipeline

EVERY_SECONDS = 5.0
LOOKS = 3
"""A broker that has just started may not know every topic yet."""


async def watch_topics(
    pipeline: Pipeline,
    known: Mapping[str, int],
    count: Callable[[], Awaitable[Mapping[str, int]]],
    *,
    every_s: float = EVERY_SECONDS,
) -> None:
    """Look at the topics for ever; raise what is wrong with one when it was so for `LOOKS` looks.

    known   topic -> number of partitions when the worker started
    count   returns the same of now; what it raises as BrokerError is no look
    Raises  NotFoundError ``topic_deleted``, ConflictError ``partitions_added``
    """
    seen: list[str] = []
    while True:
        await asyncio.sleep(every_s)
        try:
            change = topic_change(pipeline, known, await count())
        except BrokerError:
            # Whether Kafka is away, others tell; and whether it hides a topic, the next request.
            continue
        if change is None:
            seen = []
            continue
        seen = [*(each for each in seen if each == change.message), change.message]
        if len(seen) >= LOOKS:
            raise change
