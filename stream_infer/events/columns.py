"""Events as columns: the one form in which records travel between the pure parts.

A batch of consecutive records of one partition becomes one `EventColumns`; row
``i`` is the ``i``-th good record in offset order. Decoders make it, folds read
it, encoders write it out. Nothing here knows Kafka.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

EVENT = 0
"""A record that is scored."""
LABEL = 1
"""The truth about an earlier event."""
TICK = 2
"""A record of our own that only moves the partition's clock."""

NO_POSITION = -1
"""`duplicate_of` of a row that is no duplicate."""

_OFFSET_BITS = 48


def pack_position(partition: int, offset: int) -> int:
    """Return partition and offset of one topic as one int64 (offset below 2**48)."""
    return (partition << _OFFSET_BITS) | offset


def unpack_position(packed: int) -> tuple[int, int]:
    """Return ``(partition, offset)`` of a packed position."""
    return packed >> _OFFSET_BITS, packed & ((1 << _OFFSET_BITS) - 1)


@dataclass(slots=True)
class EventColumns:
    """``n`` records of one partition, in offset order.

    kind              (n,) int8, EVENT, LABEL or TICK
    event_time        (n,) int64, ms since the epoch; for a LABEL the time of the event it is about
    ids               n strings, the event's id; for a LABEL the id of the event it is about
    entities          entity name -> n strings
    values            value name -> (n,) int64, fixed point with the declared decimals
    features          (n, k) float64, features of earlier stages in declared order, k may be 0
    source_topic      the pipeline's first topic; with the next two it makes `event_id`
    source_partition  (n,) int64
    source_offset     (n,) int64
    late              (n,) bool, decided by the pipeline's first stage
    duplicate_of      (n,) int64, packed position (of `source_topic`) of the first record with
                      this id, or NO_POSITION; decided by the pipeline's first stage
    label             (n,) int8, 0 or 1 for a LABEL, -1 otherwise
    label_time        (n,) int64, ms since the epoch for a LABEL, 0 otherwise
    upstream          None, or (n,) int64: which upstream partition wrote the row, as an index
                      into `upstreams`; None where the log is the pipeline's input itself
    upstream_offset   None, or (n,) int64: the offset there
    upstreams         names of the upstream partitions, ``topic-partition``
    extra             None, or n raw JSON objects (or None) with the unknown fields that are kept
    """

    kind: NDArray[np.int8]
    event_time: NDArray[np.int64]
    ids: list[str]
    entities: dict[str, list[str]]
    values: dict[str, NDArray[np.int64]]
    features: NDArray[np.float64]
    source_topic: str
    source_partition: NDArray[np.int64]
    source_offset: NDArray[np.int64]
    late: NDArray[np.bool_]
    duplicate_of: NDArray[np.int64]
    label: NDArray[np.int8]
    label_time: NDArray[np.int64]
    upstream: NDArray[np.int64] | None = None
    upstream_offset: NDArray[np.int64] | None = None
    upstreams: list[str] = field(default_factory=list)
    extra: list[bytes | None] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def slice(self, start: int, end: int) -> EventColumns:
        """Return rows ``start..end-1`` (arrays are views)."""
        rows = slice(start, end)
        return self._of(lambda array: array[rows], lambda texts: texts[rows])

    def take(self, rows: NDArray[np.int64]) -> EventColumns:
        """Return the given rows, in the given order (copies)."""
        indices = rows.tolist()
        return self._of(lambda array: array[rows], lambda texts: [texts[i] for i in indices])

    def _of(
        self, array: Callable[[NDArray[Any]], NDArray[Any]], texts: Callable[[list[Any]], list[Any]]
    ) -> EventColumns:
        """Return the columns after `array` was applied to each array and `texts` to each list."""
        return EventColumns(
            kind=array(self.kind),
            event_time=array(self.event_time),
            ids=texts(self.ids),
            entities={name: texts(column) for name, column in self.entities.items()},
            values={name: array(column) for name, column in self.values.items()},
            features=array(self.features),
            source_topic=self.source_topic,
            source_partition=array(self.source_partition),
            source_offset=array(self.source_offset),
            late=array(self.late),
            duplicate_of=array(self.duplicate_of),
            label=array(self.label),
            label_time=array(self.label_time),
            upstream=None if self.upstream is None else array(self.upstream),
            upstream_offset=None if self.upstream_offset is None else array(self.upstream_offset),
            upstreams=self.upstreams,
            extra=None if self.extra is None else texts(self.extra),
        )
