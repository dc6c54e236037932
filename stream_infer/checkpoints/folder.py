"""Checkpoints in a folder, which all workers of a pipeline must see: ``file:///srv/checkpoints``.

In ``<folder>/<pipeline>/<stage>/<topic>-<partition>/`` lie

    <offset>-<id>.chunks    the chunks of a checkpoint, one after another
    <offset>-<id>.json      its manifest
    *.partial               what is still being written

A file gets its name when all of it is on the disk. So a manifest that can be seen is whole, and
so were its chunks when it was written.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from stream_infer.checkpoints.chunks import Chunk, damaged
from stream_infer.checkpoints.manifest import (
    ChunkPlace,
    Draft,
    Found,
    Manifest,
    Unreadable,
    decode_manifest,
    encode_manifest,
)
from stream_infer.errors import ConflictError, NotFoundError, StreamInferError

T = TypeVar("T")

_PARTIAL = ".partial"
_LEFT_OVER_S = 86_400
"""What a worker that died left half-written is removed after a day: nobody writes that long."""
_OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FolderStore:
    """Checkpoints of one pipeline in a folder."""

    def __init__(self, folder: Path, pipeline: str) -> None:
        self._root = folder / pipeline
        self._folder = folder
        self._writing = asyncio.Lock()

    async def put(self, draft: Draft, chunk: Chunk) -> ChunkPlace:
        """Append a chunk to the checkpoint's file."""
        path = self._file(draft) + _PARTIAL
        async with self._writing:  # chunks that are put together stand in order
            append = asyncio.create_task(
                asyncio.to_thread(self._doing, draft.offset, lambda: _append(path, chunk))
            )
            try:
                place = await asyncio.shield(append)
            except asyncio.CancelledError:
                # The thread goes on; who discards the file next must not meet it.
                await asyncio.wait([append])
                raise
        return ChunkPlace(place, len(chunk.data), chunk.sha256)

    async def publish(self, manifest: Manifest) -> None:
        """Bring chunks and manifest to the disk, then let them be seen."""
        await asyncio.to_thread(
            self._doing, manifest.offset, lambda: _publish(self._file(manifest), manifest)
        )

    async def discard(self, draft: Draft, chunks: int) -> None:
        """Remove what was put."""
        path = Path(self._file(draft) + _PARTIAL)
        await asyncio.to_thread(path.unlink, missing_ok=True)

    async def found(self) -> list[Found]:
        """Return the manifests in the folder."""
        return await asyncio.to_thread(self._found)

    def _found(self) -> list[Found]:
        self._require_folder()
        found: list[Found] = []
        for path in sorted(self._root.glob("*/*/*.json")):
            try:
                found.append(decode_manifest(path.name, path.read_bytes()))
            except OSError as error:
                if not isinstance(error, FileNotFoundError):  # else: pruned meanwhile
                    found.append(Unreadable(path.name, f"it cannot be read ({error.strerror})"))
        return found

    async def chunks(self, manifest: Manifest) -> AsyncIterator[bytes]:
        """Yield the chunks of the checkpoint's file."""
        path = Path(self._file(manifest) + ".chunks")
        try:
            file = await asyncio.to_thread(path.open, "rb")
        except OSError as error:
            raise damaged(manifest.id, f"{path} cannot be read ({error.strerror})") from error
        with file:
            for number, chunk in enumerate(manifest.chunks):
                file.seek(chunk.place)
                try:
                    data = await asyncio.to_thread(file.read, chunk.bytes)
                except OSError as error:
                    why = f"chunk {number} cannot be read ({error.strerror})"
                    raise damaged(manifest.id, why) from error
                yield data

    async def remove(self, manifests: Sequence[Manifest]) -> None:
        """Remove checkpoints, and what was left half-written long ago."""
        await asyncio.to_thread(self._remove, manifests)

    def _remove(self, manifests: Sequence[Manifest]) -> None:
        for manifest in manifests:
            base = self._file(manifest)
            # The manifest first: one without chunks would be a damaged checkpoint.
            Path(base + ".json").unlink(missing_ok=True)
            Path(base + ".chunks").unlink(missing_ok=True)
            Path(base + _PARTIAL).unlink(missing_ok=True)  # written, and never published
        for folder in {Path(self._file(manifest)).parent for manifest in manifests}:
            for path in [*folder.glob("*" + _PARTIAL), *folder.glob("*.chunks")]:
                is_old = path.stat().st_mtime < time.time() - _LEFT_OVER_S
                if is_old and not path.with_suffix(".json").exists():
                    path.unlink(missing_ok=True)

    async def close(self) -> None:
        """Hold nothing open."""

    def _file(self, what: Draft | Manifest) -> str:
        """Return the path of a checkpoint's files without their endings."""
        folder = self._root / what.stage / f"{what.topic}-{what.partition}"
        return str(folder / f"{what.offset:020d}-{what.id}")

    def _require_folder(self) -> None:
        # Never made here: where a disk is not mounted, its folder must not appear.
        if not self._folder.is_dir():
            raise NotFoundError(
                "checkpoint_folder_missing",
                f"The folder for checkpoints {self._folder} does not exist.",
                "Create it, mount it, or name another one; all workers need to see it.",
                folder=str(self._folder),
            )

    def _doing(self, offset: int, do: Callable[[], T]) -> T:
        """Do something with files; raise what the disk says as an error of ours."""
        self._require_folder()
        try:
            return do()
        except OSError as error:
            raise self._disk_error(error, offset) from error

    def _disk_error(self, error: OSError, offset: int) -> StreamInferError:
        if error.errno in _OUT_OF_SPACE:
            return ConflictError(
                "checkpoint_disk_full",
                f"The disk of {self._folder} is full; the checkpoint at offset {offset} is not"
                " written.",
                "Make room there. The worker goes on; a restart replays more of the log.",
                folder=str(self._folder),
                offset=offset,
            )
        return ConflictError(
            "checkpoint_not_written",
            f"The checkpoint at offset {offset} cannot be written to {self._folder}"
            f" ({error.strerror}).",
            "Check that the folder exists and that the worker may write there.",
            folder=str(self._folder),
            offset=offset,
        )


def _append(path: str, chunk: Chunk) -> int:
    """Append a chunk and return where it begins."""
    try:
        file = open(path, "ab")  # noqa: SIM115, PTH123 - closed below, and this is a hot path
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "ab")  # noqa: SIM115, PTH123 - see above
    with file:
        place = file.tell()
        file.write(chunk.data)
    return place


def _publish(base: str, manifest: Manifest) -> None:
    chunks, described = Path(base + _PARTIAL), Path(base + ".json" + _PARTIAL)
    with chunks.open("ab") as file:
        os.fsync(file.fileno())
    chunks.rename(base + ".chunks")
    with described.open("wb") as file:
        file.write(encode_manifest(manifest))
        file.flush()
        os.fsync(file.fileno())
    described.rename(base + ".json")
    folder = os.open(described.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
