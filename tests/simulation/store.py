"""Checkpoints in memory, which take their time and fail now and then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from random import Random

from stream_infer.checkpoints.chunks import Chunk
from stream_infer.checkpoints.manifest import ChunkPlace, Draft, Found, Manifest
from stream_infer.dataplane.batch import Partition
from stream_infer.errors import StreamInferError


class Store:
    """What all workers of a run keep their checkpoints in.

    committed  what the group has committed
    faults     share of the calls that fail
    published  how many were made known
    """

    def __init__(
        self, random: Random, committed: Mapping[Partition, tuple[int, str]], faults: float
    ) -> None:
        self.published = 0
        self.committed = committed
        self.faults = faults
        self._random = random
        self._chunks: dict[str, dict[int, bytes]] = {}
        self._manifests: dict[str, Manifest] = {}

    async def put(self, draft: Draft, chunk: Chunk) -> ChunkPlace:
        """Keep a chunk."""
        await self._call()
        self._chunks.setdefault(draft.id, {})[chunk.number] = chunk.data
        return ChunkPlace(chunk.number, len(chunk.data), chunk.sha256)

    async def publish(self, manifest: Manifest) -> None:
        """Make a checkpoint known."""
        await self._call()
        committed, _ = self.committed[Partition(manifest.topic, manifest.partition)]
        if manifest.offset > committed:
            raise AssertionError(f"a checkpoint at {manifest.offset} is ahead of {committed}")
        self._manifests[manifest.id] = manifest
        self.published += 1

    async def discard(self, draft: Draft, chunks: int) -> None:
        """Remove what was put."""
        self._chunks.pop(draft.id, None)

    async def found(self) -> list[Found]:
        """Return what is known."""
        await self._call()
        return list(self._manifests.values())

    async def chunks(self, manifest: Manifest) -> AsyncIterator[bytes]:
        """Yield the chunks."""
        await self._call()
        for place in manifest.chunks:
            yield self._chunks[manifest.id][place.place]

    async def remove(self, manifests: Sequence[Manifest]) -> None:
        """Remove checkpoints."""
        await self._call()
        for manifest in manifests:
            self._manifests.pop(manifest.id, None)
            self._chunks.pop(manifest.id, None)

    async def close(self) -> None:
        """Give nothing back."""

    async def _call(self) -> None:
        await asyncio.sleep(self._random.choice([0.0, 0.001, 0.3]))
        if self._random.random() < self.faults:
            raise StreamInferError("checkpoint_disk_full", "The simulated disk is full.")
