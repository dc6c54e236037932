"""Keys as small whole numbers: the row of `slots` that a key's state lies in.

A dict of a million keys takes 180 bytes a key beside its text, which takes 49 more than its
letters: as much as the windows of a customer who pays twice a week. Here a key takes 16 bytes,
its text, and some 8 of a table that is searched by its hash.

    table  (m,) int32, m a power of two: the slots, each at the first free place behind the one
           that its hash names; -1 where there is none
    keys   (slots, 2) int64: hash; where the text starts, above LENGTH_BITS of how long it is.
           Of a slot that is free: the next free slot, and FREE
    text   UTF-8 of the keys, one behind the other

Source  Knuth, The Art of Computer Programming, volume 3, section 6.4, algorithms L and R
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import StateBudgetError
from stream_infer.windows.compiled import kernel, one_form, part
from stream_infer.windows.hashing import OFFSET, finish, is_cut, joined, step
from stream_infer.windows.state import Int64

LENGTH_BITS = 28
_LENGTH_MAX = (1 << LENGTH_BITS) - 1
_TEXT_MAX = 1 << (62 - LENGTH_BITS)
_FREE = -1
_NONE = -1

# Registers.
_USED = 0
"""Slots that were ever given out."""
_HELD = 1
"""Keys that have one."""
_GIVEN_BACK = 2
"""The free slot that is given out next, or -1."""
_TEXT = 3
"""Bytes of text that were written."""
_DEAD = 4
"""Bytes of those whose key was dropped."""
_AT = 5
"""Where the key begins that waits for memory."""
_LENGTH = 6
"""How long it is."""

_GROWTH = 1.0625
_SLOTS_FIRST = 64
_TEXT_FIRST = 1024
_TABLE_FIRST = 128


class _Keys(NamedTuple):
    registers: NDArray[np.int64]
    table: NDArray[np.int32]
    keys: NDArray[np.int64]
    text: NDArray[np.uint8]


@part
def _is_same(held: _Keys, slot: Int64, data: np.ndarray, at: Int64, length: Int64) -> bool:
    """Tell whether a slot's key is a text; their hashes are the same."""
    where = held.keys[slot, 1]
    if where & _LENGTH_MAX != length:
        return False
    start = where >> LENGTH_BITS
    same = 0
    while same < length and held.text[start + same] == data[at + same]:
        same += 1
    return bool(same == length)


@part
def _place(held: _Keys, h: Int64, data: np.ndarray, at: Int64, length: Int64) -> Int64:
    """Return the place of the table where a key is, or where it would be."""
    mask = held.table.shape[0] - 1
    place = h & mask
    while True:
        slot = held.table[place]
        if slot == _NONE:
            return place
        if held.keys[slot, 0] == h and _is_same(held, slot, data, at, length):
            return place
        place = (place + 1) & mask


@part
def _has_room(held: _Keys, length: Int64) -> bool:
    """Tell whether there is room for one more key."""
    registers = held.registers
    has_slot = registers[_GIVEN_BACK] != _NONE or registers[_USED] < held.keys.shape[0]
    has_text = registers[_TEXT] + length <= held.text.shape[0]
    return bool(has_slot and has_text and 4 * (registers[_HELD] + 1) <= 3 * held.table.shape[0])


@part
def _add(held: _Keys, h: Int64, data: np.ndarray, at: Int64, length: Int64) -> Int64:
    """Return the slot that a new key gets."""
    registers = held.registers
    slot = registers[_GIVEN_BACK]
    if slot == _NONE:
        slot = registers[_USED]
        registers[_USED] += 1
    else:
        registers[_GIVEN_BACK] = held.keys[slot, 0]
    start = registers[_TEXT]
    for k in range(length):
        held.text[start + k] = data[at + k]
    held.keys[slot, 0], held.keys[slot, 1] = h, (start << LENGTH_BITS) | length
    registers[_TEXT] += length
    registers[_HELD] += 1
    return slot


