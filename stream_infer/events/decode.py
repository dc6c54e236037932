"""Bytes of an input topic to columns; what cannot be used is named, never dropped.

Two steps: JSON to objects (`stream_infer.events.lines`), then objects to columns,
where times become epoch ms and declared values become fixed point. Each check looks
at a whole column and refuses only the rows that fail, so a record's fate never
depends on its neighbours.

Decided here, once for all topics:
- a key that occurs twice in an object: the last one wins, as in most JSON parsers
  (RFC 8259, section 4, leaves it open).
- an id is any Unicode text of 1 to 256 characters, compared exactly; an escaped lone
  surrogate is malformed JSON, an escaped NUL is a character like another.
- a value that is a measurement may be absent (`NO_VALUE` in its column), is turned into the
  contract's unit by its key's factor, and is rounded to its decimals: a detector's mean of
  62.666667 mph is no mistake of the producer's.
- a key that the pipeline's table does not know is refused.
- an object may hold what the type does not declare: it is ignored, kept (in `extra`,
  with the declared fields that have no column) or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ConfigError
from stream_infer.events.columns import EVENT, LABEL, NO_POSITION, EventColumns
from stream_infer.events.flat import Flat, flat_reader
from stream_infer.events.known_keys import UNKNOWN
from stream_infer.events.lines import LinesDecoder
from stream_infer.events.mapping import FieldMapping
from stream_infer.events.measure_reader import MeasureReader, MeasureSource, as_float
from stream_infer.events.measures import UNITS_MAX
from stream_infer.events.reasons import BadRecord
from stream_infer.events.sieve import Sieve
from stream_infer.events.times import CAUSES, TimeUnit, to_epoch_ms, whole_to_epoch_ms
from stream_infer.events.wire_type import WireType, wire_type
from stream_infer.pipeline import Events, Labels

__all__ = ["UNITS_MAX", "BadRecord", "Decoded", "EventDecoder", "LabelDecoder"]

_TOLERANCE_UNITS = 1e-6

UnknownFields = Literal["ignore", "keep", "refuse"]


@dataclass(slots=True)
class Decoded:
    """What a run of records holds: each is exactly once in `rows` or in `bad`.

    rows     (k,) int64, indices into the input of the good records, increasing
    columns  the k good records; where they stand in the log, `late`, `duplicate_of` and
             `upstream` hold defaults until the caller sets them
    bad      the others, by row
    """

    rows: NDArray[np.int64]
    columns: EventColumns
    bad: list[BadRecord]


class EventDecoder:
    """Decode the events of a pipeline's input topic.

    events          what the topic holds
    mapping         where the fields stand in a user's own JSON, None for the contract's form
    unknown_fields  what to do with fields that are not declared
    Raises          ConfigError when the mapping or the type does not fit the declaration
    """

    def __init__(
        self,
        events: Events,
        mapping: FieldMapping | None = None,
        unknown_fields: UnknownFields = "ignore",
    ) -> None:
        wire = wire_type(
            events.type,
            mapping,
            times=(events.time,),
            ids=(events.id, *events.entities),
            refuse_unknown=unknown_fields == "refuse",
        )
        self._events = events
        self._lines = LinesDecoder(wire.type, opening_min=wire.opening_min)
        self._id = _text_reader(wire, events.id)
        self._entities = {name: _text_reader(wire, name) for name in events.entities}
        self._time = _TimeReader(wire, events.time)
        self._values = {
            name: _DecimalReader(wire, name, decimals)
            for name, decimals in events.decimals.items()
            if name not in events.measures
        }
        self._measures = _measure_reader(wire, events) if events.measures else None
        self._known = events.known
        self._unknown_key = f"unknown_{events.key.removesuffix('_id')}"
        in_columns = (events.id, events.time, *events.entities, *events.decimals)
        self._kept = _ExtraReader(wire, in_columns) if unknown_fields == "keep" else None
        self._flat = None
        if self._measures is None and self._kept is None:
            self._flat = flat_reader(
                wire.type,
                texts={wire.paths[name] for name in (events.id, *events.entities)},
                times={wire.paths[events.time]},
                numbers={wire.paths[name] for name in events.decimals},
                skips=unknown_fields == "ignore",
            )
        self._paths = wire.paths

    def decode(self, values: Sequence[bytes | None], *, for_state: bool = False) -> Decoded:
        """Return the good records as columns, and the bad ones with their cause.

        values     n record values in offset order, None for a tombstone
        for_state  whether they are for a state alone: then texts may be cut when they are asked for
        Cost       O(bytes); about half a microsecond an event when times are whole numbers
        """
        flat = None if self._flat is None else self._flat.read(values)
        columns = None if flat is None else self._of_flat(flat, for_state=for_state)
        if columns is not None:
            return Decoded(np.arange(len(columns)), columns, [])
        rows, objects, bad = self._lines.decode(values)
        sieve = Sieve(rows, bad)
        event_time = self._time.read(objects, sieve)
        fixed = {name: reader.read(objects, sieve) for name, reader in self._values.items()}
        known = self._look_up(objects, sieve) if self._known is not None else None
        if self._measures is not None:
            fixed |= self._measures.read(objects, known, sieve)
        if sieve.refused:
            objects = sieve.keep_objects(objects)
            event_time = event_time[sieve.good]
            fixed = {name: column[sieve.good] for name, column in fixed.items()}
        columns = blank_columns(
            self._events,
            EVENT,
            ids=self._id(objects),
            event_time=event_time,
            entities={name: read(objects) for name, read in self._entities.items()},
            values=fixed,
        )
        rows, bad = sieve.settle()
        if self._kept:
            columns.extra = self._kept.read(values, rows)
        return Decoded(rows, columns, bad)

    def _of_flat(self, flat: Flat, *, for_state: bool) -> EventColumns | None:
        """Return what was read as columns, None where a record is bad: the parser names it."""
        events, paths = self._events, self._paths
        times = flat.numbers[paths[events.time]]
        sieve = Sieve(np.arange(len(times)), [])
        event_time = self._time.of_whole(times, sieve)
        fixed = {
            name: reader.of_numbers(flat.numbers[paths[name]], sieve)
            for name, reader in self._values.items()
        }
        if sieve.refused:
            return None
        texts = {name: flat.texts[paths[name]] for name in (events.id, *events.entities)}
        if self._known is not None and (self._known.indices(texts[events.key]) == UNKNOWN).any():
            return None
        # Others write the texts, and for that they are lists.
        read = texts if for_state else {name: each.all() for name, each in texts.items()}
        return blank_columns(
            events,
            EVENT,
            ids=read[events.id],
            event_time=event_time,
            entities={name: read[name] for name in events.entities},
            values=fixed,
        )

    def _look_up(self, objects: list[Any], sieve: Sieve) -> NDArray[np.int64]:
        """Return each object's key as an index of the table; refuse those that it lacks."""
        if self._known is None:
            raise ValueError("the pipeline has no table of keys")
        indices = self._known.indices(self._entities[self._events.key](objects))
        unknown = indices == UNKNOWN
        if unknown.any():
            what = self._events.key.removesuffix("_id")
            sieve.refuse(
                unknown, self._unknown_key, f"The {what} is not in the pipeline's table of them."
            )
        return indices


