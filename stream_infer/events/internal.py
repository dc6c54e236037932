r"""The record between two stages: one flat JSON array an event, label or tick.

Its place in the array is a field's name, for these records are the larger part of
what a pipeline writes:

     0  schema version        SCHEMA_VERSION
     1  kind                  0 event, 1 label, 2 tick, 3 change of a list
     2  upstream topic        \
     3  upstream partition     } the record that this one was made from: a stage ignores
     4  upstream offset       /  what is not above the highest offset it has seen of each
     5  source topic          \  record of the pipeline's first topic that the event came in
     6  source partition       } with; null, -1, -1 when that is the upstream record itself
     7  source offset         /  (and for labels and ticks, which have none)
     8  event time            ms since the epoch
     9  id
    10  entities              texts, in the declared order
    11  values                fixed-point integers, in the declared order
    12  features              numbers of the stages so far; null is NaN, "inf" and "-inf" as such
    13  late
    14  duplicate of          packed position in the first topic, or -1
    15  label                 -1, 0, 1
    16  label time            ms since the epoch, 0 for what is no label
    17  features version      fingerprint of the stage that wrote the record
    18  extra                 object with the kept unknown fields, or null; of a list's change
                              the list's record

Floats are written in the shortest form that reads back to the same 64 bits. Fields
are only ever added at the end, with a default, under the next version; a reader
accepts its own version and the one before. A later one was written by newer code: whoever meets
it waits to be replaced, since it would read it wrong, and to drop it would lose an event.

Features stand for what the stage that wrote the record computes. Another version's mean
something else, so they are read as missing (NaN), where records of that version are accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.events.columns import EVENT, LIST, TICK, EventColumns
from stream_infer.events.decode import UNITS_MAX, Decoded
from stream_infer.events.lines import LinesDecoder
from stream_infer.events.plain import PlainReader
from stream_infer.events.reasons import BadRecord
from stream_infer.events.sieve import Sieve
from stream_infer.events.times import TIME_MS_MAX, TIME_MS_MIN
from stream_infer.pipeline import Events

SCHEMA_VERSION = 1
SCHEMA_VERSIONS_READ = tuple(v for v in (SCHEMA_VERSION - 1, SCHEMA_VERSION) if v >= 1)
LATER = "schema_version_later"
"""Code of a record that newer code has written."""
OTHER_FEATURES = "features_version_mismatch"
"""Code of a record whose features are of another version than those that are accepted."""
_FEATURES_VERSION_AT = 17

_READ = msgspec.Meta(ge=SCHEMA_VERSIONS_READ[0], le=SCHEMA_VERSION)
_Partition = Annotated[int, msgspec.Meta(ge=-1, lt=2**15)]
_Offset = Annotated[int, msgspec.Meta(ge=-1, lt=2**48)]
_Time = Annotated[int, msgspec.Meta(ge=TIME_MS_MIN, le=TIME_MS_MAX)]
_FixedPoint = Annotated[int, msgspec.Meta(ge=-UNITS_MAX, le=UNITS_MAX)]
_Feature = float | Literal["inf", "-inf"] | None


_LIST_HEADS = tuple(f"[{version},{LIST},".encode() for version in SCHEMA_VERSIONS_READ)


def is_list_change(value: bytes | None) -> bool:
    """Whether a record between two stages is a change of a list; only its head is looked at."""
    return value is not None and value.startswith(_LIST_HEADS)


def internal_type(events: Events) -> type[msgspec.Struct]:
    """Return the msgspec type of the internal records of a pipeline with these `events`."""
    return msgspec.defstruct(
        "InternalRecord",
        [
            ("schema_version", Annotated[int, _READ]),
            ("kind", Annotated[int, msgspec.Meta(ge=EVENT, le=LIST)]),
            ("upstream_topic", str),
            ("upstream_partition", _Partition),
            ("upstream_offset", _Offset),
            ("source_topic", str | None),
            ("source_partition", _Partition),
            ("source_offset", _Offset),
            ("event_time", _Time),
            ("id", str),
            ("entities", _row_type("Entities", str, len(events.entities))),
            ("values", _row_type("Values", _FixedPoint, len(events.decimals))),
            ("features", list[_Feature]),
            ("late", bool),
            ("duplicate_of", Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]),
            ("label", Annotated[int, msgspec.Meta(ge=-1, le=1)]),
            ("label_time", _Time),
            ("features_version", str),
            ("extra", dict[str, msgspec.Raw] | None),
        ],
        array_like=True,
        gc=False,
    )


class InternalHead(msgspec.Struct, array_like=True, gc=False):
    """The first fields of every internal record, whatever its pipeline: what it was made from."""

    schema_version: int
    kind: int
    upstream_topic: str
    upstream_partition: int
    upstream_offset: int


def read_features_version(value: bytes) -> str:
    """Return of which version a record's features are; raise msgspec.MsgspecError."""
    cells = msgspec.json.decode(value, type=list[msgspec.Raw])
    try:
        return msgspec.json.decode(cells[_FEATURES_VERSION_AT], type=str)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error


