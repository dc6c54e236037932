"""Where checkpoints are kept, behind one small protocol.

A checkpoint is its chunks, put one after the other, and then its manifest. Without a manifest
there is no checkpoint, whatever chunks lie about.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from stream_infer.checkpoints.chunks import Chunk
from stream_infer.checkpoints.manifest import ChunkPlace, Draft, Found, Manifest


class CheckpointStore(Protocol):
    """Keeps checkpoints of one pipeline."""

    async def put(self, draft: Draft, chunk: Chunk) -> ChunkPlace:
        """Keep a chunk, and say where it lies.

        Raises  StreamInferError naming the cause, such as ``checkpoint_disk_full``
        """

    async def publish(self, manifest: Manifest) -> None:
        """Make a checkpoint known, whose chunks are all put: from now on others find it."""

    async def discard(self, draft: Draft, chunks: int) -> None:
        """Remove the chunks of a checkpoint that will not be published."""

    async def found(self) -> list[Found]:
        """Return the manifests that stand there now, in no order."""

    def chunks(self, manifest: Manifest) -> AsyncIterator[bytes]:
        """Yield the chunks as they were put, in order; nothing is verified.

        Raises  InvalidDataError ``checkpoint_damaged`` when one is missing
        """

    async def remove(self, manifests: Sequence[Manifest]) -> None:
        """Remove checkpoints, each its manifest first. One that is gone is no error."""

    async def close(self) -> None:
        """Give back what is held open."""
