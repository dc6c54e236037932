"""A checkpoint's frames as chunks of bounded size, and back.

The frames follow one another, each behind its length (4 bytes, little-endian). That stream is
cut into chunks; a chunk is

    bytes 0..3     "SICP"
    4              version of this layout
    5              0: as it is, 1: zstd
    6..21          the checkpoint's id
    22..25         its number, from 0, little-endian
    26..29         length of what it holds, unpacked
    30..61         SHA-256 over bytes 0..29 and all from 62 on
    62..           what it holds

So a chunk shows by itself whether it is whole; that it is the right one shows the manifest, which
repeats its checksum.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

import cramjam

from stream_infer.errors import InvalidDataError

CHUNK_BYTES_MAX = 960 * 1024
"""What a chunk holds at most, unpacked: with its head it fits Kafka's default of 1 MiB."""
_HEAD = struct.Struct("<4sBB16sII")
_LENGTH = struct.Struct("<I")
_CHECKSUM_BYTES = 32
_MAGIC, _VERSION = b"SICP", 1
_PLAIN, _ZSTD = 0, 1
_LEVEL = 1
"""Level 3 is no smaller and takes longer."""


class Chunk(NamedTuple):
    """A chunk as it is stored; sha256 is of all of its bytes, in hex."""

    number: int
    data: bytes
    sha256: str


class ChunkWriter:
    """Cuts frames into chunks.

    checkpoint_id  32 hex digits
    """

    def __init__(self, checkpoint_id: str) -> None:
        self._id = bytes.fromhex(checkpoint_id)
        self._held = bytearray()
        self._content = hashlib.sha256()
        self.number = 0

    @property
    def content_sha256(self) -> str:
        """Checksum of all frames so far: that of equal states is equal."""
        return self._content.hexdigest()

    def add(self, frames: list[bytes]) -> list[Chunk]:
        """Take frames in and return the chunks that are full. No other thread may add meanwhile."""
        for frame in frames:
            self._held += _LENGTH.pack(len(frame))
            self._held += frame
        made = []
        while len(self._held) >= CHUNK_BYTES_MAX:
            made.append(self._make(CHUNK_BYTES_MAX))
        return made

    def finish(self) -> list[Chunk]:
        """Return the last chunk, if anything is left for one."""
        return [self._make(len(self._held))] if self._held else []

    def _make(self, size: int) -> Chunk:
        raw = bytes(self._held[:size])
        del self._held[:size]
        self._content.update(raw)
        packed = bytes(cramjam.zstd.compress(raw, _LEVEL))
        codec, body = (_ZSTD, packed) if len(packed) < len(raw) else (_PLAIN, raw)
        head = _HEAD.pack(_MAGIC, _VERSION, codec, self._id, self.number, len(raw))
        data = head + hashlib.sha256(head + body).digest() + body
        chunk = Chunk(self.number, data, hashlib.sha256(data).hexdigest())
        self.number += 1
        return chunk


def open_chunk(data: bytes, checkpoint_id: str, number: int, sha256: str | None = None) -> bytes:
    """Return what a chunk holds.

    sha256  what the manifest says of all of its bytes
    Raises  InvalidDataError ``checkpoint_damaged``, naming what is wrong
    """
    body_at = _HEAD.size + _CHECKSUM_BYTES
    if len(data) < body_at:
        raise damaged(checkpoint_id, f"chunk {number} is cut off after {len(data)} bytes")
    head, body = data[: _HEAD.size], data[body_at:]
    if hashlib.sha256(head + body).digest() != data[_HEAD.size : body_at]:
        raise damaged(checkpoint_id, f"chunk {number} does not match its checksum")
    magic, version, codec, found, at, size = _HEAD.unpack(head)
    if (magic, version) != (_MAGIC, _VERSION) or codec not in (_PLAIN, _ZSTD):
        raise damaged(checkpoint_id, f"chunk {number} is of another form")
    if (found.hex(), at) != (checkpoint_id, number):
        raise damaged(checkpoint_id, f"chunk {at} of checkpoint {found.hex()} stands at {number}")
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise damaged(checkpoint_id, f"chunk {number} is not the one that the manifest means")
    raw = bytes(cramjam.zstd.decompress(body, output_len=size)) if codec == _ZSTD else body
    if len(raw) != size:
        raise damaged(checkpoint_id, f"chunk {number} holds {len(raw)} bytes instead of {size}")
    return raw


class FrameReader:
    """Puts the frames of a stream of chunks together again."""

    def __init__(self, checkpoint_id: str) -> None:
        self._id = checkpoint_id
        self._held = bytearray()
        self._content = hashlib.sha256()

    def add(self, raw: bytes) -> list[bytes]:
        """Return the frames that are whole with these bytes."""
        self._content.update(raw)
        self._held += raw
        return list(self._whole())

    def _whole(self) -> Iterator[bytes]:
        at = 0
        while len(self._held) - at >= _LENGTH.size:
            [length] = _LENGTH.unpack_from(self._held, at)
            end = at + _LENGTH.size + length
            if end > len(self._held):
                break
            yield bytes(self._held[at + _LENGTH.size : end])
            at = end
        del self._held[:at]

    def finish(self, content_sha256: str) -> None:
        """Raise `InvalidDataError` unless all was read and is what was written."""
        if self._held:
            raise damaged(self._id, "its last frame is cut off")
        if self._content.hexdigest() != content_sha256:
            raise damaged(self._id, "its content does not match the manifest's checksum")


def damaged(checkpoint_id: str, why: str) -> InvalidDataError:
    """Return the error of a checkpoint that cannot be used."""
    return InvalidDataError(
        "checkpoint_damaged",
        f"Checkpoint {checkpoint_id} is damaged: {why}.",
        "An older checkpoint or the log is used instead. Look at all of them with:"
        " stream-infer checkpoint verify.",
        checkpoint=checkpoint_id,
    )
