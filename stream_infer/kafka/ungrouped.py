"""A consumer without a group: it reads what it is told to, commits nothing and disturbs nobody."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer

from stream_infer.kafka.coming_up import come_up, end_consumer
from stream_infer.kafka.connection import Connection, translated


@contextlib.asynccontextmanager
async def ungrouped_consumer(
    connection: Connection, *, isolation: str = "read_committed", **options: Any
) -> AsyncIterator[AIOKafkaConsumer]:
    """Start a consumer and stop it at the end; what Kafka refuses inside becomes one of our errors.

    isolation  "read_uncommitted" also reads what is not committed, or never will be
    options    further ones of the client
    """
    async with translated(connection):
        consumer = AIOKafkaConsumer(
            **connection.client_options(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level=isolation,
            **options,
        )
        try:
            try:
                await come_up(consumer.start())
            finally:
                # Stopped before its background task ever ran, aiokafka raises CancelledError.
                await asyncio.sleep(0)
            yield consumer
        finally:
            await end_consumer(consumer)
