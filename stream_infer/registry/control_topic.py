"""Writes and follows the topic that tells workers which versions serve."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from stream_infer.errors import InvalidDataError
from stream_infer.events.told import Told, decode_told, encode_told, newest
from stream_infer.kafka.coming_up import opened
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.sending import topic_sender

FETCH_WAIT_MS = 250
"""How long Kafka holds an empty answer: a record that comes meanwhile is answered at once."""


async def tell(connection: Connection, topic: str, told: Told) -> None:
    """Write what serves; safe to repeat.

    Raises  NotFoundError ``topic_missing``; BrokerError
    """
    async with topic_sender(connection, topic) as sender:
        await sender.send([told.model], [encode_told(told)])


async def read_told(connection: Connection, topic: str, model: str) -> Told | None:
    """Return what the topic says about a model now; None where it says nothing.

    Raises  NotFoundError ``topic_missing``; BrokerError
    """
    known: Told | None = None
    async with log_reader(connection, wait_ms=10) as reader:
        bounds = await reader.bounds(await reader.partitions(topic))
        async for _, records in reader.read(bounds):
            for record in records:
                told = _told(record.key, record.value, model)
                if isinstance(told, Told):
                    known = newest(known, told)
    return known


async def follow_told(
    connection: Connection, topic: str, model: str
) -> AsyncGenerator[Told | InvalidDataError, None]:
    """Yield what the topic says about a model, each time that it is news; for ever.

    A record that cannot be read is yielded as the error that it is: whoever follows says so and
    serves on.
    Raises  NotFoundError ``topic_missing``; BrokerError
    """
    known: Told | None = None
    async with opened(log_reader(connection, wait_ms=FETCH_WAIT_MS)) as reader:
        bounds = await reader.bounds(await reader.partitions(topic))
        async for _, records in reader.follow({tp: log.start for tp, log in bounds.items()}):
            for record in records:
                told = _told(record.key, record.value, model)
                if isinstance(told, InvalidDataError):
                    yield told
                elif told is not None and newest(known, told) is told:
                    known = told
                    yield told


def _told(key: bytes | None, value: bytes | None, model: str) -> Told | InvalidDataError | None:
    """Return what a record says about a model; None where it is about another, or about none."""
    if key != model.encode() or value is None:
        return None
    try:
        told = decode_told(value)
    except InvalidDataError as error:
        return error
    return told if told.model == model else None
