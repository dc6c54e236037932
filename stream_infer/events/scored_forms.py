"""Scored events and readings as forms: what they begin and end with, filled from columns."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from stream_infer.events.columns import NO_POSITION, EventColumns
from stream_infer.events.forms import FIELD, Rows

TRUTH = (b"false", b"true")


def as_json(value: str | None) -> bytes:
    """Return a text or null as JSON."""
    return msgspec.json.encode(value)


def texts(names: Sequence[str]) -> list[bytes | None]:
    """Return fields of texts, each behind a comma and its name."""
    return [each for name in names for each in (b"," + as_json(name) + b':"', FIELD, b'"')]


def head(topic: str, ids: Sequence[str]) -> list[bytes | None]:
    """Return what a scored event begins with, to be filled by `fill_head`.

    topic  the pipeline's first
    ids    names of the id and of entities, in the order of the record
    """
    event_id = [b'{"event_id":' + as_json(topic)[:-1] + b"-", FIELD, b"-", FIELD, b'"']
    return [*event_id, *texts(ids), b',"event_time":', FIELD]


def fill_head(rows: Rows, columns: EventColumns, entities: Sequence[str]) -> None:
    """Fill in which event it is and when it happened.

    entities  the names of `head` but for the id
    """
    rows.whole(columns.source_partition)
    rows.whole(columns.source_offset)
    rows.texts(columns.ids)
    for name in entities:
        rows.texts(columns.entities[name])
    rows.whole(columns.event_time)


def tail(fingerprint: str) -> list[bytes | None]:
    """Return what a scored event ends with behind the model's version; see `fill_tail`."""
    version = b',"features_version":' + as_json(fingerprint)
    return [version, b',"late":', FIELD, b',"duplicate_of":null}']


def fill_tail(rows: Rows, columns: EventColumns) -> None:
    """Fill in what the fold has judged; a duplicate, which names another event, is not plain."""
    rows.choices(TRUTH, columns.late.view(np.int8))
    rows.plain &= columns.duplicate_of == NO_POSITION
