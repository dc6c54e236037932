"""Times as they come in JSON to whole milliseconds since the epoch.

A number is milliseconds unless its unit says otherwise; text is RFC 3339 with an
offset whatever the unit. What is finer than a millisecond is cut, never rounded: an
event must not move into the next millisecond, day or window by being read.
Text without an offset says no instant and is refused, except under the unit
``naive-utc``, for files whose times are declared to be UTC. Leap seconds (``:60``)
have no place on the epoch's scale and are refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

TimeUnit = Literal["ms", "s", "us", "ns", "naive-utc"]
TIME_UNITS: tuple[str, ...] = get_args(TimeUnit)

TIME_MS_MIN = -62_135_596_800_000
"""0001-01-01T00:00:00Z"""
TIME_MS_MAX = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z"""

GOOD = 0
NOT_RFC3339 = 1
NO_OFFSET = 2
OUT_OF_RANGE = 3
NO_TIME = 4
CAUSES = {
    NOT_RFC3339: "is not RFC 3339 text or a whole number",
    NO_OFFSET: "has no offset (write Z or +hh:mm, or declare the unit naive-utc)",
    OUT_OF_RANGE: "lies outside the years 0001 to 9999",
    NO_TIME: "has no value",
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_PER_MS = {"us": 1_000, "ns": 1_000_000}
_MICROSECOND_DIGITS = re.compile(r"(\.[0-9]{6})[0-9]+")
_UNCUT_CHARS_MAX = 27
"""``2018-04-01T00:00:00.123456Z``: only a longer text can hold a seventh digit."""
_Aware = Annotated[datetime, msgspec.Meta(tz=True)]
_INT64 = np.iinfo(np.int64)


def to_epoch_ms(
    raw: Sequence[Any], unit: TimeUnit = "ms"
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return (times (n,) int64 ms since the epoch, causes (n,) int8, `GOOD` or a key of `CAUSES`).

    raw      n values: int, float, RFC 3339 str, datetime or None
    unit     what a number counts; with ``naive-utc`` text without an offset is UTC
    Cost     O(n), one array conversion when all are int
    """
    try:
        # The types are looked at first: numpy would read the text "12" as a number.
        whole = set(map(type, raw)) <= {int}
        times = np.array(raw, dtype=np.int64) if whole else None
    except OverflowError:
        times = None
    if times is None:
        return _one_by_one(raw, unit)
    return whole_to_epoch_ms(times, unit)


def whole_to_epoch_ms(
    times: NDArray[np.int64], unit: TimeUnit = "ms"
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return what `to_epoch_ms` does of whole numbers."""
    return _in_range(*_scaled(times, unit))


def _scaled(times: NDArray[np.int64], unit: TimeUnit) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    causes = np.zeros(len(times), dtype=np.int8)
    if unit == "s":
        # Clipping keeps what is far outside far outside, where times 1000 would wrap.
        return np.clip(times, -(2**52), 2**52) * 1_000, causes
    if unit in _PER_MS:
        return times // _PER_MS[unit], causes
    return times, causes


def _in_range(
    times: NDArray[np.int64], causes: NDArray[np.int8]
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    outside = (times < TIME_MS_MIN) | (times > TIME_MS_MAX)
    if outside.any():
        causes[outside & (causes == GOOD)] = OUT_OF_RANGE
    return times, causes


def _one_by_one(raw: Sequence[Any], unit: TimeUnit) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    times = np.zeros(len(raw), dtype=np.int64)
    causes = np.zeros(len(raw), dtype=np.int8)
    texts = [row for row, value in enumerate(raw) if type(value) is str]
    for row, parsed in zip(texts, _parse_texts([raw[row] for row in texts], unit), strict=True):
        times[row], causes[row] = parsed
    if len(texts) < len(raw):
        for row, value in enumerate(raw):
            if type(value) is not str:
                times[row], causes[row] = _from_scalar(value, unit)
    return _in_range(times, causes)


def _parse_texts(texts: list[str], unit: TimeUnit) -> list[tuple[int, int]]:
    cut = [
        text if len(text) <= _UNCUT_CHARS_MAX else _MICROSECOND_DIGITS.sub(r"\1", text, count=1)
        for text in texts
    ]
    if unit != "naive-utc":
        try:
            aware = msgspec.convert(cut, list[_Aware])
        except msgspec.ValidationError:
            # At least one is bad: each is judged alone below.
            aware = None
        if aware is not None:
            return [((time - _EPOCH) // _MILLISECOND, GOOD) for time in aware]
    return [_parse_text(text, unit) for text in cut]


def _parse_text(text: str, unit: TimeUnit) -> tuple[int, int]:
    try:
        return _from_datetime(msgspec.convert(text, datetime), unit)
    except msgspec.ValidationError:
        return 0, NOT_RFC3339


def _from_datetime(time: datetime, unit: TimeUnit) -> tuple[int, int]:
    if time.tzinfo is None:
        if unit != "naive-utc":
            return 0, NO_OFFSET
        time = time.replace(tzinfo=UTC)
    return (time - _EPOCH) // _MILLISECOND, GOOD


def _from_scalar(value: Any, unit: TimeUnit) -> tuple[int, int]:
    if value is None:
        return 0, NO_TIME
    if isinstance(value, datetime):
        return _from_datetime(value, unit)
    if type(value) is int:
        ms = value * 1_000 if unit == "s" else value // _PER_MS.get(unit, 1)
    elif type(value) is float and np.isfinite(value):
        # To whole microseconds first: 0.123 s is 122.99... ms in binary.
        ms = round(value * (1_000_000 if unit == "s" else 1_000 / _PER_MS.get(unit, 1))) // 1_000
    else:
        return 0, NOT_RFC3339
    return (ms, GOOD) if _INT64.min <= ms <= _INT64.max else (0, OUT_OF_RANGE)
