"""What the worker that decides does beside looking: remember hours, feed the trial by labels."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import structlog

from stream_infer.errors import InvalidDataError, StreamInferError
from stream_infer.events.hour_word import (
    HourWord,
    decode_hour_word,
    encode_hour_word,
    hour_key,
)
from stream_infer.guarding.feeding import TrialFeed
from stream_infer.guarding.guard import Guard
from stream_infer.guarding.latest import read_latest
from stream_infer.guarding.publishing import Send
from stream_infer.guarding.topic import evidence_sender
from stream_infer.kafka.connection import Connection

log = structlog.get_logger("stream_infer.models")

AGAIN_S = 5.0
HOURS_EVERY_S = 300.0
"""What is lost of an hour when the owner is killed."""


class Owning:
    """The work of an owner; a Kafka that is away is no ground to end a worker.

    topic  the guard's own; None where it is not there: then nothing outlives the owner
    feed   feeds the trial; None: none is conducted
    """

    def __init__(
        self, connection: Connection, guard: Guard, topic: str | None, feed: TrialFeed | None
    ) -> None:
        self._connection = connection
        self._guard = guard
        self._topic = topic
        self._feed = feed

    async def work(self) -> None:
        """Go on from what was written down, and write down what is seen; for ever."""
        is_restored = False
        while True:
            try:
                if self._topic is not None and not is_restored:
                    self._guard.hours.restore(await self._read_hours(self._topic))
                is_restored = True
                await self._work_on()
            except StreamInferError as error:
                log.warning("guard_remembers_nothing", cause=error.message, fix=error.fix)
            await asyncio.sleep(AGAIN_S)

    async def _work_on(self) -> None:
        async with AsyncExitStack() as ends:
            send: Send | None = None
            if self._topic is not None:
                opening = evidence_sender(self._connection, self._topic, keeps=True)
                send = await ends.enter_async_context(opening)
            async with asyncio.TaskGroup() as work:
                if self._feed is not None:
                    work.create_task(self._feed.feed_forever(send))
                if send is not None:
                    work.create_task(_write_hours(self._guard, send))

    async def _read_hours(self, topic: str) -> list[HourWord]:
        prefix = f"{self._guard.model}/hours/".encode()
        found = []
        for key, value in (await read_latest(self._connection, topic)).items():
            if not key.startswith(prefix):
                continue
            try:
                found.append(decode_hour_word(value))
            except InvalidDataError as error:
                log.warning("hour_word_invalid", cause=error.message, fix=error.fix)
        return found


async def _write_hours(guard: Guard, send: Send) -> None:
    """Write down what has changed, for ever; what Kafka does not take now it may take next time."""
    while True:
        await asyncio.sleep(HOURS_EVERY_S)
        try:
            for word in guard.hours.changed(guard.model):
                await send(hour_key(word.model, word.hour), encode_hour_word(word))
        except StreamInferError as error:
            log.warning("hours_not_written", cause=error.message, fix=error.fix)
