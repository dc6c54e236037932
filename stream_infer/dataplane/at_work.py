"""What each stage is working on right now, where it outlives the process.

A record that makes native code crash (a model, a compiled step) ends the whole process, and
nobody is left to say which record it was. So a worker that has a supervisor notes, before each
call of a stage, which offsets go into it, in a small file that is mapped into memory: what
stands there stays when the process ends, whatever ended it, and costs no system call. The
supervisor reads it after a crash.

    file   magic, 8 bytes, then `SLOTS` slots of `_SLOT_BYTES`
    slot   stage and topic, each u16 length and text; at `_NOTES_AT` u32 count of ranges,
           then so many of (i32 partition, i64 first offset, i64 last offset); little endian

A stage has one slot, because it works on one call at a time. The count is written last when a
call begins, and set to 0 when it ends. Standard library only: the supervisor stays small.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

SLOTS = 64
RANGES_MAX = 128
"""Of one call; those of further partitions are not noted. Few workers own so many of one topic."""

_MAGIC = b"siwork01"
_NAME_BYTES_MAX = 254
_NOTES_AT = 2 * (2 + _NAME_BYTES_MAX)
_COUNT = struct.Struct("<I")
_RANGE = struct.Struct("<iqq")
_LENGTH = struct.Struct("<H")
_SLOT_BYTES = _NOTES_AT + _COUNT.size + RANGES_MAX * _RANGE.size
FILE_BYTES = len(_MAGIC) + SLOTS * _SLOT_BYTES

Offsets = tuple[int, int, int]
"""Partition, first offset and last offset, both ends included."""


class Span(NamedTuple):
    """Offsets ``first..last`` of a partition, in work in a stage."""

    stage: str
    topic: str
    partition: int
    first: int
    last: int


class WorkSlot:
    """Where one stage notes its work; this one notes nothing, as in a worker without supervisor.

    slot.begin([(partition, first, last), ...])
    try:
        work()
    finally:
        slot.end()
    """

    def begin(self, ranges: Sequence[Offsets]) -> None:
        """Note the ranges that the next call works on, `RANGES_MAX` at most."""

    def end(self) -> None:
        """Note that the call has ended."""


class _MappedSlot(WorkSlot):
    """A slot in the file; about 1 µs for `begin` and `end` together."""

    __slots__ = ("_at", "_map")

    def __init__(self, mapped: mmap.mmap, at: int) -> None:
        self._map = mapped
        self._at = at + _NOTES_AT

    def begin(self, ranges: Sequence[Offsets]) -> None:
        count = min(len(ranges), RANGES_MAX)
        at = self._at + _COUNT.size
        for index in range(count):
            _RANGE.pack_into(self._map, at, *ranges[index])
            at += _RANGE.size
        _COUNT.pack_into(self._map, self._at, count)

    def end(self) -> None:
        _COUNT.pack_into(self._map, self._at, 0)


class AtWork:
    """The record of one process, which alone writes it.

    path  a file that `create` has made
    """

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), FILE_BYTES)
        self._slots: dict[tuple[str, str], WorkSlot] = {}

    def slot(self, stage: str, topic: str) -> WorkSlot:
        """Return the stage's slot, the same one each time."""
        found = self._slots.get((stage, topic))
        if found is not None:
            return found
        index = len(self._slots)
        if index >= SLOTS:
            return WorkSlot()
        at = len(_MAGIC) + index * _SLOT_BYTES
        for name, place in ((stage, at), (topic, at + 2 + _NAME_BYTES_MAX)):
            text = name.encode()[:_NAME_BYTES_MAX]
            _LENGTH.pack_into(self._map, place, len(text))
            self._map[place + 2 : place + 2 + len(text)] = text
        made = self._slots[stage, topic] = _MappedSlot(self._map, at)
        return made


def create(path: Path) -> None:
    """Make an empty record, in place of any that is there."""
    path.unlink(missing_ok=True)  # another process may still have the old one mapped
    with path.open("xb") as file:
        file.write(_MAGIC)
        file.truncate(FILE_BYTES)


def read_spans(path: Path) -> list[Span]:
    """Return what was in work when the process ended; nothing where there is no record."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    if len(data) != FILE_BYTES or not data.startswith(_MAGIC):
        return []
    starts = range(len(_MAGIC), FILE_BYTES, _SLOT_BYTES)
    return [span for at in starts for span in _read_slot(data, at)]


def _read_slot(data: bytes, at: int) -> Iterable[Span]:
    [count] = _COUNT.unpack_from(data, at + _NOTES_AT)
    stage, topic = _read_name(data, at), _read_name(data, at + 2 + _NAME_BYTES_MAX)
    first = at + _NOTES_AT + _COUNT.size
    for index in range(min(count, RANGES_MAX)):
        yield Span(stage, topic, *_RANGE.unpack_from(data, first + index * _RANGE.size))


def _read_name(data: bytes, at: int) -> str:
    [length] = _LENGTH.unpack_from(data, at)
    return data[at + 2 : at + 2 + length].decode(errors="replace")


_record: list[AtWork] = []
"""This process's record: none, or one. A crash is the process's, and so is what tells of it."""


def note_into(path: Path) -> None:
    """From now on note this process's work in a file that `create` has made."""
    _record[:] = [AtWork(path)]


def slot_of(stage: str, topic: str) -> WorkSlot:
    """Return where a stage of this process notes its work; it notes nothing unless told where."""
    return _record[0].slot(stage, topic) if _record else WorkSlot()
