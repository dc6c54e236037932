"""Produce requests whose bytes are put together once.

aiokafka's types put a request together from the inside out, and its connection puts two more
pieces in front: by then a batch of records has been copied eight times. Megabytes do not fit into a
processor's caches, so a worker that was busy spent a tenth of its time on that.

Private names of aiokafka 0.14 (the version is pinned) that this module relies on: those in which
`ProduceRequest` keeps what it was made with; and that `AIOKafkaConnection.send` puts a header in
front of an encoded request, takes the length of that, and puts it in front too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from aiokafka.protocol.produce import ProduceRequest

_INT32 = struct.Struct(">i").pack
_INT16 = struct.Struct(">h").pack


class OnceJoinedProduceRequest(ProduceRequest):  # type: ignore[misc] # aiokafka has no types
    """A request that holds what another one does."""

    @classmethod
    def of(cls, made: ProduceRequest) -> OnceJoinedProduceRequest:
        """Return a request for the same."""
        return cls(made._transactional_id, made._required_acks, made._timeout, made._topics)

    def build(self, request_struct_class: type[Any]) -> Any:
        """Return the request in the words of a version."""
        return super().build(_once_joined(request_struct_class))  # type: ignore[arg-type] # hashable


@cache
def _once_joined(version: type[Any]) -> type[Any]:
    return type(version.__name__, (_OnceJoined, version), {})


class _OnceJoined:
    """Encodes a request of any version, the last field of which are its topics."""

    SCHEMA: Any

    def encode(self) -> _Encoded:
        *fields, _ = zip(self.SCHEMA.names, self.SCHEMA.fields, strict=True)
        pieces = [field.encode(getattr(self, name)) for name, field in fields]
        pieces += _encoded_topics(self.topics)  # type: ignore[attr-defined]
        return _Encoded(pieces)


def _encoded_topics(topics: Sequence[tuple[str, Sequence[tuple[int, bytes]]]]) -> Iterable[bytes]:
    yield _INT32(len(topics))
    for topic, partitions in topics:
        name = topic.encode()
        yield _INT16(len(name)) + name + _INT32(len(partitions))
        for partition, batch in partitions:
            yield _INT32(partition) + _INT32(len(batch))
            yield batch


class _Encoded:
    """An encoded request in pieces; with its header in front it is a message."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __radd__(self, header: bytes) -> _Message:
        return _Message([header, *self._pieces])


class _Message:
    """A message in pieces; with its length in front it is joined."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    def __radd__(self, length: bytes) -> bytes:
        return b"".join([length, *self._pieces])
