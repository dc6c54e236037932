"""Events as columns: the one form in which records travel between the pure parts.

A batch of consecutive records of one partition becomes one `EventColumns`; row
``i`` is the ``i``-th good record in offset order. Decoders make it, folds read
it, encoders write it out. Nothing here knows Kafka.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.records.among import TextsAmong

EVENT = 0
"""A record that is scored."""
LABEL = 1
"""The truth about an earlier event."""
TICK = 2
"""A record of our own that only moves the partition's clock."""
LIST = 3
"""A change of an allow or block list, in `extra`; it decides about the rows behind it."""

NO_POSITION = -1
"""`duplicate_of` of a row that is no duplicate."""

HISTORY_PARTITION = 2**15 - 1
"""`source_partition` of a row of a history file, whose `source_offset` is its row: no topic of ours
has so many partitions."""

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

    kind              (n,) int8, EVENT, LABEL, TICK or LIST
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
    ids: Sequence[str]
    entities: Mapping[str, Sequence[str]]
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
        """Return rows ``start..end-1`` (arrays are views); its columns must not change after."""
        end = min(end, len(self))
        return _Selection(self, slice(start, end), end - start)

    def take(self, rows: NDArray[np.int64]) -> EventColumns:
        """Return the given rows, in the given order; these columns must not change after."""
        return _Selection(self, rows, len(rows))

    def judged(self, late: NDArray[np.bool_], duplicate_of: NDArray[np.int64]) -> EventColumns:
        """Return the same rows with what a fold decided about them."""
        rows = _Selection(self, None, len(self))
        rows.late, rows.duplicate_of = late, duplicate_of
        return rows


class _Selection(EventColumns):
    """Rows of other columns; each column is made when it is first asked for.

    Of the sixteen columns a step uses five, and selecting each takes as long for two rows as
    for a hundred.
    """

    __slots__ = ("_length", "_picked", "base", "chosen")

    def __init__(
        self, base: EventColumns, rows: slice | NDArray[np.int64] | None, length: int
    ) -> None:
        self.base = base
        self.chosen = rows
        self._length = length
        self._picked = rows.tolist() if isinstance(rows, np.ndarray) else []
        if base.extra is None:
            self.extra = None

    def __len__(self) -> int:
        return self._length

    def __getattr__(self, name: str) -> Any:
        """Make a column: called for those that were not set yet."""
        if name not in EventColumns.__dataclass_fields__:
            raise AttributeError(name)
        column = getattr(self.base, name)
        # Names of upstream partitions are no column.
        made = column if self.chosen is None or name == "upstreams" else self._selected(column)
        setattr(self, name, made)
        return made

    def _selected(self, column: Any) -> Any:
        rows: Any = self.chosen
        match column:
            case np.ndarray():
                return column[rows]
            case list():
                return (
                    column[rows] if isinstance(rows, slice) else [column[i] for i in self._picked]
                )
            case TextsAmong():
                return column.take(rows) if isinstance(rows, np.ndarray) else column[rows]
            case dict():
                return {name: self._selected(each) for name, each in column.items()}
        return column

    def follows(self, other: EventColumns) -> bool:
        """Tell whether these are the rows right behind others of the same columns."""
        return (
            isinstance(other, _Selection)
            and self.base is other.base
            and isinstance(self.chosen, slice)
            and isinstance(other.chosen, slice)
            and self.chosen.start == other.chosen.stop
        )


def concat(parts: Sequence[EventColumns]) -> EventColumns:
    """Return the rows of all parts, one part behind the other; at least one is given.

    The parts are of one topic and one pipeline, such as batches of several partitions that
    are decoded or encoded together. A single part is returned as it is, not copied, and so
    are the columns that consecutive parts were cut from.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    uncut = _uncut(parts)
    if uncut is not None:
        return uncut
    upstream, upstreams = _joined_upstreams(parts)
    offsets = [part.upstream_offset for part in parts if part.upstream_offset is not None]
    return EventColumns(
        kind=np.concatenate([part.kind for part in parts]),
        event_time=np.concatenate([part.event_time for part in parts]),
        ids=_chain([part.ids for part in parts]),
        entities={name: _chain([part.entities[name] for part in parts]) for name in first.entities},
        values={
            name: np.concatenate([part.values[name] for part in parts]) for name in first.values
        },
        features=np.concatenate([part.features for part in parts]),
        source_topic=first.source_topic,
        source_partition=np.concatenate([part.source_partition for part in parts]),
        source_offset=np.concatenate([part.source_offset for part in parts]),
        late=np.concatenate([part.late for part in parts]),
        duplicate_of=np.concatenate([part.duplicate_of for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        label_time=np.concatenate([part.label_time for part in parts]),
        upstream=upstream,
        upstream_offset=np.concatenate(offsets) if offsets else None,
        upstreams=upstreams,
        extra=_joined_extra(parts),
    )


def _uncut(parts: Sequence[EventColumns]) -> EventColumns | None:
    """Return the columns that parts were cut from, if they are all of them in their order."""
    first = parts[0]
    if not isinstance(first, _Selection) or not isinstance(first.chosen, slice):
        return None
    if not all(
        isinstance(part, _Selection) and part.follows(before) for before, part in pairwise(parts)
    ):
        return None
    base, start = first.base, first.chosen.start
    end = start + sum(map(len, parts))
    return base if end - start == len(base) else base.slice(start, end)


def _chain(lists: Sequence[Sequence[Any]]) -> list[Any]:
    return [item for each in lists for item in each]


def _joined_upstreams(
    parts: Sequence[EventColumns],
) -> tuple[NDArray[np.int64] | None, list[str]]:
    """Return each row's index into one list of names, and that list."""
    indices = [part.upstream for part in parts if part.upstream is not None]
    if not indices:
        return None, []
    shared = parts[0].upstreams
    if all(part.upstreams is shared for part in parts):
        return np.concatenate(indices), shared
    places: dict[str, int] = {}
    renumbered = []
    for part, index in zip(parts, indices, strict=True):
        moved = [places.setdefault(name, len(places)) for name in part.upstreams]
        # One more, so that index -1 stays -1.
        renumbered.append(np.array([*moved, -1], np.int64)[index])
    return np.concatenate(renumbered), list(places)


def _joined_extra(parts: Sequence[EventColumns]) -> list[bytes | None] | None:
    if all(part.extra is None for part in parts):
        return None
    return _chain([part.extra or [None] * len(part) for part in parts])
