"""Says when Kafka goes away and when it is back.

The clients repeat their requests for as long as it takes, without a word, which is
right for them. An operator wants to know what the worker is waiting for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from stream_infer.errors import BrokerError
from stream_infer.kafka.connection import Connection, reach

log = structlog.get_logger("stream_infer.broker")

EVERY_SECONDS = 3.0


async def watch_broker(
    connection: Connection,
    *,
    every_s: float = EVERY_SECONDS,
    knock: Callable[[Connection], Awaitable[object]] = reach,
    tell: Callable[[float | None], None] = lambda _since: None,
) -> None:
    """Look whether Kafka answers, for ever; log the change, not the state.

    tell  called with the time since which it does not, and with None when it does again
    """
    away_since: float | None = None
    while True:
        await asyncio.sleep(every_s)
        try:
            await knock(connection)
        except BrokerError as error:
            if away_since is None:
                away_since = time.monotonic()
                tell(away_since)
                log.warning("waiting_for_broker", cause=error.message, fix=error.fix)
        else:
            if away_since is not None:
                log.info("broker_is_back", after_s=round(time.monotonic() - away_since, 1))
                away_since = None
                tell(None)
