"""What is known of a checkpoint without reading it; written last, so that it speaks of a whole one.

Stored as JSON with a checksum of its own: an offset with one wrong digit would be believed::

    {"sha256": "<of the manifest's bytes>", "manifest": {...}}
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from stream_infer.errors import InvalidDataError

SCHEMA_VERSION = 2
"""Of manifest, chunks and frames together. Version 2 added `base` and `skips`: who does not know
them would take a state for another one."""
READABLE = (SCHEMA_VERSION - 1, SCHEMA_VERSION)
"""A release reads what the one before it wrote."""


class ChunkPlace(NamedTuple):
    """Where a chunk lies: its offset in the topic or in the file, its size and checksum."""

    place: int
    bytes: int
    sha256: str


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """The last record that the state holds, by which a log that was made anew is told.

    offset, timestamp_ms  of the record
    sha256                of its value; of nothing where it has none
    """

    offset: int
    timestamp_ms: int
    sha256: str

    @classmethod
    def of(cls, offset: int, timestamp_ms: int, value: bytes | None) -> Mark:
        """Return the mark of a record."""
        return cls(offset, timestamp_ms, hashlib.sha256(value or b"").hexdigest())


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint, and where its chunks lie.

    id              32 hex digits, of this writing alone
    schema_version  of the whole format
    pipeline, stage, topic, partition  whose state it is
    offset          first offset that is not in it
    declared_start  where the fold began
    fingerprint     of the declarations that made it
    created_ms      when it was taken
    keys, entries   how many the stage held
    bytes           of all chunks
    content_sha256  of the frames: equal for equal states
    chunks          in order
    mark            the last record in it; None where nobody knew
    base            which history the fold began with; None for an empty state
    skips           offsets below its own that the fold passed over, in order
    """

    id: str
    schema_version: int
    pipeline: str
    stage: str
    topic: str
    partition: int
    offset: int
    declared_start: int
    fingerprint: str
    created_ms: int
    keys: int
    entries: int
    bytes: int
    content_sha256: str
    chunks: tuple[ChunkPlace, ...]
    mark: Mark | None = None
    base: str | None = None
    skips: tuple[int, ...] = ()

    @property
    def is_base(self) -> bool:
        """Whether it is what a fold began with: made of a history, and of nothing in the log."""
        return self.base is not None and self.offset == self.declared_start

    @property
    def source(self) -> str:
        """The partition, as logs name it."""
        return f"{self.topic}-{self.partition}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A checkpoint that is being written; see `Manifest` for the fields."""

    id: str
    pipeline: str
    stage: str
    topic: str
    partition: int
    offset: int
    declared_start: int
    fingerprint: str
    created_ms: int
    keys: int
    entries: int
    mark: Mark | None = None
    base: str | None = None
    skips: tuple[int, ...] = ()

    def manifest(self, chunks: tuple[ChunkPlace, ...], content_sha256: str) -> Manifest:
        """Return the manifest, all chunks being written."""
        return Manifest(
            id=self.id,
            schema_version=SCHEMA_VERSION,
            pipeline=self.pipeline,
            stage=self.stage,
            topic=self.topic,
            partition=self.partition,
            offset=self.offset,
            declared_start=self.declared_start,
            fingerprint=self.fingerprint,
            created_ms=self.created_ms,
            keys=self.keys,
            entries=self.entries,
            bytes=sum(chunk.bytes for chunk in chunks),
            content_sha256=content_sha256,
            chunks=chunks,
            mark=self.mark,
            base=self.base,
            skips=self.skips,
        )


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something that stands where a manifest should, and why it is none that we can use."""

    name: str
    reason: str


Found = Manifest | Unreadable


class _Envelope(msgspec.Struct):
    sha256: str
    manifest: msgspec.Raw


class _Version(msgspec.Struct):
    schema_version: int


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as it is stored."""
    body = msgspec.json.encode(manifest)
    digest = hashlib.sha256(body).hexdigest()
    return msgspec.json.encode(_Envelope(digest, msgspec.Raw(body)))


def decode_manifest(name: str, data: bytes) -> Found:
    """Return a stored manifest, or why it cannot be used.

    name  what it is called in its store
    """
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)
        body = bytes(envelope.manifest)
        if hashlib.sha256(body).hexdigest() != envelope.sha256:
            return Unreadable(name, "it does not match its checksum")
        version = msgspec.json.decode(body, type=_Version).schema_version
        if version not in READABLE:
            return Unreadable(name, f"its format has version {version}, not {SCHEMA_VERSION}")
        return msgspec.json.decode(body, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Unreadable(name, f"it cannot be read ({error})")


def required(found: Found) -> Manifest:
    """Return a manifest; raise `InvalidDataError` when it is none that can be used."""
    if isinstance(found, Manifest):
        return found
    raise InvalidDataError(
        "manifest_damaged",
        f"The manifest {found.name} cannot be used: {found.reason}.",
        "Its checkpoint is lost; an older one or the log is used instead.",
        manifest=found.name,
    )
