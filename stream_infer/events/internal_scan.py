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
from stream_infer.events.numbers import OPTIONS, part
from stream_infer.events.times import TIME_MS_MAX, TIME_MS_MIN
from stream_infer.events.tokens import (
    NAN_BITS,
    SIGN_BIT,
    closed,
    comma,
    float_bits,
    integer,
    is_text,
    opened,
    text,
    word,
)

_SOURCES = digest_sources(Path(__file__).parent)

KIND, UPSTREAM, UPSTREAM_PARTITION, UPSTREAM_OFFSET, SOURCE_PARTITION, SOURCE_OFFSET = range(6)
EVENT_TIME, LATE, DUPLICATE_OF, LABEL, LABEL_TIME, VALUES = range(6, 12)
"""Rows of the numbers that are found; of the values each has one, from VALUES on."""

PAIRS_MAX = 1024
"""Upstream partitions that one run may come from."""

_INF_BITS = int(np.array([np.inf]).view(np.int64)[0])

_PARTITION_MAX, _OFFSET_MAX = 2**15 - 1, 2**48 - 1
_POSITION_MAX = 2**63 - 1
_KIND_MAX = 2
"""Of ticks, behind events and labels; the changes of lists are not plain."""

_QUOTE = ord('"')
_NULL, _TRUE, _FALSE, _INF, _MINUS_INF = (
    np.frombuffer(word, np.uint8) for word in (b"null", b"true", b"false", b"inf", b"-inf")
)


@part
def _number(
    data: Any, at: int, end: int, numbers: Any, where: int, row: int, bounds: tuple[int, int]
) -> int:
    """Fill in the whole number behind a comma; return where it ends, or -1."""
    value, at = integer(data, comma(data, at, end), end)
    if at < 0 or value < bounds[0] or value > bounds[1]:
        return -1
    numbers[where, row] = value
    return at


@part
def _feature_bits(data: Any, at: int, end: int, is_wanted: Any) -> Any:
    """Return the bits of a feature and where its text ends, or -1."""
    if at < 0 or at >= end:
        return np.int64(0), -1
    if data[at] == _NULL[0]:
        return np.int64(NAN_BITS), word(data, at, end, _NULL)
    if data[at] != _QUOTE:
        return float_bits(data, at, end, is_wanted)
    start, stop, at = text(data, at, end)
    if at >= 0 and is_text(data, start, stop, _INF):
        return np.int64(_INF_BITS), at
    if at >= 0 and is_text(data, start, stop, _MINUS_INF):
        return np.int64(_INF_BITS) | SIGN_BIT, at
    return np.int64(0), -1


@part
def _texts(data: Any, at: int, end: int, texts: Any, row: int, count: int) -> int:
    """Fill in so many texts between brackets; return what comes behind them, or -1."""
    at = opened(data, at, end)
    for i in range(count):
        start, stop, at = text(data, at if i == 0 else comma(data, at, end), end)
        texts[2 + 2 * i, row], texts[3 + 2 * i, row] = start, stop
    return closed(data, at, end)


@part
def _values(data: Any, at: int, end: int, numbers: Any, row: int) -> int:
    """Fill in the values between brackets; return what comes behind them, or -1."""
    at = opened(data, at, end)
    for i in range(VALUES, numbers.shape[0]):
        value, at = integer(data, at if i == VALUES else comma(data, at, end), end)
        if at < 0 or value < -UNITS_MAX or value > UNITS_MAX:
            return -1
        numbers[i, row] = value
    return closed(data, at, end)


@part
def _features(
    data: Any, at: int, end: int, features: Any, row: int, kind: int, are_wanted: Any
) -> int:
    """Fill in the features between brackets; return what comes behind them, or -1.

    What is no event may have none.
    """
    at = opened(data, at, end)
    count = features.shape[1]
    if kind != 0 and count > 0 and closed(data, at, end) >= 0:
        for i in range(count):
            features[row, i] = NAN_BITS
        return closed(data, at, end)
    for i in range(count):
        at = at if i == 0 else comma(data, at, end)
        bits, at = _feature_bits(data, at, end, are_wanted)
        features[row, i] = bits if are_wanted else NAN_BITS
    return closed(data, at, end)


@part
def _source(data: Any, at: int, end: int, topic: Any, must_name: Any) -> int:
    """Return where the source's topic ends, which is the pipeline's or null, or -1.

    must_name  whether it may not be null
    """
    if 0 <= at < end and data[at] == _NULL[0]:
        return -1 if must_name else word(data, at, end, _NULL)
    start, stop, at = text(data, at, end)
    return at if at >= 0 and is_text(data, start, stop, topic) else -1


@part
def _late(data: Any, at: int, end: int, numbers: Any, row: int) -> int:
    """Fill in whether a record is late; return where that ends, or -1."""
    stop = word(data, at, end, _TRUE)
    numbers[LATE, row] = stop >= 0
    return stop if stop >= 0 else word(data, at, end, _FALSE)


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
        cell, at = integer(data, opened(data, at, end), end)
        if at < 0 or cell != version:
            return -1
        at = _number(data, at, end, numbers, KIND, row, (0, _KIND_MAX))
        start, stop, at = text(data, comma(data, at, end), end)
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
        must_name = kind == 0 and not is_text(data, start, stop, topic)
        at = _source(data, comma(data, at, end), end, topic, must_name)
        at = _number(data, at, end, numbers, SOURCE_PARTITION, row, (-1, _PARTITION_MAX))
        at = _number(data, at, end, numbers, SOURCE_OFFSET, row, (-1, _OFFSET_MAX))
        at = _number(data, at, end, numbers, EVENT_TIME, row, (TIME_MS_MIN, TIME_MS_MAX))
        texts[0, row], texts[1, row], at = text(data, comma(data, at, end), end)
        at = _texts(data, comma(data, at, end), end, texts, row, texts.shape[0] // 2 - 1)
        at = _values(data, comma(data, at, end), end, numbers, row)
        at = _features(data, comma(data, at, end), end, features, row, kind, not for_state)
        at = _late(data, comma(data, at, end), end, numbers, row)
        at = _number(data, at, end, numbers, DUPLICATE_OF, row, (-1, _POSITION_MAX))
        at = _number(data, at, end, numbers, LABEL, row, (-1, 1))
        at = _number(data, at, end, numbers, LABEL_TIME, row, (TIME_MS_MIN, TIME_MS_MAX))
        start, stop, at = text(data, comma(data, at, end), end)
        if at < 0 or not is_text(data, start, stop, features_version):
            return -1
        at = closed(data, word(data, comma(data, at, end), end, _NULL), end)
        if at != end:
            return -1
    return known


scan = one_form(kept(_scan, _SOURCES, OPTIONS))
