"""Reads a checkpoint out of a store: verifies it, or puts it into an empty state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

from stream_infer.checkpoints.chunks import FrameReader, damaged, open_chunk
from stream_infer.checkpoints.manifest import Manifest
from stream_infer.checkpoints.packing import KEYS, unpack_frame
from stream_infer.checkpoints.store import CheckpointStore

_STEP_SECONDS = 0.02
"""Other partitions may be running: so long at a stretch is a restore let work."""


class Restorable(Protocol):
    """A state that takes the frames of a capture, when it is empty."""

    def restore_frame(self, frame: Mapping[str, Any]) -> None:
        """Put one frame into the state, in their order."""


async def read_frames(
    store: CheckpointStore, manifest: Manifest
) -> AsyncIterator[list[dict[str, Any]]]:
    """Yield the frames, a few at a time. What was yielded counts only once the end is reached.

    Raises  InvalidDataError ``checkpoint_damaged`` when a chunk is missing, is not what was
            written, or belongs to another checkpoint
    """
    reader = FrameReader(manifest.id)
    number = keys = 0
    async for data in store.chunks(manifest):
        if number >= len(manifest.chunks):
            raise damaged(manifest.id, "it has more chunks than its manifest says")
        place = manifest.chunks[number]
        frames = await asyncio.to_thread(_open, reader, manifest.id, number, place.sha256, data)
        keys += sum(len(frame["keys"]) for frame in frames if frame["part"] == KEYS)
        yield frames
        number += 1
    if number != len(manifest.chunks):
        raise damaged(manifest.id, f"chunk {number} of {len(manifest.chunks)} is missing")
    reader.finish(manifest.content_sha256)


def _open(
    reader: FrameReader, checkpoint_id: str, number: int, sha256: str, data: bytes
) -> list[dict[str, Any]]:
    raw = open_chunk(data, checkpoint_id, number, sha256)
    return [unpack_frame(frame) for frame in reader.add(raw)]


async def restore_checkpoint(
    store: CheckpointStore,
    manifest: Manifest,
    state: Restorable,
    on_chunk: Callable[[int], None] = lambda _: None,
    *,
    seconds: Callable[[], float] = time.perf_counter,
) -> None:
    """Put a checkpoint into an empty state. After any error the state is worth nothing.

    on_chunk  called with how many chunks have been read
    Raises    as `read_frames`; ConflictError when other declarations made it; StateBudgetError
    """
    done, began = 0, seconds()
    async for frames in read_frames(store, manifest):
        for frame in frames:
            state.restore_frame(frame)
            if seconds() - began >= _STEP_SECONDS:
                await asyncio.sleep(0)
                began = seconds()
        done += 1
        on_chunk(done)
