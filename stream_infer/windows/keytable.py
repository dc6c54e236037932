"""The table in which keys find their slots, and the kernels that read and write it.

    table  (m,) int32, m a power of two: the slots, each at the first free place behind the one
           that its hash names; NOBODY where there is none
    keys   (slots, 2) int64: hash; where the text starts, above LENGTH_BITS of how long it is.
           Of a slot that is free: the next free slot, and FREE
    text   UTF-8 of the keys, one behind the other

Source  Knuth, The Art of Computer Programming, volume 3, section 6.4, algorithms L and R
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.windows.compiled import kernel, part
from stream_infer.windows.hashing import OFFSET, finish, is_cut, step
from stream_infer.windows.state import Int64

LENGTH_BITS = 28
LENGTH_MAX = (1 << LENGTH_BITS) - 1
FREE = -1
NOBODY = -1

# Registers.
USED = 0
"""Slots that were ever given out."""
HELD = 1
"""Keys that have one."""
GIVEN_BACK = 2
"""The free slot that is given out next, or -1."""
TEXT = 3
"""Bytes of text that were written."""
DEAD = 4
"""Bytes of those whose key was dropped."""
AT = 5
"""Where the key begins that waits for memory."""
LENGTH = 6
"""How long it is."""


class KeyTable(NamedTuple):
    """Keys and their slots; see the module. Registers are the numbers above."""

    registers: NDArray[np.int64]
    table: NDArray[np.int32]
    keys: NDArray[np.int64]
    text: NDArray[np.uint8]


@part
def _is_same(held: KeyTable, slot: Int64, data: np.ndarray, at: Int64, length: Int64) -> bool:
    """Tell whether a slot's key is a text; their hashes are the same."""
    where = held.keys[slot, 1]
    if where & LENGTH_MAX != length:
        return False
    start = where >> LENGTH_BITS
    same = 0
    while same < length and held.text[start + same] == data[at + same]:
        same += 1
    return bool(same == length)


@part
def _place(held: KeyTable, h: Int64, data: np.ndarray, at: Int64, length: Int64) -> Int64:
    """Return the place of the table where a key is, or where it would be."""
    mask = held.table.shape[0] - 1
    place = h & mask
    while True:
        slot = held.table[place]
        if slot == NOBODY:
            return place
        if held.keys[slot, 0] == h and _is_same(held, slot, data, at, length):
            return place
        place = (place + 1) & mask


@part
def _has_room(held: KeyTable, length: Int64) -> bool:
    """Tell whether there is room for one more key."""
    registers = held.registers
    has_slot = registers[GIVEN_BACK] != NOBODY or registers[USED] < held.keys.shape[0]
    has_text = registers[TEXT] + length <= held.text.shape[0]
    return bool(has_slot and has_text and 4 * (registers[HELD] + 1) <= 3 * held.table.shape[0])


@part
def _add(held: KeyTable, h: Int64, data: np.ndarray, at: Int64, length: Int64) -> Int64:
    """Return the slot that a new key gets."""
    registers = held.registers
    slot = registers[GIVEN_BACK]
    if slot == NOBODY:
        slot = registers[USED]
        registers[USED] += 1
    else:
        registers[GIVEN_BACK] = held.keys[slot, 0]
    start = registers[TEXT]
    for k in range(length):
        held.text[start + k] = data[at + k]
    held.keys[slot, 0], held.keys[slot, 1] = h, (start << LENGTH_BITS) | length
    registers[TEXT] += length
    registers[HELD] += 1
    return slot


@kernel
def find_keys(
    held: KeyTable, data: np.ndarray, between: Int64, out: np.ndarray, first: Int64, at: Int64
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
        if held.table[place] == NOBODY:
            if not _has_room(held, length):
                held.registers[AT], held.registers[LENGTH] = at, length
                return i
            held.table[place] = _add(held, identity, data, at, length)
        out[i] = held.table[place]
        at = end + 1
    return out.shape[0]


@kernel
def fill_table(held: KeyTable) -> None:
    """Enter all keys into a table that is empty."""
    mask = held.table.shape[0] - 1
    for slot in range(held.registers[USED]):
        if held.keys[slot, 1] != FREE:
            place = held.keys[slot, 0] & mask
            while held.table[place] != NOBODY:
                place = (place + 1) & mask
            held.table[place] = slot


@part
def _leave(held: KeyTable, slot: Int64) -> None:
    """Take a slot out of the table, and move those behind it that would not be found any more."""
    mask = held.table.shape[0] - 1
    hole = held.keys[slot, 0] & mask
    while held.table[hole] != slot:
        hole = (hole + 1) & mask
    place = (hole + 1) & mask
    while held.table[place] != NOBODY:
        home = held.keys[held.table[place], 0] & mask
        if (place - home) & mask >= (place - hole) & mask:
            held.table[hole] = held.table[place]
            hole = place
        place = (place + 1) & mask
    held.table[hole] = NOBODY


@kernel
def drop_keys(held: KeyTable, slots: np.ndarray) -> None:
    """Forget the keys of slots; a slot without a key stays as it is."""
    registers = held.registers
    for i in range(slots.shape[0]):
        slot = slots[i]
        if held.keys[slot, 1] == FREE:
            continue
        _leave(held, slot)
        registers[HELD] -= 1
        registers[DEAD] += held.keys[slot, 1] & LENGTH_MAX
        held.keys[slot, 0], held.keys[slot, 1] = registers[GIVEN_BACK], FREE
        registers[GIVEN_BACK] = slot


@kernel
def copy_text(held: KeyTable, slots: np.ndarray, out: np.ndarray, ends: np.ndarray) -> None:
    """Write the texts of slots one behind the other; those of free slots are empty.

    ends  (slots,) int64, written: where each ends
    """
    to = 0
    for i in range(slots.shape[0]):
        where = held.keys[slots[i], 1]
        length = where & LENGTH_MAX if where != FREE else 0
        for k in range(length):
            out[to + k] = held.text[(where >> LENGTH_BITS) + k]
        to += length
        ends[i] = to
