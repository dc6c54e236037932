"""Finds records among the bytes of a fetch, and the partitions of keys, in machine code.

The form of a record is that of Kafka's message format, version 2 (Kafka documentation,
"Implementation", "Record"): length, attributes, timestamp delta, offset delta, key, value and
headers, the numbers as zigzag-encoded varints of up to 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from stream_infer.compiled import digest_sources, kept, one_form

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
_SOURCES = digest_sources(Path(__file__).parent)

OFFSET, TIMESTAMP, KEY, KEY_END, VALUE, VALUE_END, HEADERS, HEADER_COUNT = range(8)
"""Rows of places: a record's record's offset and timestamp, where its key and value begin and end
among the bytes, with -1 as the end of null, where its headers begin, and how many there are."""
PLACE_ROWS = 8

SECTION_COLUMNS = 6
"""Columns of a section: where its records begin and end among the bytes, what their offsets and
timestamps are added to, how many there are, and the timestamp of all of them or -1."""

_LONGEST_SHIFT = 63
_SEED, _M = np.uint64(0x9747B28C), np.uint64(0x5BD1E995)
"""Of murmur2, see `stream_infer.records.partitioner`."""
_WORD = np.uint64(0xFFFFFFFF)
"""Cuts to 32 bits; numba computes with 64, whatever the types."""
_BYTE, _THREE_BYTES = np.uint64(8), np.uint64(24)


def _part(function: FunctionT) -> FunctionT:
    compiled: FunctionT = numba.njit(forceinline=True, **_OPTIONS)(function)
    return compiled


@_part
def _varint(data: Any, at: int, end: int) -> Any:
    """Return a zigzag varint and where it ends; -1 as its end when it does not."""
    raw, shift = np.uint64(0), 0
    while at < end and shift <= _LONGEST_SHIFT:
        byte = np.uint64(data[at])
        at += 1
        raw |= (byte & np.uint64(0x7F)) << np.uint64(shift)
        if byte < np.uint64(0x80):
            value = np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1))
            return value, at
        shift += 7
    return np.int64(0), -1


@_part
def _bytes(data: Any, at: int, end: int) -> Any:
    """Return where bytes with their length in front begin and end, and what comes behind them.

    The end is -1 for null, and what comes behind is -1 for what is cut off.
    """
    length, start = _varint(data, at, end)
    if start < 0 or length > end - start:
        return np.int64(0), np.int64(-1), -1
    if length < 0:
        return np.int64(start), np.int64(-1), start
    return np.int64(start), np.int64(start + length), start + length


@_part
def _find_record(data: Any, at: int, end: int, places: Any, n: int) -> int:
    """Fill in place n, with deltas for offset and timestamp; return where the record ends, or -1.

    at, end  where the record begins, behind its length, and where it must end by
    """
    delta_ms, at = _varint(data, at + 1, end)  # behind its attributes
    if at < 0:
        return -1
    delta, at = _varint(data, at, end)
    if at < 0:
        return -1
    key, key_end, at = _bytes(data, at, end)
    if at < 0:
        return -1
    value, value_end, at = _bytes(data, at, end)
    if at < 0:
        return -1
    headers, at = _varint(data, at, end)
    if at < 0 or headers < 0:
        return -1
    places[0, n], places[1, n] = delta, delta_ms
    places[2, n], places[3, n] = key, key_end
    places[4, n], places[5, n] = value, value_end
    places[6, n], places[7, n] = at, headers
    return end


def _find_records(
    data: NDArray[np.uint8], sections: NDArray[np.int64], places: NDArray[np.int64]
) -> tuple[int, int]:
    """Fill in where each record of some sections stands.

    Returns (how many sections are in order, how many headers there are).

    data      (b,) uint8
    sections  (s, SECTION_COLUMNS) int64
    places    (PLACE_ROWS, n) int64, n the sum of the sections' records; written to
    """
    row = headers = 0
    for s in range(len(sections)):
        at, end = sections[s, 0], sections[s, 1]
        for _ in range(sections[s, 4]):
            length, at = _varint(data, at, end)
            if at < 0 or length < 1 or length > end - at:
                return s, headers
            at = _find_record(data, at, at + length, places, row)
            if at < 0:
                return s, headers
            places[0, row] += sections[s, 2]
            if sections[s, 5] < 0:
                places[1, row] += sections[s, 3]
            else:
                places[1, row] = sections[s, 5]
            headers += places[7, row]
            row += 1
        if at != end:
            return s, headers
    return len(sections), headers


def _find_headers(
    data: NDArray[np.uint8],
    places: NDArray[np.int64],
    name: NDArray[np.uint8],
    found: NDArray[np.int64],
) -> None:
    """Fill in where the value of each record's last header of a name begins and ends.

    data    (b,) uint8
    places  (2, n) int64, where each record's headers begin, and how many there are
    name    (k,) uint8
    found   (n, 2) int64, with -1 as the end where there is none or it is null; written to
    """
    end = len(data)
    for row in range(places.shape[1]):
        found[row, 0] = 0
        found[row, 1] = -1
        at = places[0, row]
        for _ in range(places[1, row]):
            key, key_end, at = _bytes(data, at, end)
            if at < 0:
                break
            value, value_end, at = _bytes(data, at, end)
            if at < 0:
                break
            same = key_end - key == len(name)
            for i in range(len(name)):
                if not same:
                    break
                same = data[key + i] == name[i]
            if same:
                found[row, 0] = value
                found[row, 1] = value_end


def _place_keys(
    data: NDArray[np.uint8],
    lengths: NDArray[np.int64],
    partitions: int,
    places: NDArray[np.int64],
) -> None:
    """Fill in the partition of each key, by murmur2 of its bytes.

    data     (b,) uint8, the keys, one behind the other
    lengths  (n,) int64, of each in bytes
    places   (n,) int64, written to
    """
    at = 0
    for i in range(len(lengths)):
        length = lengths[i]
        h = (_SEED ^ np.uint64(length)) & _WORD
        for k in range(at, at + (length & ~3), 4):
            word = np.uint64(0)
            for byte in range(3, -1, -1):
                word = (word << _BYTE) | np.uint64(data[k + byte])
            word = (word * _M) & _WORD
            word = ((word ^ (word >> _THREE_BYTES)) * _M) & _WORD
            h = ((h * _M) & _WORD) ^ word
        rest = length & 3
        if rest:
            word = np.uint64(0)
            for k in range(at + length - 1, at + length - rest - 1, -1):
                word = (word << _BYTE) | np.uint64(data[k])
            h = ((h ^ word) * _M) & _WORD
        h = ((h ^ (h >> np.uint64(13))) * _M) & _WORD
        h ^= h >> np.uint64(15)
        places[i] = np.int64(h & np.uint64(0x7FFFFFFF)) % partitions
        at += length


find_records = one_form(kept(_find_records, _SOURCES, _OPTIONS))
find_headers = one_form(kept(_find_headers, _SOURCES, _OPTIONS))
place_keys = one_form(kept(_place_keys, _SOURCES, _OPTIONS))
