"""A TCP proxy that can be cut and slowed: the network between clients and one broker."""

from __future__ import annotations

import asyncio
import contextlib

CHUNK_BYTES = 64 * 1024


class TcpProxy:
    """Passes bytes on between its own port and a target, both on loopback.

    delay_s  how long each chunk is held, both ways
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.delay_s = 0.0
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """Break every connection and accept none, until `mend`."""
        self._open.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def mend(self) -> None:
        """Accept connections again."""
        self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or not self._open.is_set():
            writer.transport.abort()
            return
        self._tasks.add(task)
        outer: asyncio.StreamWriter | None = None
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", self._target)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, outer))
                both.create_task(self._pass(inner, writer))
        except* (OSError, asyncio.CancelledError):
            pass  # either side has gone, or the line was cut: the other side learns it below
        finally:
            self._tasks.discard(task)
            for each in (writer, outer):
                if each is not None:
                    with contextlib.suppress(RuntimeError):
                        each.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError  # one side has ended: both do
