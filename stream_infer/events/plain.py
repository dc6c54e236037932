"""Runs of internal records to columns, without an object a record.

What our own encoder has written is read by machine code (`stream_infer.events.internal_scan`). A
run that holds anything else is left to `stream_infer.events.internal`, with the same result.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_infer.events.columns import EVENT, TICK, EventColumns
from stream_infer.events.internal_scan import (
    DUPLICATE_OF,
    EVENT_TIME,
    KIND,
    LABEL,
    LABEL_TIME,
    LATE,
    PAIRS_MAX,
    SOURCE_OFFSET,
    SOURCE_PARTITION,
    UPSTREAM,
    UPSTREAM_OFFSET,
    UPSTREAM_PARTITION,
    VALUES,
    scan,
)
from stream_infer.pipeline import Events
from stream_infer.records.among import TextsAmong, joined


class PlainReader:
    """Reads records of one pipeline.

    events            how many entities and values a record has, and where events come from
    schema_version    of the records
    features_version  of their features
    features_count    how many features an event has
    """

    def __init__(
        self, events: Events, schema_version: int, features_version: str, features_count: int
    ) -> None:
        self._events = events
        self._schema_version = schema_version
        self._names = (_bytes_of(events.topic), _bytes_of(features_version))
        self._features_count = features_count
        self._pairs = np.empty((PAIRS_MAX, 3), np.int64)

    def read(
        self, values: Sequence[bytes | None], *, for_state: bool = False
    ) -> EventColumns | None:
        """Return the records as columns; None where one of them is not plain.

        for_state  whether they are for a state alone: then features are NaN, and texts are cut
                   when they are asked for
        Cost       O(bytes), about half a microsecond a record and a tenth for each of its texts
        """
        among = joined(values)
        if among is None:
            return None
        n, events = len(values), self._events
        numbers = np.empty((VALUES + len(events.decimals), n), np.int64)
        places = np.empty((2 + 2 * len(events.entities), n), np.int64)
        features = np.empty((n, self._features_count), np.int64)
        pairs = scan(
            np.frombuffer(among.data, np.uint8),
            among.starts,
            among.ends,
            self._names,
            self._schema_version,
            numbers,
            places,
            features,
            self._pairs,
            for_state,
        )
        if pairs < 0:
            return None
        upstreams = [
            f"{among.data[start:end].decode()}-{partition}"
            for start, end, partition in self._pairs[:pairs].tolist()
        ]
        ids, *entities = [
            TextsAmong(among.data, starts, ends)
            for starts, ends in zip(places[::2], places[1::2], strict=True)
        ]
        if not for_state:
            # Others write them, and for that they are lists.
            return self._columns(
                numbers,
                ids.all(),
                [each.all() for each in entities],
                features.view(np.float64),
                upstreams,
            )
        return self._columns(numbers, ids, entities, features.view(np.float64), upstreams)

    def _columns(
        self,
        numbers: NDArray[np.int64],
        ids: Sequence[str],
        entities: Sequence[Sequence[str]],
        features: NDArray[np.float64],
        upstreams: list[str],
    ) -> EventColumns:
        events, kind, upstream = self._events, numbers[KIND], numbers[UPSTREAM]
        from_upstream = (kind == EVENT) & (numbers[SOURCE_OFFSET] < 0)
        if TICK in kind:
            # A record of our own has no upstream: it is never a repeat.
            upstream[numbers[UPSTREAM_OFFSET] < 0] = -1
        partitions, offsets = numbers[UPSTREAM_PARTITION], numbers[UPSTREAM_OFFSET]
        return EventColumns(
            kind=kind.astype(np.int8),
            event_time=numbers[EVENT_TIME],
            ids=ids,
            entities=dict(zip(events.entities, entities, strict=True)),
            values=dict(zip(events.decimals, numbers[VALUES:], strict=True)),
            features=features,
            source_topic=events.topic,
            source_partition=np.where(from_upstream, partitions, numbers[SOURCE_PARTITION]),
            source_offset=np.where(from_upstream, offsets, numbers[SOURCE_OFFSET]),
            late=numbers[LATE].astype(np.bool_),
            duplicate_of=numbers[DUPLICATE_OF],
            label=numbers[LABEL].astype(np.int8),
            label_time=numbers[LABEL_TIME],
            upstream=upstream,
            upstream_offset=offsets,
            upstreams=upstreams,
        )


def _bytes_of(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), np.uint8)