@kernel
def _look_up(
    held: _Keys, data: np.ndarray, between: Int64, out: np.ndarray, first: Int64, at: Int64
) -> Int64:
    """Write the slots of joined keys from `first` on, which begins at `at`; new ones get one.

    Returns how many are done: fewer than all where one waits for memory, -1 where the keys cannot
    be told apart.
    """
    if first == 0 and not is_cut(data, between, out.shape[0]):
        return -1
    for i in range(first, out.shape[0]):
        h, end = OFFSET, at
        while end < data.shape[0] and data[end] != between:
            h = step(h, data[end])
            end += 1
        identity, length = finish(h), end - at
        place = _place(held, identity, data, at, length)
        if held.table[place] == _NONE:
            if not _has_room(held, length):
                held.registers[_AT], held.registers[_LENGTH] = at, length
                return i
            held.table[place] = _add(held, identity, data, at, length)
        out[i] = held.table[place]
        at = end + 1
    return out.shape[0]


@kernel
def _fill_table(held: _Keys) -> None:
    """Enter all keys into a table that is empty."""
    mask = held.table.shape[0] - 1
    for slot in range(held.registers[_USED]):
        if held.keys[slot, 1] != _FREE:
            place = held.keys[slot, 0] & mask
            while held.table[place] != _NONE:
                place = (place + 1) & mask
            held.table[place] = slot


@part
def _leave(held: _Keys, slot: Int64) -> None:
    """Take a slot out of the table, and move those behind it that would not be found any more."""
    mask = held.table.shape[0] - 1
    hole = held.keys[slot, 0] & mask
    while held.table[hole] != slot:
        hole = (hole + 1) & mask
    place = (hole + 1) & mask
    while held.table[place] != _NONE:
        home = held.keys[held.table[place], 0] & mask
        if (place - home) & mask >= (place - hole) & mask:
            held.table[hole] = held.table[place]
            hole = place
        place = (place + 1) & mask
    held.table[hole] = _NONE


@kernel
def _drop(held: _Keys, slots: np.ndarray) -> None:
    """Forget the keys of slots; a slot without a key stays as it is."""
    registers = held.registers
    for i in range(slots.shape[0]):
        slot = slots[i]
        if held.keys[slot, 1] == _FREE:
            continue
        _leave(held, slot)
        registers[_HELD] -= 1
        registers[_DEAD] += held.keys[slot, 1] & _LENGTH_MAX
        held.keys[slot, 0], held.keys[slot, 1] = registers[_GIVEN_BACK], _FREE
        registers[_GIVEN_BACK] = slot


@kernel
def _copy_text(held: _Keys, slots: np.ndarray, out: np.ndarray, ends: np.ndarray) -> None:
    """Write the texts of slots one behind the other; those of free slots are empty.

    ends  (slots,) int64, written: where each ends
    """
    to = 0
    for i in range(slots.shape[0]):
        where = held.keys[slots[i], 1]
        length = where & _LENGTH_MAX if where != _FREE else 0
        for k in range(length):
            out[to + k] = held.text[(where >> LENGTH_BITS) + k]
        to += length
        ends[i] = to


_look_up_all = one_form(_look_up)


