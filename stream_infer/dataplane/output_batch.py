"""A record batch for one destination, filled from what several deliveries want written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from stream_infer.dataplane.outputs import Writes
from stream_infer.records.run import RecordRun

Delivery = TypeVar("Delivery")


@dataclass(slots=True, eq=False)
class Batch(Generic[Delivery]):
    """A record batch for one destination.

    written_ms  what the records that were appended last are stamped with, epoch ms
    shares      of each delivery in it, the number of its first records
    """

    builder: Any
    size: int = 0
    full: bool = False
    written_ms: int = 0
    shares: list[tuple[Delivery, int]] = field(default_factory=list)

    def fill(self, delivery: Delivery, writes: Writes, now_ms: int) -> None:
        """Append as many of the first records as fit."""
        size = self.size
        self.written_ms = now_ms
        # The compiled builder inside: the wrapper around it costs as much again for each record.
        append = self.builder._builder.append  # noqa: SLF001
        for key, value, headers in zip(writes.keys, writes.values, writes.headers, strict=True):
            if append(size, now_ms, key, value, headers) is None:
                self.full = True
                break
            size += 1
        self.builder._relative_offset = size  # noqa: SLF001 - what the wrapper counts
        if size > self.size:
            self.shares.append((delivery, size - self.size))
            self.size = size

    def as_logged(self, answer: Any, pieces: Iterable[Writes]) -> RecordRun | None:
        """Return the batch as it stands in the log, None where that is not known.

        answer  of the client to the batch, or the error instead
        pieces  what it was filled with

        Not known is where a batch begins that was sent twice, if Kafka has forgotten the first.
        """
        if isinstance(answer, BaseException) or answer.offset < 0:
            return None
        whole = Writes()
        for piece in pieces:
            whole.extend(piece)
        is_appended = answer.timestamp >= 0
        return RecordRun.written(
            answer.offset,
            answer.timestamp if is_appended else self.written_ms,
            whole.keys,
            whole.values,
            whole.headers,
            timestamp_type=int(is_appended),
        )
