"""Blocks of rows in the arena: an allocator in numba.

Free blocks are listed by size, eight classes to a power of two, and merge with the free blocks
beside them, so that keys which grow leave no holes that only small keys could use. What is left
of a larger block is free again. A block that is asked for has the size of a class exactly, so the
first one of its list always fits.

A free block is described in itself: `hashes` of its first rows hold the start of the next block
of the list, of the previous one, and its size, and that of its last row its size once more.
`tags` says for each four rows whether a free block starts (1) or ends (2) there.

With blocks of powers of two and halves of them, of which the rest is free for others, keys that
all have ten entries took 18 rows each: nobody needs the rests when keys are alike.

Source  Masmano, Ripoll, Crespo, Real (2004), TLSF: A New Dynamic Memory Allocator for Real-Time
        Systems, ECRTS 2004; Knuth, The Art of Computer Programming, volume 1, section 2.5, for
        the boundary tags
"""

from __future__ import annotations

from stream_infer.windows.compiled import part
from stream_infer.windows.state import BUMP, CLASSES, HEADS, LISTED, Int64, State

BLOCK_MIN = 4
"""Rows of the smallest block, and of one tag."""
_NIL = -1
_STARTS = 1
_ENDS = 2


@part
def _power(number: Int64) -> Int64:
    """Return the exponent of the largest power of two that is not above a number."""
    exponent = 0
    while number >> exponent > 1:
        exponent += 1
    return exponent


@part
def block_size(rows: Int64) -> Int64:
    """Return the size of the smallest block that holds so many rows: at most an eighth more."""
    fours = (rows + BLOCK_MIN - 1) // BLOCK_MIN
    if fours >= 8:
        step = 1 << (_power(fours) - 3)
        fours = (fours + step - 1) // step * step
    return fours * BLOCK_MIN


@part
def _class(size: Int64) -> Int64:
    """Return the largest class of blocks that are not larger than a size."""
    fours = size // BLOCK_MIN
    if fours < 8:
        return fours
    exponent = _power(fours)
    return (exponent - 2) * 8 + (fours >> (exponent - 3)) - 8


@part
def _link(state: State, start: Int64, size: Int64) -> None:
    """Put a free block at the front of its list."""
    c = _class(size)
    head = state.registers[HEADS + c]
    state.hashes[start], state.hashes[start + 1] = head, _NIL
    state.hashes[start + 2], state.hashes[start + size - 1] = size, size
    if head != _NIL:
        state.hashes[head + 1] = start
    state.registers[HEADS + c] = start
    state.registers[LISTED + (c >> 3)] |= 1 << (c & 7)
    state.tags[start // BLOCK_MIN] |= _STARTS
    state.tags[(start + size) // BLOCK_MIN - 1] |= _ENDS


@part
def _unlink(state: State, start: Int64) -> Int64:
    """Take a block out of its list; return its size."""
    after, before, size = state.hashes[start], state.hashes[start + 1], state.hashes[start + 2]
    if before != _NIL:
        state.hashes[before] = after
    else:
        c = _class(size)
        state.registers[HEADS + c] = after
        if after == _NIL:
            state.registers[LISTED + (c >> 3)] ^= 1 << (c & 7)
    if after != _NIL:
        state.hashes[after + 1] = before
    state.tags[start // BLOCK_MIN] ^= _STARTS
    state.tags[(start + size) // BLOCK_MIN - 1] ^= _ENDS
    return size


@part
def free_block(state: State, start: Int64, size: Int64) -> None:
    """Give a block back."""
    end = start + size
    if end < state.registers[BUMP] and state.tags[end // BLOCK_MIN] & _STARTS:
        size += _unlink(state, end)
    if start > 0 and state.tags[start // BLOCK_MIN - 1] & _ENDS:
        start -= state.hashes[start - 1]
        size += _unlink(state, start)
    if start + size == state.registers[BUMP]:
        state.registers[BUMP] = start
    else:
        _link(state, start, size)


@part
def _first_of(state: State, c: Int64) -> Int64:
    """Return the first free block of a class or of the next one that has any, or -1."""
    level = c >> 3
    listed = state.registers[LISTED + level] >> (c & 7) << (c & 7)
    while listed == 0:
        level += 1
        if level == CLASSES >> 3:
            return _NIL
        listed = state.registers[LISTED + level]
    return state.registers[HEADS + level * 8 + _power(listed & -listed)]


@part
def take_block(state: State, size: Int64) -> Int64:
    """Return the start of a block, or -1 when the arena has no room for it.

    size  what `block_size` returned
    """
    start = _first_of(state, _class(size))
    if start != _NIL:
        rest = _unlink(state, start) - size
        if rest > 0:
            _link(state, start + size, rest)
        return start
    start = state.registers[BUMP]
    if start + size > state.times.shape[0]:
        return _NIL
    state.registers[BUMP] = start + size
    return start