class SlotMap:
    """Key -> slot; a key that is looked up for the first time gets one.

    Slots of keys that are dropped are given out again, the latest first.
    """

    def __init__(self) -> None:
        self._held = _Keys(
            registers=np.zeros(_LENGTH + 1, np.int64),
            table=np.full(_TABLE_FIRST, _NONE, np.int32),
            keys=np.zeros((_SLOTS_FIRST, 2), np.int64),
            text=np.zeros(_TEXT_FIRST, np.uint8),
        )
        self._held.registers[_GIVEN_BACK] = _NONE

    def __len__(self) -> int:
        """How many keys have a slot."""
        return int(self._held.registers[_HELD])

    @property
    def slots(self) -> int:
        """How many slots were ever given out."""
        return int(self._held.registers[_USED])

    @property
    def bytes(self) -> int:
        """Memory of the keys."""
        return sum(array.nbytes for array in self._held)

    def look_up(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """Return the slots of `keys`, (n,) int64."""
        out = np.empty(len(keys), np.int64)
        if not keys:
            return out
        data, between = joined(keys)
        done = _look_up_all(self._held, data, between, out, 0, 0)
        if done < 0:
            # A key holds the very byte that lies between them.
            half = len(keys) // 2
            out[:half], out[half:] = self.look_up(keys[:half]), self.look_up(keys[half:])
            return out
        while done < len(keys):
            self._make_room()
            at = int(self._held.registers[_AT])
            done = _look_up_all(self._held, data, between, out, done, at)
        return out

    def drop(self, slots: NDArray[np.int64]) -> None:
        """Forget the keys of these slots; a slot without a key stays as it is."""
        _drop(self._held, slots)
        if 2 * self._held.registers[_DEAD] > self._held.registers[_TEXT]:
            self._gather_text()

    def hashes(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the hashes of the keys of slots, as `hash_ids` has them, (n,) int64."""
        hashes: NDArray[np.int64] = self._held.keys[slots, 0]
        return hashes

    def names(self, slots: NDArray[np.int64]) -> list[str]:
        """Return the keys of slots, "" for a slot without one."""
        slots = np.ascontiguousarray(slots)
        where = self._held.keys[slots, 1]
        out = np.empty(int((where[where != _FREE] & _LENGTH_MAX).sum()), np.uint8)
        ends = np.empty(len(slots), np.int64)
        _copy_text(self._held, slots, out, ends)
        data, bounds = out.tobytes(), pairwise([0, *ends.tolist()])
        if data.isascii():
            text = data.decode("ascii")
            return [text[start:end] for start, end in bounds]
        return [data[start:end].decode("utf-8", "surrogatepass") for start, end in bounds]

    def _make_room(self) -> None:
        """Make room for one more key."""
        held, registers = self._held, self._held.registers
        length, text = int(registers[_LENGTH]), int(registers[_TEXT])
        if length > _LENGTH_MAX or text + length > _TEXT_MAX:
            raise StateBudgetError(
                "state_budget",
                f"A key of {length:,} bytes does not fit beside the {len(self):,} that are held.",
                "Use shorter keys or more partitions.",
                keys=len(self),
                bytes_held=text,
            )
        if registers[_USED] == len(held.keys) and registers[_GIVEN_BACK] == _NONE:
            held.keys.resize((_grown(len(held.keys), len(held.keys) + 1), 2), refcheck=False)
        if text + length > len(held.text):
            held.text.resize(_grown(len(held.text), text + length), refcheck=False)
        if 4 * (registers[_HELD] + 1) > 3 * len(held.table):
            self._held = held._replace(table=np.full(2 * len(held.table), _NONE, np.int32))
            _fill_table(self._held)

    def _gather_text(self) -> None:
        """Write the texts of the keys that are left anew, without gaps."""
        held, registers = self._held, self._held.registers
        kept = np.flatnonzero(held.keys[: registers[_USED], 1] != _FREE)
        used = int(registers[_TEXT] - registers[_DEAD])
        text, ends = np.zeros(max(_TEXT_FIRST, used), np.uint8), np.empty(len(kept), np.int64)
        _copy_text(held, kept, text, ends)
        lengths = held.keys[kept, 1] & _LENGTH_MAX
        held.keys[kept, 1] = ((ends - lengths) << LENGTH_BITS) | lengths
        registers[_TEXT], registers[_DEAD] = used, 0
        self._held = held._replace(text=text)


def _grown(held: int, wanted: int) -> int:
    return max(wanted, int(held * _GROWTH), held + _SLOTS_FIRST)