class LabelDecoder:
    """Decode a label topic; a label has the id, time and entities of the event it is about.

    Raises     ConfigError when the mapping or the type does not fit the declaration
    """

    def __init__(self, labels: Labels, events: Events, mapping: FieldMapping | None = None) -> None:
        wire = wire_type(
            labels.type,
            mapping,
            times=(events.time, labels.time),
            ids=(events.id, *events.entities),
        )
        self._events = events
        self._lines = LinesDecoder(wire.type, opening_min=wire.opening_min)
        self._id = _text_reader(wire, events.id)
        self._entities = {name: _text_reader(wire, name) for name in events.entities}
        self._time = _TimeReader(wire, events.time)
        self._label_time = _TimeReader(wire, labels.time)
        self._truth = attrgetter(_path(wire, labels.truth))

    def decode(self, values: Sequence[bytes | None], *, for_state: bool = False) -> Decoded:
        """Return the good labels as columns of kind LABEL, and the bad ones with their cause.

        for_state  as events have it; here nothing is different
        """
        rows, objects, bad = self._lines.decode(values)
        sieve = Sieve(rows, bad)
        event_time = self._time.read(objects, sieve)
        label_time = self._label_time.read(objects, sieve)
        if sieve.refused:
            objects = sieve.keep_objects(objects)
            event_time, label_time = event_time[sieve.good], label_time[sieve.good]
        columns = blank_columns(
            self._events,
            LABEL,
            ids=self._id(objects),
            event_time=event_time,
            entities={name: read(objects) for name, read in self._entities.items()},
            values={name: np.zeros(len(objects), np.int64) for name in self._events.decimals},
        )
        columns.label = np.array(list(map(self._truth, objects)), dtype=np.int8)
        columns.label_time = label_time
        rows, bad = sieve.settle()
        return Decoded(rows, columns, bad)


