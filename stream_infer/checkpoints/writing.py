"""Writes a captured state into a store, a little at a time, while the stage goes on.

The frames are read on the event loop, between the stage's steps and never for longer than
`STEP_SECONDS` at a stretch; packing, checksums and compression happen in a thread, and the store
waits for its disk or its broker by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stream_infer.checkpoints.chunks import Chunk, ChunkWriter
from stream_infer.checkpoints.manifest import ChunkPlace, Draft, Manifest
from stream_infer.checkpoints.packing import pack_frame
from stream_infer.checkpoints.store import CheckpointStore

Frame = Mapping[str, Any]

STEP_SECONDS = 0.005
"""A quarter of what a stage may take to answer at 2,000 events a second is 20 ms."""
_BATCH_FRAMES = 32
"""So many frames go to the thread at once: about a megabyte."""
_PUTS_MAX = 4
"""Chunks on their way to the store at once."""


async def write_checkpoint(
    store: CheckpointStore,
    draft: Draft,
    frames: Iterator[Frame | None],
    *,
    seconds: Callable[[], float] = time.perf_counter,
) -> Manifest:
    """Write all chunks and return the manifest, which is not published yet.

    frames  of a capture of the state at the draft's offset
    Raises  what the store raises; what was put until then is discarded
    """
    behind = _Behind(store, draft)
    try:
        batch: list[Frame] = []
        began = seconds()
        for frame in frames:
            if frame is not None:
                batch.append(frame)
            if len(batch) >= _BATCH_FRAMES:
                await behind.hand_over(batch)
                batch, began = [], seconds()
            elif seconds() - began >= STEP_SECONDS:
                await asyncio.sleep(0)
                began = seconds()
        await behind.hand_over(batch)
        return await behind.finish()
    except BaseException:
        await asyncio.shield(behind.give_up())
        raise


class _Behind:
    """Packs and puts one batch of frames while the next one is read."""

    def __init__(self, store: CheckpointStore, draft: Draft) -> None:
        self._store = store
        self._draft = draft
        self._writer = ChunkWriter(draft.id)
        self._places: list[ChunkPlace] = []
        self._working: asyncio.Task[None] | None = None

    async def hand_over(self, batch: list[Frame]) -> None:
        """Take a batch; wait for the one before. Raises what that one met with."""
        await self._wait()
        self._working = asyncio.create_task(self._work(batch))

    async def finish(self) -> Manifest:
        """Put what is left and return the manifest."""
        await self._wait()
        await _put(self._store, self._draft, self._writer.finish(), self._places)
        return self._draft.manifest(tuple(self._places), self._writer.content_sha256)

    async def give_up(self) -> None:
        """Discard what was put."""
        working, self._working = self._working, None
        if working is not None:
            working.cancel()
            await asyncio.wait([working])
        await self._store.discard(self._draft, self._writer.number)

    async def _work(self, batch: list[Frame]) -> None:
        chunks = await asyncio.to_thread(_pack, self._writer, batch)
        await _put(self._store, self._draft, chunks, self._places)

    async def _wait(self) -> None:
        if self._working is not None:
            await asyncio.shield(self._working)
            self._working = None


def _pack(writer: ChunkWriter, frames: list[Frame]) -> list[Chunk]:
    return writer.add([pack_frame(frame) for frame in frames])


async def _put(
    store: CheckpointStore, draft: Draft, chunks: list[Chunk], places: list[ChunkPlace]
) -> None:
    for first in range(0, len(chunks), _PUTS_MAX):
        # Together, for a broker's answer takes longer than the sending; they stay in order.
        together = chunks[first : first + _PUTS_MAX]
        places += await asyncio.gather(*(store.put(draft, chunk) for chunk in together))
