"""Rows written down as tuples, as the columns that folds take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from stream_infer.events.columns import EVENT, LABEL, NO_POSITION, TICK, EventColumns


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a log; `upstream` is (name, offset)."""

    time: int
    id: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    kind: int = EVENT
    label: int = -1
    label_time: int = 0
    late: bool = False
    duplicate_of: int = NO_POSITION
    upstream: tuple[str, int] | None = None


def label_row(time: int, identity: str, keys: dict[str, str], label: int, known: int) -> Row:
    return Row(time, identity, keys, kind=LABEL, label=label, label_time=known)


def tick_row(time: int) -> Row:
    return Row(time, kind=TICK)


def columns_of(
    rows: Sequence[Row],
    entities: Sequence[str],
    values: Sequence[str] = (),
    first_offset: int = 0,
    *,
    internal: bool = False,
) -> EventColumns:
    """Return the rows as columns; row i is offset `first_offset` + i of partition 0."""
    n = len(rows)
    upstreams = sorted({row.upstream[0] for row in rows if row.upstream is not None})
    return EventColumns(
        kind=np.array([row.kind for row in rows], np.int8),
        event_time=np.array([row.time for row in rows], np.int64),
        ids=[row.id for row in rows],
        entities={name: [row.keys.get(name, "") for row in rows] for name in entities},
        values={
            name: np.array([row.values.get(name, 0) for row in rows], np.int64) for name in values
        },
        features=np.empty((n, 0), np.float64),
        source_topic="log",
        source_partition=np.zeros(n, np.int64),
        source_offset=np.arange(first_offset, first_offset + n, dtype=np.int64),
        late=np.array([row.late for row in rows], np.bool_),
        duplicate_of=np.array([row.duplicate_of for row in rows], np.int64),
        label=np.array([row.label for row in rows], np.int8),
        label_time=np.array([row.label_time for row in rows], np.int64),
        upstream=np.array(
            [upstreams.index(row.upstream[0]) if row.upstream else -1 for row in rows], np.int64
        )
        if internal
        else None,
        upstream_offset=np.array([row.upstream[1] if row.upstream else 0 for row in rows], np.int64)
        if internal
        else None,
        upstreams=upstreams if internal else [],
    )