def blank_columns(
    events: Events,
    kind: int,
    *,
    ids: Sequence[str],
    event_time: NDArray[np.int64],
    entities: Mapping[str, Sequence[str]],
    values: dict[str, NDArray[np.int64]],
) -> EventColumns:
    """Return columns of records whose place in the log is not known yet."""
    n = len(ids)
    return EventColumns(
        kind=np.full(n, kind, dtype=np.int8),
        event_time=event_time,
        ids=ids,
        entities=dict(entities),
        values=values,
        features=np.empty((n, 0), dtype=np.float64),
        source_topic=events.topic,
        source_partition=np.full(n, -1, dtype=np.int64),
        source_offset=np.full(n, -1, dtype=np.int64),
        late=np.zeros(n, dtype=np.bool_),
        duplicate_of=np.full(n, NO_POSITION, dtype=np.int64),
        label=np.full(n, -1, dtype=np.int8),
        label_time=np.zeros(n, dtype=np.int64),
    )


class _TimeReader:
    """Read a time field of many objects as epoch ms."""

    def __init__(self, wire: WireType, field: str) -> None:
        self._get = attrgetter(_path(wire, field))
        self._name = wire.names[field]
        self._unit: TimeUnit = wire.units.get(field, "ms")

    def read(self, objects: list[Any], sieve: Sieve) -> NDArray[np.int64]:
        return self._checked(*to_epoch_ms(list(map(self._get, objects)), self._unit), sieve)

    def of_whole(self, numbers: NDArray[np.int64], sieve: Sieve) -> NDArray[np.int64]:
        """Return whole numbers as epoch ms."""
        return self._checked(*whole_to_epoch_ms(numbers, self._unit), sieve)

    def _checked(
        self, times: NDArray[np.int64], causes: NDArray[np.int8], sieve: Sieve
    ) -> NDArray[np.int64]:
        if causes.any():
            for cause, text in CAUSES.items():
                sieve.refuse(causes == cause, "bad_time", f"Field {self._name} {text}.")
        return times


