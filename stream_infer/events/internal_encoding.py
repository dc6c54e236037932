"""Rows to the records between stages; `stream_infer.events.internal` has their form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.events.columns import EVENT, TICK, EventColumns
from stream_infer.events.forms import FEW, FIELD, FORMS_KEPT, Form
from stream_infer.events.internal import SCHEMA_VERSION
from stream_infer.events.scored_forms import TRUTH, as_json
from stream_infer.pipeline import Events


def encode_internal(
    columns: EventColumns,
    upstream_topic: str,
    upstream_partitions: NDArray[np.int64],
    upstream_offsets: NDArray[np.int64],
    features: NDArray[np.float64],
    features_version: str,
    events: Events,
) -> list[bytes]:
    """Return one record value per row.

    columns              n rows of one upstream topic
    upstream_partitions  (n,) int64, in which of its partitions each row stands
    upstream_offsets     (n,) int64, and where there
    features             (n, k) float64, those of earlier stages included
    features_version     fingerprint of the stage that writes
    Cost                 O(n), about half a microsecond a row, and 0.03 for each feature
    """
    if columns.extra is not None or len(columns) < FEW:
        return _encode_each(
            columns,
            upstream_topic,
            upstream_partitions,
            upstream_offsets,
            features,
            features_version,
            events,
        )
    is_source = upstream_topic == columns.source_topic
    rows = _form(upstream_topic, features_version, len(events.entities), len(events.decimals)).rows(
        len(columns)
    )
    rows.whole(columns.kind)
    rows.whole(upstream_partitions)
    rows.whole(upstream_offsets)
    # An event's own topic is the upstream one only in the pipeline's first stage.
    rows.choices(
        [as_json(columns.source_topic), b"null"],
        ((columns.kind != EVENT) | is_source).view(np.int8),
    )
    rows.whole(-1 if is_source else columns.source_partition)
    rows.whole(-1 if is_source else columns.source_offset)
    rows.whole(columns.event_time)
    rows.texts(columns.ids)
    for name in events.entities:
        rows.texts(columns.entities[name])
    for name in events.decimals:
        rows.whole(columns.values[name])
    rows.lists(features)
    rows.choices(TRUTH, columns.late.view(np.int8))
    rows.whole(columns.duplicate_of)
    rows.whole(columns.label)
    rows.whole(columns.label_time)
    return rows.write_or(
        lambda at: _encode_each(
            columns.take(at),
            upstream_topic,
            upstream_partitions[at],
            upstream_offsets[at],
            features[at],
            features_version,
            events,
        )
    )


@lru_cache(maxsize=FORMS_KEPT)
def _form(topic: str, features_version: str, entities: int, values: int) -> Form:
    numbers = (b",", FIELD)
    return Form(
        [
            *(b"[%d," % SCHEMA_VERSION, FIELD, b",", as_json(topic), *numbers, *numbers),
            *(*numbers, *numbers, *numbers, *numbers, b',"', FIELD, b'",['),
            *([b'"', FIELD, b'"', *(b',"', FIELD, b'"') * (entities - 1)] if entities else ()),
            b"],[",
            *([FIELD, *numbers * (values - 1)] if values else ()),
            *(b"]", *numbers * 5, b",", as_json(features_version), b",null]"),
        ]
    )


def _encode_each(
    columns: EventColumns,
    upstream_topic: str,
    upstream_partitions: NDArray[np.int64],
    upstream_offsets: NDArray[np.int64],
    features: NDArray[np.float64],
    features_version: str,
    events: Events,
) -> list[bytes]:
    """Return the same, by way of a tuple a row."""
    # An event's own topic is the upstream one only in the pipeline's first stage.
    is_source = upstream_topic == columns.source_topic
    no_position = repeat(-1)
    return list(
        map(
            msgspec.json.Encoder().encode,
            zip(
                repeat(SCHEMA_VERSION),
                columns.kind.tolist(),
                repeat(upstream_topic),
                upstream_partitions.tolist(),
                upstream_offsets.tolist(),
                repeat(None) if is_source else _source_topics(columns),
                no_position if is_source else columns.source_partition.tolist(),
                no_position if is_source else columns.source_offset.tolist(),
                columns.event_time.tolist(),
                columns.ids,
                _rows([columns.entities[name] for name in events.entities]),
                _rows([columns.values[name].tolist() for name in events.decimals]),
                _feature_rows(features),
                columns.late.tolist(),
                columns.duplicate_of.tolist(),
                columns.label.tolist(),
                columns.label_time.tolist(),
                repeat(features_version),
                repeat(None) if columns.extra is None else map(_raw, columns.extra),
                strict=False,  # the constants have no end
            ),
        )
    )


def encode_tick(events: Events, features_version: str, event_time: int) -> bytes:
    """Return the record that moves the clock of its log to a time, ms: one without an origin.

    features_version  of the records among which it stands
    """
    return msgspec.json.encode(
        (
            SCHEMA_VERSION,
            TICK,
            *("", -1, -1),
            *(None, -1, -1),
            event_time,
            "",
            [""] * len(events.entities),
            [0] * len(events.decimals),
            [],
            False,
            -1,
            -1,
            0,
            features_version,
            None,
        )
    )


def _rows(columns: Sequence[Sequence[Any]]) -> Iterable[tuple[Any, ...]]:
    return zip(*columns, strict=True) if columns else repeat(())


def _source_topics(columns: EventColumns) -> list[str | None]:
    # Only an event has a source: a label's topic is not the pipeline's first one.
    return [columns.source_topic if kind == EVENT else None for kind in columns.kind.tolist()]


def _raw(extra: bytes | None) -> msgspec.Raw | None:
    return None if extra is None else msgspec.Raw(extra)


def _feature_rows(features: NDArray[np.float64]) -> list[list[Any]]:
    """Return rows that the encoder writes without loss; it writes NaN as null by itself."""
    rows: list[list[Any]] = features.tolist()
    if np.isinf(features).any():
        # The encoder would write infinities as null too.
        for row, column in zip(*np.nonzero(np.isinf(features)), strict=True):
            rows[row][column] = "inf" if features[row, column] > 0 else "-inf"
    return rows
