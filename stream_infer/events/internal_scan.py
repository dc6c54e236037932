"""Reads internal records as our own encoder writes them, in machine code.

A record that is written in any other way (white space, escapes, other letters than ASCII, another
version, kept fields, the change of a list) or that breaks a rule is not plain: then the whole run
is left to the parser that knows JSON, and can say what is wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.compiled import digest_sources, kept, one_form
from stream_infer.events.measures import UNITS_MAX
from stream_infer.events.numbers import DIGITS_MAX, OPTIONS, nearest_bits, part
from stream_infer.events.times import TIME_MS_MAX, TIME_MS_MIN

_SOURCES = digest_sources(Path(__file__).parent)

KIND, UPSTREAM, UPSTREAM_PARTITION, UPSTREAM_OFFSET, SOURCE_PARTITION, SOURCE_OFFSET = range(6)
EVENT_TIME, LATE, DUPLICATE_OF, LABEL, LABEL_TIME, VALUES = range(6, 12)
"""Rows of the numbers that are found; of the values each has one, from VALUES on."""

PAIRS_MAX = 1024
"""Upstream partitions that one run may come from."""

_NAN_BITS = int(np.array([np.nan]).view(np.int64)[0])
_INF_BITS = int(np.array([np.inf]).view(np.int64)[0])
_SIGN_BIT = np.int64(-(2**63))

_INT_DIGITS_MAX = 18
_EXPONENT_DIGITS_MAX = 3
_PARTITION_MAX, _OFFSET_MAX = 2**15 - 1, 2**48 - 1
_POSITION_MAX = 2**63 - 1
_KIND_MAX = 2
"""Of ticks, behind events and labels; the changes of lists are not plain."""

_COMMA, _QUOTE, _ESCAPE, _MINUS, _POINT = ord(","), ord('"'), ord("\\"), ord("-"), ord(".")
_OPEN, _CLOSE, _ZERO, _NINE, _PLUS = ord("["), ord("]"), ord("0"), ord("9"), ord("+")
_E, _LARGE_E = ord("e"), ord("E")
_SPACE, _DELETE = 0x20, 0x7F
_NULL, _TRUE, _FALSE, _INF, _MINUS_INF = (
    np.frombuffer(word, np.uint8) for word in (b"null", b"true", b"false", b"inf", b"-inf")
)
_TEN = np.uint64(10)


@part
def _is_digit(byte: int) -> bool:
    return bool(_ZERO <= byte <= _NINE)


@part
def _comma(data: Any, at: int, end: int) -> int:
    """Return what comes behind a comma, -1 where there is none."""
    return at + 1 if 0 <= at < end and data[at] == _COMMA else -1


@part
def _opened(data: Any, at: int, end: int) -> int:
    """Return what comes behind an opening bracket, -1 where there is none."""
    return at + 1 if 0 <= at < end and data[at] == _OPEN else -1


@part
def _closed(data: Any, at: int, end: int) -> int:
    """Return what comes behind a closing bracket, -1 where there is none."""
    return at + 1 if 0 <= at < end and data[at] == _CLOSE else -1


@part
def _digits(data: Any, at: int, end: int, most: int) -> Any:
    """Return the number that digits make and where they end, -1 where there are none or more."""
    value, first = np.int64(0), at
    while at < end and _is_digit(data[at]) and at - first <= most:
        value = value * 10 + (np.int64(data[at]) - _ZERO)
        at += 1
    return value, (at if first < at <= first + most else -1)


@part
def _integer(data: Any, at: int, end: int) -> Any:
    """Return a whole number and where it ends, -1 where there is none of at most 18 digits."""
    if at < 0:
        return np.int64(0), -1
    is_negative = at < end and data[at] == _MINUS
    if is_negative:
        at += 1
    first = at
    value, at = _digits(data, at, end, _INT_DIGITS_MAX)
    if at < 0 or (at - first > 1 and data[first] == _ZERO):
        return np.int64(0), -1
    return (-value if is_negative else value), at


@part
def _number(
    data: Any, at: int, end: int, numbers: Any, where: int, row: int, bounds: tuple[int, int]
) -> int:
    """Fill in the whole number behind a comma; return where it ends, or -1."""
    value, at = _integer(data, _comma(data, at, end), end)
    if at < 0 or value < bounds[0] or value > bounds[1]:
        return -1
    numbers[where, row] = value
    return at


@part
def _text(data: Any, at: int, end: int) -> Any:
    """Return where the text between two quotes begins and ends, and what comes behind it or -1."""
    if at < 0 or at >= end or data[at] != _QUOTE:
        return 0, 0, -1
    at += 1
    start = at
    while at < end and data[at] != _QUOTE:
        if data[at] == _ESCAPE or data[at] < _SPACE or data[at] > _DELETE:
            return 0, 0, -1
        at += 1
    if at >= end:
        return 0, 0, -1
    return start, at, at + 1


@part
def _is(data: Any, start: int, end: int, text: Any) -> bool:
    """Tell whether bytes are a text."""
    if end - start != len(text):
        return False
    same = 0
    while same < len(text) and data[start + same] == text[same]:
        same += 1
    return bool(same == len(text))


@part
def _word(data: Any, at: int, end: int, word: Any) -> int:
    """Return where a bare word ends, -1 where another one stands."""
    stop = at + len(word)
    return stop if at >= 0 and stop <= end and _is(data, at, stop, word) else -1


@part
def _exponent(data: Any, at: int, end: int) -> Any:
    """Return what stands behind an e and where it ends; -1 where that is no exponent."""
    if at < end and data[at] == _PLUS:
        at += 1
        if at < end and data[at] == _MINUS:
            return np.int64(0), -1
    # Unlike another whole number it may begin with zeros.
    is_negative = at < end and data[at] == _MINUS
    if is_negative:
        at += 1
    value, at = _digits(data, at, end, _EXPONENT_DIGITS_MAX)
    return (-value if is_negative else value), at


@part
def _float_bits(data: Any, at: int, end: int, is_wanted: Any) -> Any:
    """Return the bits of a float64 and where its text ends; -1 where this cannot tell.

    is_wanted  whether the bits matter, and not only that there is a number
    """
    is_negative = data[at] == _MINUS
    if is_negative:
        at += 1
    digits, significant, first = np.uint64(0), 0, at
    while at < end and _is_digit(data[at]):
        digits = digits * _TEN + np.uint64(data[at] - _ZERO)
        significant += digits != np.uint64(0)
        at += 1
    is_number = at > first and (at == first + 1 or data[first] != _ZERO)
    power = 0
    if at < end and data[at] == _POINT:
        at += 1
        first = at
        while at < end and _is_digit(data[at]):
            digits = digits * _TEN + np.uint64(data[at] - _ZERO)
            significant += digits != np.uint64(0)
            at += 1
        power = first - at
        is_number = is_number and power < 0
    # More digits than that have overflown.
    is_number = is_number and significant <= DIGITS_MAX
    has_exponent = at < end and (data[at] == _E or data[at] == _LARGE_E)
    if is_number and has_exponent:
        more, at = _exponent(data, at + 1, end)
        power += more
    if is_number and not has_exponent and not is_wanted:
        return np.int64(_NAN_BITS), at  # it is finite, whatever it is
    bits = nearest_bits(digits, power) if is_number and at >= 0 else np.int64(-1)
    if bits < 0:
        return np.int64(0), -1
    return (bits | _SIGN_BIT if is_negative else bits), at


@part
def _feature_bits(data: Any, at: int, end: int, is_wanted: Any) -> Any:
    """Return the bits of a feature and where its text ends, or -1."""
    if at < 0 or at >= end:
        return np.int64(0), -1
    if data[at] == _NULL[0]:
        return np.int64(_NAN_BITS), _word(data, at, end, _NULL)
    if data[at] != _QUOTE:
        return _float_bits(data, at, end, is_wanted)
    start, stop, at = _text(data, at, end)
    if at >= 0 and _is(data, start, stop, _INF):
        return np.int64(_INF_BITS), at
    if at >= 0 and _is(data, start, stop, _MINUS_INF):
        return np.int64(_INF_BITS) | _SIGN_BIT, at
    return np.int64(0), -1


@part
def _texts(data: Any, at: int, end: int, texts: Any, row: int, count: int) -> int:
    """Fill in so many texts between brackets; return what comes behind them, or -1."""
    at = _opened(data, at, end)
    for i in range(count):
        start, stop, at = _text(data, at if i == 0 else _comma(data, at, end), end)
        texts[2 + 2 * i, row], texts[3 + 2 * i, row] = start, stop
    return _closed(data, at, end)


@part
def _values(data: Any, at: int, end: int, numbers: Any, row: int) -> int:
    """Fill in the values between brackets; return what comes behind them, or -1."""
    at = _opened(data, at, end)
    for i in range(VALUES, numbers.shape[0]):
        value, at = _integer(data, at if i == VALUES else _comma(data, at, end), end)
        if at < 0 or value < -UNITS_MAX or value > UNITS_MAX:
            return -1
        numbers[i, row] = value
    return _closed(data, at, end)


@part
def _features(
    data: Any, at: int, end: int, features: Any, row: int, kind: int, are_wanted: Any
) -> int:
    """Fill in the features between brackets; return what comes behind them, or -1.

    What is no event may have none.
    """
    at = _opened(data, at, end)
    count = features.shape[1]
    if kind != 0 and count > 0 and _closed(data, at, end) >= 0:
        for i in range(count):
            features[row, i] = _NAN_BITS
        return _closed(data, at, end)
    for i in range(count):
        at = at if i == 0 else _comma(data, at, end)
        bits, at = _feature_bits(data, at, end, are_wanted)
        features[row, i] = bits if are_wanted else _NAN_BITS
    return _closed(data, at, end)


@part
def _source(data: Any, at: int, end: int, topic: Any, must_name: Any) -> int:
    """Return where the source's topic ends, which is the pipeline's or null, or -1.

    must_name  whether it may not be null
    """
    if 0 <= at < end and data[at] == _NULL[0]:
        return -1 if must_name else _word(data, at, end, _NULL)
    start, stop, at = _text(data, at, end)
    return at if at >= 0 and _is(data, start, stop, topic) else -1


@part
def _late(data: Any, at: int, end: int, numbers: Any, row: int) -> int:
    """Fill in whether a record is late; return where that ends, or -1."""
    stop = _word(data, at, end, _TRUE)
    numbers[LATE, row] = stop >= 0
    return stop if stop >= 0 else _word(data, at, end, _FALSE)


@part
def _is_pair(data: Any, pairs: Any, at: int, start: int, stop: int, partition: int) -> bool:
    """Tell whether a topic and partition is the one that is known by a number."""
    known, length = pairs[at, 0], stop - start
    if pairs[at, 2] != partition or pairs[at, 1] - known != length:
        return False
    same = 0
    while same < length and data[known + same] == data[start + same]:
        same += 1
    return bool(same == length)


@part
def _pair(
    data: Any, pairs: Any, known: int, last: int, start: int, stop: int, partition: int
) -> int:
    """Return the number of a topic and partition, the one behind all known where it is new.

    last  the number that the row before had
    """
    if last < known and _is_pair(data, pairs, last, start, stop, partition):
        return last
    for at in range(known):
        if _is_pair(data, pairs, at, start, stop, partition):
            return at
    return known


def _scan(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    names: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    version: int,
    numbers: NDArray[np.int64],
    texts: NDArray[np.int64],
    features: NDArray[np.int64],
    pairs: NDArray[np.int64],
    for_state: Any,
) -> int:
    """Fill in what ``n`` records hold; return from how many upstream partitions, or -1.

    -1 is returned where a record is not plain; then nothing that was filled in counts.

    data      (b,) uint8, the records and perhaps more
    starts    (n,) int64, where each begins
    ends      (n,) int64, where each ends
    names     the pipeline's first topic, and the version of features
    version   of the schema
    numbers   (VALUES + values, n) int64; written to
    texts     (2 + 2 entities, n) int64, where the id and each entity begins and ends; written to
    features  (n, k) int64, bits of float64; written to
    pairs     (PAIRS_MAX, 3) int64, start and end of a topic's name, and a partition; written to
    for_state whether features do not matter; then they are NaN
    """
    topic, features_version = names
    known, last = 0, 0
    for row in range(len(ends)):
        at, end = starts[row], ends[row]
        cell, at = _integer(data, _opened(data, at, end), end)
        if at < 0 or cell != version:
            return -1
        at = _number(data, at, end, numbers, KIND, row, (0, _KIND_MAX))
        start, stop, at = _text(data, _comma(data, at, end), end)
        at = _number(data, at, end, numbers, UPSTREAM_PARTITION, row, (-1, _PARTITION_MAX))
        at = _number(data, at, end, numbers, UPSTREAM_OFFSET, row, (-1, _OFFSET_MAX))
        if at < 0:
            return -1
        kind, partition = numbers[KIND, row], numbers[UPSTREAM_PARTITION, row]
        last = _pair(data, pairs, known, last, start, stop, partition)
        if last == known:
            if known == len(pairs):
                return -1
            pairs[known, 0], pairs[known, 1], pairs[known, 2] = start, stop, partition
            known += 1
        numbers[UPSTREAM, row] = last
        must_name = kind == 0 and not _is(data, start, stop, topic)
        at = _source(data, _comma(data, at, end), end, topic, must_name)
        at = _number(data, at, end, numbers, SOURCE_PARTITION, row, (-1, _PARTITION_MAX))
        at = _number(data, at, end, numbers, SOURCE_OFFSET, row, (-1, _OFFSET_MAX))
        at = _number(data, at, end, numbers, EVENT_TIME, row, (TIME_MS_MIN, TIME_MS_MAX))
        texts[0, row], texts[1, row], at = _text(data, _comma(data, at, end), end)
        at = _texts(data, _comma(data, at, end), end, texts, row, texts.shape[0] // 2 - 1)
        at = _values(data, _comma(data, at, end), end, numbers, row)
        at = _features(data, _comma(data, at, end), end, features, row, kind, not for_state)
        at = _late(data, _comma(data, at, end), end, numbers, row)
        at = _number(data, at, end, numbers, DUPLICATE_OF, row, (-1, _POSITION_MAX))
        at = _number(data, at, end, numbers, LABEL, row, (-1, 1))
        at = _number(data, at, end, numbers, LABEL_TIME, row, (TIME_MS_MIN, TIME_MS_MAX))
        start, stop, at = _text(data, _comma(data, at, end), end)
        if at < 0 or not _is(data, start, stop, features_version):
            return -1
        at = _closed(data, _word(data, _comma(data, at, end), end, _NULL), end)
        if at != end:
            return -1
    return known


scan = one_form(kept(_scan, _SOURCES, OPTIONS))