class _DecimalReader:
    """Read a value field of many objects as int64 fixed point."""

    def __init__(self, wire: WireType, field: str, decimals: int) -> None:
        self._get = attrgetter(_path(wire, field))
        self._name = wire.names[field]
        self._decimals = decimals
        self._units = float(10**decimals)

    def read(self, objects: list[Any], sieve: Sieve) -> NDArray[np.int64]:
        try:
            numbers = np.array(list(map(self._get, objects)), dtype=np.float64)
        except OverflowError:
            # A whole number beyond float64: JSON has no bound, infinity fails the check below.
            numbers = np.array([as_float(self._get(item)) for item in objects], dtype=np.float64)
        return self.of_numbers(numbers, sieve)

    def of_numbers(self, numbers: NDArray[Any], sieve: Sieve) -> NDArray[np.int64]:
        """Return numbers, of any dtype, as fixed point."""
        scaled = numbers * self._units
        nearest = np.rint(scaled)
        # Neither holds for what is no number or infinite.
        if (
            np.abs(nearest).max(initial=0.0) <= UNITS_MAX
            and np.abs(scaled - nearest).max(initial=0.0) <= _TOLERANCE_UNITS
        ):
            return nearest.astype(np.int64)
        with np.errstate(invalid="ignore"):
            # Two steps of the float's own grid on top, for the product above is rounded too.
            tolerance = np.maximum(_TOLERANCE_UNITS, 2 * np.spacing(np.abs(scaled)))
            fits = np.abs(scaled - nearest) <= tolerance
            fits &= np.abs(nearest) <= UNITS_MAX
        if not fits.all():
            self._refuse(numbers, nearest, fits, sieve)
            nearest = np.where(fits, nearest, 0.0)
        return nearest.astype(np.int64)

    def _refuse(
        self,
        numbers: NDArray[np.float64],
        nearest: NDArray[np.float64],
        fits: NDArray[np.bool_],
        sieve: Sieve,
    ) -> None:
        name, decimals = self._name, self._decimals
        sieve.refuse(np.isnan(numbers), "missing_field", f"Field {name} has no value.")
        sieve.refuse(
            np.abs(nearest) > UNITS_MAX,
            "out_of_range",
            f"Field {name} is too large to be exact with {decimals} decimals.",
        )
        sieve.refuse(
            ~fits,
            "bad_decimal",
            f"Field {name} has more than the {decimals} decimals it is declared with; "
            "declare more decimals.",
        )


class _ExtraReader:
    """Read what has no column of its own, as one raw JSON object a record."""

    def __init__(self, wire: WireType, in_columns: tuple[str, ...]) -> None:
        self._decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._encoder = msgspec.json.Encoder()
        # A mapped object is left out whole when any of its fields has a column.
        self._known = frozenset(wire.roots[field] for field in in_columns)

    def read(
        self, values: Sequence[bytes | None], rows: NDArray[np.int64]
    ) -> list[bytes | None] | None:
        """Return one object (or None) per row, or None when no row has any."""
        found = [self._one(values[row]) for row in rows.tolist()]
        return found if any(found) else None

    def _one(self, value: bytes | None) -> bytes | None:
        fields = self._decoder.decode(value or b"{}")
        rest = {name: raw for name, raw in fields.items() if name not in self._known}
        if not rest:
            return None
        extra = self._encoder.encode(rest)
        # One line, or the records made of it would leave the quick path of the next stage.
        return msgspec.json.format(extra, indent=-1) if b"\n" in extra else extra


def _path(wire: WireType, field: str) -> str:
    try:
        return wire.paths[field]
    except KeyError:
        raise ConfigError(
            "unknown_field",
            f"The type {wire.type.__name__} has no field {field!r}.",
            "Declare the field in the type, or name the right one in the pipeline.",
            field=field,
        ) from None


def _measure_reader(wire: WireType, events: Events) -> MeasureReader:
    sources = [
        MeasureSource(
            name, attrgetter(_path(wire, name)), wire.names[name], 10.0 ** events.decimals[name]
        )
        for name in events.measures
    ]
    return MeasureReader(sources, events.known)


def _text_reader(wire: WireType, field: str) -> Callable[[list[Any]], list[str]]:
    """Return a function from objects to the texts of an id or entity field."""
    get = attrgetter(_path(wire, field))
    kind = _leaf_type(wire.type, wire.paths[field])
    if kind is str:
        return lambda objects: list(map(get, objects))
    if kind is int:
        return lambda objects: [str(get(item)) for item in objects]
    raise ConfigError(
        "bad_id_type",
        f"The field {field!r} is an id or entity and must be a text or a whole number.",
        "Declare it as str (or int), without null.",
        field=field,
    )


def _leaf_type(type_: Any, path: str) -> Any:
    for name in path.split("."):
        fields = {field.name: field.type for field in msgspec.structs.fields(type_)}
        type_ = fields[name]
        while get_origin(type_) is Annotated:
            type_ = get_args(type_)[0]
    return type_
