"""Runs of flat JSON objects to columns, without an object a record.

What is written as most producers write it is read by machine code
(`stream_infer.events.flat_scan`). A run that holds anything else is left to
`stream_infer.events.lines`, with the same result.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.events.flat_scan import (
    FIELDS_MAX,
    NUMBER,
    OTHER,
    PLACES_MAX,
    TEXT,
    TEXT_OR_NULL,
    WHOLE,
    scan,
)
from stream_infer.records.among import TextsAmong, joined

_INT64 = np.iinfo(np.int64)


class Flat(NamedTuple):
    """What ``n`` records hold, by the names of their fields.

    texts    TextsAmong of n texts
    numbers  (n,) int64 of a field that is a whole number, else float64
    """

    texts: dict[str, TextsAmong]
    numbers: dict[str, NDArray[Any]]


class _Field(NamedTuple):
    """A field of the type as the scan takes it.

    bounds  of a text's length or a whole number, inclusive
    limits  of a float64, inclusive
    """

    kind: int
    bounds: tuple[int, int] = (0, int(_INT64.max))
    limits: tuple[float, float] = (-np.inf, np.inf)


class FlatReader:
    """Reads records of one type.

    type_    the msgspec type of a record
    texts    attributes that are read as texts
    times    attributes that are read as whole numbers, whatever else they may be
    numbers  attributes that are read as numbers
    skips    whether fields that the type does not have are passed over
    """

    def __init__(
        self,
        fields: Mapping[str, _Field],
        keys: Mapping[str, str],
        required: Collection[str],
        wanted: Collection[str],
        *,
        skips: bool,
    ) -> None:
        names = [keys[name].encode() for name in fields]
        self._names = np.frombuffer(b"".join(names), np.uint8)
        self._name_ends = np.cumsum(np.array([len(name) for name in names], np.int64))
        self._kinds = np.array([each.kind for each in fields.values()], np.int64)
        self._bounds = np.array([each.bounds for each in fields.values()], np.int64)
        self._required = sum(1 << at for at, name in enumerate(fields) if name in required)
        self._skips = int(skips)
        self._order = np.full(PLACES_MAX, -1, np.int64)
        self._texts = [name for name, each in fields.items() if each.kind == TEXT]
        self._numbers = {
            name: each for name, each in fields.items() if each.kind in (WHOLE, NUMBER)
        }
        places = {name: at for at, name in enumerate(self._texts)}
        places |= {name: at for at, name in enumerate(self._numbers)}
        self._wheres = np.array([places.get(name, 0) for name in fields], np.int64)
        self._wanted = frozenset(wanted)

    def read(self, values: Sequence[bytes | None]) -> Flat | None:
        """Return what the records hold; None where one of them is not flat.

        Cost  O(bytes), about a fifth of a microsecond a record
        """
        among = joined(values)
        if among is None:
            return None
        n = len(among)
        places = np.empty((2 * len(self._texts), n), np.int64)
        numbers = np.empty((len(self._numbers), n), np.int64)
        if not scan(
            np.frombuffer(among.data, np.uint8),
            among.starts,
            among.ends,
            self._names,
            self._name_ends,
            self._kinds,
            self._wheres,
            self._bounds,
            self._required,
            self._skips,
            self._order,
            places,
            numbers,
        ):
            return None
        read: dict[str, NDArray[Any]] = {}
        for row, (name, field) in enumerate(self._numbers.items()):
            if field.kind == WHOLE:
                read[name] = numbers[row]
                continue
            floats = numbers[row].view(np.float64)
            low, high = field.limits
            if n and (floats.min() < low or floats.max() > high):
                return None
            read[name] = floats
        return Flat(
            {
                name: TextsAmong(among.data, places[2 * at], places[2 * at + 1])
                for at, name in enumerate(self._texts)
                if name in self._wanted
            },
            read,
        )


def flat_reader(
    type_: type[msgspec.Struct],
    *,
    texts: Collection[str],
    times: Collection[str],
    numbers: Collection[str],
    skips: bool,
) -> FlatReader | None:
    """Return what reads records of a type, None where they are not known to be flat.

    texts, times, numbers  attributes of the type that are wanted, all of them required
    skips                  whether fields that the type does not have are passed over
    """
    info: Any = msgspec.inspect.type_info(type_)
    plain = info.tag is None and not info.array_like and not hasattr(type_, "__post_init__")
    declared = {field.name: field for field in info.fields}
    wanted = {*texts, *times, *numbers}
    if not plain or len(declared) > FIELDS_MAX or not wanted <= set(declared):
        return None
    fields: dict[str, _Field] = {}
    for name, field in declared.items():
        if not field.encode_name.isascii() or not field.encode_name.isprintable():
            return None
        found = _field(field.type, is_time=name in times)
        right = {TEXT} if name in texts else {WHOLE} if name in times else {WHOLE, NUMBER}
        if name in wanted and not (field.required and found.kind in right):
            return None
        fields[name] = found
    return FlatReader(
        fields,
        {name: field.encode_name for name, field in declared.items()},
        [name for name, field in declared.items() if field.required],
        wanted,
        skips=skips,
    )


def _field(type_: Any, *, is_time: bool) -> _Field:
    """Return how the scan takes a field of a type, by what msgspec says of it."""
    kinds = [_bare(each) for each in getattr(_bare(type_), "types", [type_])]
    of: dict[str, Any] = {type(each).__name__: each for each in kinds}
    names = set(of)
    if "StrType" in names and names <= {"StrType", "NoneType"}:
        text = of["StrType"]
        if text.pattern is not None:
            return _Field(OTHER)
        longest = text.max_length if text.max_length is not None else int(_INT64.max)
        kind = TEXT if names == {"StrType"} else TEXT_OR_NULL
        return _Field(kind, (text.min_length or 0, longest))
    if names == {"IntType"} or (is_time and "IntType" in names):
        return _whole(of["IntType"])
    if names == {"FloatType"}:
        return _float(of["FloatType"])
    return _Field(OTHER)


def _whole(of: Any) -> _Field:
    if of.multiple_of is not None:
        return _Field(OTHER)
    low = max([int(_INT64.min), *_known(of.ge), *(each + 1 for each in _known(of.gt))])
    high = min([int(_INT64.max), *_known(of.le), *(each - 1 for each in _known(of.lt))])
    return _Field(WHOLE, (int(low), int(high)))


def _float(of: Any) -> _Field:
    if of.multiple_of is not None:
        return _Field(OTHER)
    low = max([-np.inf, *_known(of.ge), *(np.nextafter(each, np.inf) for each in _known(of.gt))])
    high = min([np.inf, *_known(of.le), *(np.nextafter(each, -np.inf) for each in _known(of.lt))])
    return _Field(NUMBER, limits=(float(low), float(high)))


def _known(bound: float | None) -> list[Any]:
    return [] if bound is None else [bound]


def _bare(type_: Any) -> Any:
    while isinstance(type_, msgspec.inspect.Metadata):
        type_ = type_.type
    return type_
