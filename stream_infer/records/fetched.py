"""What a fetch brought of one partition: from its bytes to a run of records.

Source: Kafka's documentation, "Implementation", "Record Batch" (message format version 2, KIP-98);
which batches a reader of committed records passes over, KIP-98 "Consumer changes": those of a
producer whose transaction was aborted, from its first offset on up to the marker that ends it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.records.among import ValuesAmong
from stream_infer.records.kernels import (
    HEADER_COUNT,
    HEADERS,
    KEY,
    KEY_END,
    OFFSET,
    PLACE_ROWS,
    SECTION_COLUMNS,
    TIMESTAMP,
    VALUE,
    VALUE_END,
    find_headers,
    find_records,
)
from stream_infer.records.run import Record, RecordRun

MAGIC = 2
_HEAD = struct.Struct(">qiibIhiqqqhii")
_LENGTH_FROM = 12
"""A batch's length counts what stands behind base offset and length."""
_LENGTH_MIN = _HEAD.size - _LENGTH_FROM
_MAGIC_AT = 16
_CRC_FROM = 21
"""The checksum is over what stands behind it."""
_COMPRESSION, _APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20
_RECORD_BYTES_MIN = 7
"""Each of a record's seven parts takes a byte or more."""
_ABORT = b"\x00\x00"
"""Type of the marker of an abort, in its key behind two bytes of version."""

Section = tuple["Batch", int, int]
"""A batch, and where its records begin and end among bytes."""

Decompress = Callable[[int, memoryview], bytes]
"""From a kind of compression, 1 to 4, and compressed records to records; raises ValueError."""


class CorruptError(ValueError):
    """Bytes that are no record batch, or not the one that was written."""


class Found(NamedTuple):
    """What a fetch brought.

    run   the records that count
    next  the offset to fetch next
    """

    run: RecordRun
    next: int


class Batch(NamedTuple):
    """The head of a record batch, and where its records stand."""

    base_offset: int
    next_offset: int
    attributes: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    records: int
    start: int
    end: int


def is_readable(data: bytes) -> bool:
    """Whether all batches, of which the last may be cut off, are of the format that is read here.

    A broker converts nothing: topics from before Kafka 0.11 may hold older ones.
    """
    at = 0
    while at + _MAGIC_AT < len(data):
        if data[at + _MAGIC_AT] != MAGIC:
            return False
        length = int.from_bytes(data[at + 8 : at + _LENGTH_FROM], "big", signed=True)
        if length < _LENGTH_MIN:
            return True  # It is refused by name, see `batches_of`.
        at += _LENGTH_FROM + length
    return True


def batches_of(data: bytes, checksum: Callable[[memoryview], int] | None) -> list[Batch]:
    """Return the whole batches among the bytes, in order.

    checksum  CRC-32C, None to believe the bytes
    Raises    CorruptError
    """
    view = memoryview(data)
    found: list[Batch] = []
    at, size = 0, len(data)
    while at + _HEAD.size <= size:
        (
            base_offset,
            length,
            _,
            _,
            crc,
            attributes,
            last_delta,
            base_timestamp,
            max_timestamp,
            producer_id,
            _,
            _,
            records,
        ) = _HEAD.unpack_from(data, at)
        end = at + _LENGTH_FROM + length
        if end > size:
            break  # Cut off: it is fetched again.
        if length < _LENGTH_MIN or records < 0:
            raise CorruptError(f"the batch at offset {base_offset} has an impossible length")
        if checksum is not None and checksum(view[at + _CRC_FROM : end]) != crc:
            raise CorruptError(f"the checksum of the batch at offset {base_offset} is wrong")
        found.append(
            Batch(
                base_offset,
                base_offset + last_delta + 1,
                attributes,
                base_timestamp,
                max_timestamp,
                producer_id,
                records,
                at + _HEAD.size,
                end,
            )
        )
        at = end
    return found


def committed_of(
    batches: Iterable[Batch], data: bytes, aborted: Iterable[tuple[int, int]]
) -> list[Batch]:
    """Return the batches that a reader of committed records sees; markers are none.

    aborted  producer and first offset of each aborted transaction, as the broker tells them
    """
    waiting = sorted(aborted, key=lambda each: each[1], reverse=True)
    dropped: set[int] = set()
    seen: list[Batch] = []
    for batch in batches:
        if batch.producer_id >= 0:
            while waiting and waiting[-1][1] <= batch.base_offset:
                dropped.add(waiting.pop()[0])
            if batch.attributes & _CONTROL:
                if batch.producer_id in dropped and _is_abort(batch, data):
                    dropped.discard(batch.producer_id)
                continue
            if batch.attributes & _TRANSACTIONAL and batch.producer_id in dropped:
                continue
        elif batch.attributes & _CONTROL:
            continue
        seen.append(batch)
    return seen


