"""Events for tests: the fraud pipeline's bytes, and a slow obvious twin of the decoders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from stream_infer.events.columns import EventColumns
from stream_infer.events.decode import Decoded
from stream_infer.pipelines.fraud import pipeline

EVENTS = pipeline.events
NOON_MS = 1_522_584_000_000
"""2018-04-01T12:00:00Z"""


class DecodesBytes(Protocol):
    """What all decoders have."""

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Return good rows as columns, and the bad ones."""


def transaction(**fields: Any) -> bytes:
    """Return the bytes of one good transaction, with other or further fields as given."""
    record = {
        "transaction_id": "t-1",
        "event_time": NOON_MS,
        "customer_id": "c-1",
        "terminal_id": "m-1",
        "amount": 12.34,
    }
    return json.dumps({**record, **fields}).encode()


def without(record: bytes, field: str) -> bytes:
    """Return a JSON object without one of its fields."""
    fields = json.loads(record)
    del fields[field]
    return json.dumps(fields).encode()


def row_of(columns: EventColumns, row: int) -> dict[str, Any]:
    """Return one row as plain values that compare bit for bit."""
    facts: dict[str, Any] = {
        "kind": int(columns.kind[row]),
        "event_time": int(columns.event_time[row]),
        "id": columns.ids[row],
        "entities": {name: texts[row] for name, texts in columns.entities.items()},
        "values": {name: int(column[row]) for name, column in columns.values.items()},
        "features": columns.features[row].astype(np.float64).tobytes(),
        "source": (int(columns.source_partition[row]), int(columns.source_offset[row])),
        "late": bool(columns.late[row]),
        "duplicate_of": int(columns.duplicate_of[row]),
        "label": (int(columns.label[row]), int(columns.label_time[row])),
        "extra": None if columns.extra is None else columns.extra[row],
    }
    if columns.upstream is not None and columns.upstream_offset is not None:
        facts["upstream"] = columns.upstreams[int(columns.upstream[row])]
        facts["upstream_offset"] = int(columns.upstream_offset[row])
    return facts


def assert_same_as_one_by_one(decoder: DecodesBytes, values: Sequence[bytes | None]) -> Decoded:
    """Check that each record is good or bad exactly once, as when it is decoded alone."""
    decoded = decoder.decode(values)
    bad = {refused.row: refused for refused in decoded.bad}
    good = decoded.rows.tolist()
    assert sorted([*good, *bad]) == list(range(len(values)))
    assert [refused.row for refused in decoded.bad] == sorted(bad)
    assert len(decoded.columns) == len(good)
    assert good == sorted(good)
    for index, row in enumerate(good):
        alone = decoder.decode([values[row]])
        assert alone.bad == []
        assert row_of(alone.columns, 0) == row_of(decoded.columns, index)
    for row, refused in bad.items():
        [alone_refused] = decoder.decode([values[row]]).bad
        assert (alone_refused.code, alone_refused.message) == (refused.code, refused.message)
    return decoded
