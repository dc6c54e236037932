"""Lets a client come up before it is closed, and close: one cut short leaves connections open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer

COME_UP_S_MAX = 4.0
"""For a client that nobody wants any more to come up, so that it can be closed."""

CANCEL_AGAIN_S = 0.2

Client = TypeVar("Client")


async def come_up(starting: Coroutine[Any, Any, None]) -> None:
    """Await the start of a client; cancelled meanwhile, let it come up all the same, and raise."""
    task = asyncio.create_task(starting)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await _let(task)
        raise


async def _let(task: asyncio.Task[Any]) -> None:
    """Wait for a task within a bound, then cancel it.

    Whoever gives a client up may cancel more than once, since a cancellation can get lost inside of
    one: each but the first would leave the start alone, with whatever it opens.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + COME_UP_S_MAX
    while not task.done() and loop.time() < until:
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task], timeout=until - loop.time())
    task.cancel()
    if task.done() and not task.cancelled():
        task.exception()  # else the loop complains that nobody looked at it


async def go_down(stopping: Coroutine[Any, Any, None]) -> None:
    """Await the end of a client; cancelled meanwhile, let it end all the same, and raise.

    Cut short, a client leaves open what it would have closed last: its connections.
    """
    await come_up(stopping)


async def end_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer; cancelled meanwhile, let it end all the same, and raise.

    When its partitions have just changed, aiokafka's fetcher waits for the fetches that it has
    cancelled, and takes the cancellation of its own task for theirs: it goes on, and `stop` would
    wait for it for ever.
    """
    await go_down(_end_consumer(consumer))


async def _end_consumer(consumer: AIOKafkaConsumer) -> None:
    stopping = asyncio.create_task(consumer.stop())
    while not (await asyncio.wait([stopping], timeout=CANCEL_AGAIN_S))[0]:
        fetcher = consumer._fetcher  # noqa: SLF001 - see `end_consumer`
        if fetcher is not None:
            fetcher._fetch_task.cancel()  # noqa: SLF001
    await stopping


@asynccontextmanager
async def opened(client: AbstractAsyncContextManager[Client]) -> AsyncIterator[Client]:
    """Enter what opens a client; one that is being opened when this is cancelled is closed."""
    async with AsyncExitStack() as ends:
        opening = asyncio.create_task(ends.enter_async_context(client))
        try:
            found = await asyncio.shield(opening)
        except asyncio.CancelledError:
            await _let(opening)
            raise
        yield found