read_head: Callable[[bytes], InternalHead] = msgspec.json.Decoder(InternalHead).decode
"""Returns the head of a record; raises msgspec.MsgspecError."""


class InternalDecoder:
    """Decode the records that an earlier stage wrote.

    events            the pipeline's events: how many entities and values a record has
    features_version  when given, records of another version are refused, unless `decode` is told to
                      accept it
    features_count    how many features a record of kind EVENT has; when None, the first one of
                      each call says so. Give it wherever records of several versions may meet.
    """

    def __init__(
        self,
        events: Events,
        features_version: str | None = None,
        features_count: int | None = None,
    ) -> None:
        self._events = events
        self._features_version = features_version
        self._features_count = features_count
        self._lines = LinesDecoder(internal_type(events), opening_min=4)
        self._plain: PlainReader | None = None
        if features_version is not None and features_count is not None:
            self._plain = PlainReader(events, SCHEMA_VERSION, features_version, features_count)

    def decode(
        self,
        values: Sequence[bytes | None],
        earlier: Collection[str] | None = (),
        *,
        for_state: bool = False,
    ) -> Decoded:
        """Return the good records as columns, and the bad ones with their cause.

        earlier    further versions of features whose records are accepted, and whose features are
                   NaN; None: any
        for_state  whether they are for a state which features do not enter: then these may be NaN
        Labels and ticks have no features: their rows of `features` are NaN.
        Cost       O(bytes), about a microsecond a record, three where one of them is not plain
        """
        plain = None if self._plain is None else self._plain.read(values, for_state=for_state)
        if plain is not None:
            return Decoded(np.arange(len(values)), plain, [])
        rows, records, bad = self._lines.decode(values)
        own = self._features_version
        bad = [_name_version(refused, values[refused.row], own) for refused in bad]
        sieve = Sieve(rows, bad)
        count = self._check(records, sieve, earlier)
        if sieve.refused:
            records = sieve.keep_objects(records)
        columns = self._columns(records, count)
        rows, bad = sieve.settle()
        return Decoded(rows, columns, bad)

    def _check(self, records: list[Any], sieve: Sieve, earlier: Collection[str] | None) -> int:
        """Refuse records of another build or pipeline; return the number of features."""
        version = self._features_version
        if version is not None and {r.features_version for r in records} - {version}:
            others = np.array([r.features_version != version for r in records])
            if earlier is None:
                unknown = np.zeros(len(records), np.bool_)
            else:
                unknown = others & [r.features_version not in earlier for r in records]
            for row in np.flatnonzero(others & ~unknown).tolist():
                records[row].features = []
            if unknown.any():
                sieve.refuse(
                    unknown, OTHER_FEATURES, "The record's features are of another version."
                )
            own = ~others
        else:
            own = np.ones(len(records), np.bool_)
        lengths = np.array([len(r.features) for r in records], dtype=np.int64)
        kinds = [r.kind for r in records]
        is_event = np.array(kinds, dtype=np.int64) == EVENT
        count = self._features_count
        if count is None:
            count = int(lengths[is_event][0]) if is_event.any() else 0
        wrong = np.where(is_event & own, lengths != count, (lengths != count) & (lengths != 0))
        if wrong.any():
            sieve.refuse(wrong, "features_mismatch", f"The record does not have {count} features.")
        if LIST in kinds:
            sieve.refuse(
                np.array([r.kind == LIST and r.extra is None for r in records]),
                "list_record_invalid",
                "The change of a list does not say which.",
            )
        topic = self._events.topic
        if {r.source_topic or r.upstream_topic for r in records} - {topic}:
            foreign = [(r.source_topic or r.upstream_topic) != topic for r in records]
            sieve.refuse(
                is_event & np.array(foreign),
                "wrong_source",
                f"The event did not come from the topic {topic}.",
            )
        return count

    def _columns(self, records: list[Any], count: int) -> EventColumns:
        kinds = [r.kind for r in records]
        kind = np.array(kinds, dtype=np.int8)
        upstream_offset = np.array([r.upstream_offset for r in records], dtype=np.int64)
        partitions = np.array([r.upstream_partition for r in records], dtype=np.int64)
        source_partition = np.array([r.source_partition for r in records], dtype=np.int64)
        source_offset = np.array([r.source_offset for r in records], dtype=np.int64)
        from_upstream = (kind == EVENT) & (source_offset < 0)
        upstream, upstreams = _number([r.upstream_topic for r in records], partitions)
        if TICK in kinds:
            # A record of our own has no upstream: it is never a repeat.
            upstream[upstream_offset < 0] = -1
        extra = [r.extra for r in records]
        return EventColumns(
            kind=kind,
            event_time=np.array([r.event_time for r in records], dtype=np.int64),
            ids=[r.id for r in records],
            entities={
                name: _cells(records, "entities", index)
                for index, name in enumerate(self._events.entities)
            },
            values={
                name: np.array(_cells(records, "values", index), dtype=np.int64)
                for index, name in enumerate(self._events.decimals)
            },
            features=_feature_matrix([r.features for r in records], count),
            source_topic=self._events.topic,
            source_partition=np.where(from_upstream, partitions, source_partition),
            source_offset=np.where(from_upstream, upstream_offset, source_offset),
            late=np.array([r.late for r in records], dtype=np.bool_),
            duplicate_of=np.array([r.duplicate_of for r in records], dtype=np.int64),
            label=np.array([r.label for r in records], dtype=np.int8),
            label_time=np.array([r.label_time for r in records], dtype=np.int64),
            upstream=upstream,
            upstream_offset=upstream_offset,
            upstreams=upstreams,
            extra=_extras(extra),
        )


