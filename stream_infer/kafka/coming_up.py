"""Lets a client come up before it is closed: one that is cut short leaves connections open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

COME_UP_S_MAX = 4.0
"""For a client that nobody wants any more to come up, so that it can be closed."""

Client = TypeVar("Client")


async def come_up(starting: Coroutine[Any, Any, None]) -> None:
    """Await the start of a client; cancelled meanwhile, let it come up all the same, and raise."""
    task = asyncio.create_task(starting)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=COME_UP_S_MAX)
        task.cancel()
        raise


@asynccontextmanager
async def opened(client: AbstractAsyncContextManager[Client]) -> AsyncIterator[Client]:
    """Enter what opens a client; one that is being opened when this is cancelled is closed."""
    async with AsyncExitStack() as ends:
        opening = asyncio.create_task(ends.enter_async_context(client))
        try:
            found = await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.wait([opening], timeout=COME_UP_S_MAX)
            opening.cancel()
            raise
        yield found
