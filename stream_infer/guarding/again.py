"""Keeps what a worker does beside scoring alive over an outage of Kafka, as scoring is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from stream_infer.errors import BrokerError
from stream_infer.kafka.causes import MAY_PASS

log = structlog.get_logger("stream_infer.models")

AGAIN_SECONDS = 1.0


async def while_kafka_is_away(
    work: Callable[[], Awaitable[None]], *, again_s: float = AGAIN_SECONDS
) -> None:
    """Do a work that runs for ever, and begin it anew where it ended since Kafka did not answer.

    Raises  what it raises otherwise: a right that is missing does not come by waiting
    """
    told = ""
    while True:
        try:
            return await work()
        except BrokerError as error:
            if error.code not in MAY_PASS:
                raise
            if error.code != told:
                told = error.code
                log.warning("guard_waits", cause=error.message, fix=error.fix)
        await asyncio.sleep(again_s)