def _row_type(name: str, cell: Any, length: int) -> type[msgspec.Struct]:
    """Return the type of an array of exactly `length` cells, ``f0`` and so on.

    A list would be watched by the garbage collector: three a record cost a fifth more time.
    """
    return msgspec.defstruct(
        name,
        [(f"f{index}", cell) for index in range(length)],
        array_like=True,
        forbid_unknown_fields=True,
        gc=False,
    )


def _extras(extra: list[dict[str, msgspec.Raw] | None]) -> list[bytes | None] | None:
    if extra.count(None) == len(extra):
        return None
    return [None if each is None else msgspec.json.encode(each) for each in extra]


def _cells(records: list[Any], field: str, index: int) -> list[Any]:
    return list(map(attrgetter(f"{field}.f{index}"), records))


def _feature_matrix(rows: list[list[Any]], count: int) -> NDArray[np.float64]:
    """Return (n, count) float64; None reads as NaN, and so does every cell of an empty row."""
    if not count or not rows:
        return np.empty((len(rows), count), dtype=np.float64)
    nothing = [None] * count
    cells = chain.from_iterable([row or nothing for row in rows])
    return np.fromiter(cells, np.float64, len(rows) * count).reshape(len(rows), count)


def _number(
    topics: list[str], partitions: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[str]]:
    """Return (index of each row's upstream partition (n,) int64, their names)."""
    if len(set(topics)) <= 1:
        # By hand: `np.unique` takes 9 us for two rows.
        numbers = partitions.tolist()
        places = {number: at for at, number in enumerate(sorted(set(numbers)))}
        index = np.array([places[number] for number in numbers], np.int64)
        return index, [f"{topics[0]}-{number}" for number in places]
    names: dict[str, int] = {}
    index = np.empty(len(topics), dtype=np.int64)
    for row, (topic, number) in enumerate(zip(topics, partitions.tolist(), strict=True)):
        index[row] = names.setdefault(f"{topic}-{number}", len(names))
    return index, list(names)


def _name_version(refused: BadRecord, value: bytes | None, own: str | None) -> BadRecord:
    """Say so when a record is refused for being of a version that is not read here.

    own  version of the features that are: the events of another one may have other fields
    """
    try:
        cells = msgspec.json.decode(value or b"", type=list[msgspec.Raw])
        number = msgspec.json.decode(cells[0], type=int) if cells else SCHEMA_VERSION
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return refused
    if number in SCHEMA_VERSIONS_READ:
        return _name_features(refused, value or b"", own)
    return BadRecord(
        refused.row,
        LATER if number > SCHEMA_VERSION else "schema_version_unknown",
        f"The record has a schema version that is not one of {list(SCHEMA_VERSIONS_READ)}.",
    )


def _name_features(refused: BadRecord, value: bytes, own: str | None) -> BadRecord:
    try:
        version = read_features_version(value)
    except (msgspec.MsgspecError, IndexError):
        return refused
    if own is None or version == own:
        return refused
    return BadRecord(
        refused.row,
        OTHER_FEATURES,
        f"The record's features are of another version, and it has another form ({refused.code}).",
    )