def read_fetched(
    data: bytes,
    fetch_offset: int,
    aborted: Iterable[tuple[int, int]] | None,
    decompress: Decompress,
    checksum: Callable[[memoryview], int] | None,
) -> Found:
    """Return the records among the bytes of a fetch, from the offset that was asked for on.

    aborted   as `committed_of` takes it; None for who reads what is not committed, too
    Raises    CorruptError
    Cost      about a fifth of a microsecond a record and as much for its value, with the GIL
              released for the first; some 15 us a fetch
    """
    batches = batches_of(data, checksum)
    following = batches[-1].next_offset if batches else fetch_offset
    if aborted is None:
        seen = [batch for batch in batches if not batch.attributes & _CONTROL]
    else:
        seen = committed_of(batches, data, aborted)
    data, sections = _sections(data, seen, decompress)
    run = _run(data, _places(data, sections), is_append_time=any(_appended(b) for b in seen))
    if seen and seen[0].base_offset < fetch_offset:
        run = run.since(fetch_offset)
    return Found(run, max(following, fetch_offset))


def _is_abort(batch: Batch, data: bytes) -> bool:
    key, end = _places(data, [(batch, batch.start, batch.end)]).places[[KEY, KEY_END], 0].tolist()
    return data[key:end][2:4] == _ABORT


def _sections(
    data: bytes, batches: Sequence[Batch], decompress: Decompress
) -> tuple[bytes, list[Section]]:
    """Return bytes that hold all records uncompressed, and where in them each batch's are."""
    if not any(batch.attributes & _COMPRESSION for batch in batches):
        return data, [(batch, batch.start, batch.end) for batch in batches]
    view, parts, at = memoryview(data), [], 0
    sections: list[Section] = []
    for batch in batches:
        part: bytes | memoryview = view[batch.start : batch.end]
        if kind := batch.attributes & _COMPRESSION:
            try:
                part = decompress(kind, view[batch.start : batch.end])
            except ValueError as error:
                raise CorruptError(f"the batch at offset {batch.base_offset}: {error}") from error
        parts.append(part)
        sections.append((batch, at, at + len(part)))
        at += len(part)
    return b"".join(parts), sections


class _Placed(NamedTuple):
    """Where records stand: (PLACE_ROWS, n) int64; how many headers they have."""

    places: NDArray[np.int64]
    headers: int


def _appended(batch: Batch) -> int:
    return batch.attributes & _APPEND_TIME


def _places(data: bytes, sections: Sequence[Section]) -> _Placed:
    for batch, start, end in sections:
        if batch.records * _RECORD_BYTES_MIN > end - start:
            raise _other_count(batch)
    rows = [
        (
            start,
            end,
            batch.base_offset,
            batch.base_timestamp,
            batch.records,
            batch.max_timestamp if _appended(batch) else -1,
        )
        for batch, start, end in sections
    ]
    table = np.array(rows, np.int64).reshape(len(rows), SECTION_COLUMNS)
    # A row of it lies in one piece, as compiled code behind it expects of columns.
    places = np.empty((PLACE_ROWS, sum(batch.records for batch, _, _ in sections)), np.int64)
    good, headers = find_records(np.frombuffer(data, np.uint8), table, places)
    if good < len(sections):
        raise _other_count(sections[good][0])
    return _Placed(places, headers)


def _other_count(batch: Batch) -> CorruptError:
    return CorruptError(
        f"the batch at offset {batch.base_offset} does not hold {batch.records} records"
    )


def _run(data: bytes, placed: _Placed, *, is_append_time: bool) -> RecordRun:
    places = placed.places
    return RecordRun(
        places[OFFSET],
        places[TIMESTAMP],
        ValuesAmong(data, places[VALUE], places[VALUE_END]),
        _Bytes(data, places, int(is_append_time)),
        range(places.shape[1]),
        has_headers=placed.headers > 0,
    )


class _Bytes:
    """Records that are made from the bytes of a fetch when they are asked for."""

    def __init__(self, data: bytes, places: NDArray[np.int64], timestamp_type: int) -> None:
        self._data = data
        self._places = places
        self._timestamp_type = timestamp_type

    def __getitem__(self, row: int) -> Record:
        place = self._places[:, row].tolist()
        return Record(
            place[OFFSET],
            place[TIMESTAMP],
            self._timestamp_type,
            self._cut(place[KEY], place[KEY_END]),
            self._cut(place[VALUE], place[VALUE_END]),
            self._headers(place[HEADERS], place[HEADER_COUNT]),
        )

    def headers_named(self, name: str, rows: Sequence[int]) -> Iterable[bytes | None]:
        if isinstance(rows, range) and rows.step == 1:
            places = self._places[HEADERS:, rows.start : rows.stop]
        else:
            places = self._places[HEADERS:, list(rows)]
        places = np.ascontiguousarray(places)
        found = np.empty((places.shape[1], 2), np.int64)
        wanted = np.frombuffer(name.encode(), np.uint8)
        find_headers(np.frombuffer(self._data, np.uint8), places, wanted, found)
        return (self._cut(start, end) for start, end in found.tolist())

    def _cut(self, start: int, end: int) -> bytes | None:
        return None if end < 0 else self._data[start:end]

    def _headers(self, at: int, count: int) -> tuple[tuple[str, bytes | None], ...]:
        headers = []
        for _ in range(count):
            size, at = self._varint(at)
            name = self._data[at : at + size].decode()
            size, at = self._varint(at + size)
            headers.append((name, self._cut(at, at + size if size >= 0 else -1)))
            at += max(size, 0)
        return tuple(headers)

    def _varint(self, at: int) -> tuple[int, int]:
        raw = shift = 0
        while True:
            byte = self._data[at]
            at += 1
            raw |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (raw >> 1) ^ -(raw & 1), at
            shift += 7
