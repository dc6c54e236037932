"""Runs an app inside an event loop that is there already."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import faust


async def run_until(app: faust.App, stop: asyncio.Event) -> None:
    """Run an app inside the current event loop until `stop` is set or it crashes.

    Raises what crashed it, so that a command can say it in its own words.
    """
    try:
        await app.start()
    except BaseException:
        # What had started is not to be left open; the error that stopped it is the one to tell.
        with suppress(Exception):
            await app.stop()
        raise
    stopping = asyncio.create_task(stop.wait())
    crashed = asyncio.create_task(app._crashed.wait())  # noqa: SLF001 - no public way
    try:
        await asyncio.wait([stopping, crashed], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        crashed.cancel()
        await app.stop()
    reason = app.crash_reason
    if reason is not None:
        raise reason
