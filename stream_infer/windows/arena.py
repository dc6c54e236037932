"""Blocks of power-of-two size in the arena: a buddy allocator in numba.

A block of 2**c rows starts at a multiple of 2**c. Freed blocks merge with their buddy
(the neighbour they were once split from), so that keys which grow leave no holes that
only small keys could use. Free blocks are doubly linked through their first row:
`times` holds the next one's start, `hashes` the previous one's.

Source  Knowlton (1965), A Fast Storage Allocator, CACM 8(10)
"""

from __future__ import annotations

import numpy as np

from stream_infer.windows.compiled import part
from stream_infer.windows.state import BUMP, HEADS, Int64, State

BLOCK_MIN = 4
"""Rows of the smallest block, and of one tag."""
_NIL = -1


@part
def size_class(size: Int64) -> Int64:
    """Return c such that the block has 2**c rows."""
    c = 0
    while (1 << c) < size:
        c += 1
    return c


@part
def _push(state: State, start: Int64, c: Int64) -> None:
    """Put a free block at the front of its list."""
    head = state.registers[HEADS + c]
    state.times[start] = head
    state.hashes[start] = _NIL
    if head != _NIL:
        state.hashes[head] = start
    state.registers[HEADS + c] = start
    state.tags[start // BLOCK_MIN] = c


@part
def _unlink(state: State, start: Int64, c: Int64) -> None:
    """Take a block out of its list."""
    after, before = state.times[start], state.hashes[start]
    if before == _NIL:
        state.registers[HEADS + c] = after
    else:
        state.times[before] = after
    if after != _NIL:
        state.hashes[after] = before
    state.tags[start // BLOCK_MIN] = _NIL


@part
def free_block(state: State, start: Int64, size: Int64) -> None:
    """Give a block back and merge it with its free buddies."""
    c = size_class(size)
    while True:
        buddy = start ^ (1 << c)
        if buddy + (1 << c) > state.registers[BUMP] or state.tags[buddy // BLOCK_MIN] != c:
            break
        _unlink(state, buddy, c)
        start = min(start, buddy)
        c += 1
    _push(state, start, c)


@part
def take_block(state: State, size: Int64) -> Int64:
    """Return the start of a block of `size` rows, or -1 when the arena has no room for it."""
    wanted = size_class(size)
    c = wanted
    while c < state.registers.shape[0] - HEADS and state.registers[HEADS + c] == _NIL:
        c += 1
    if c < state.registers.shape[0] - HEADS:
        start = state.registers[HEADS + c]
        _unlink(state, start, c)
        while c > wanted:
            c -= 1
            _push(state, start + (1 << c), c)
        return start
    return _extend(state, size)


@part
def _extend(state: State, size: Int64) -> Int64:
    """Return a block from the rows that were never handed out, or -1."""
    bump = state.registers[BUMP]
    start = (bump + size - 1) // size * size
    if start + size > state.times.shape[0]:
        return -1
    # Rows that alignment skips become free blocks, each as large as its own start allows.
    while bump < start:
        gap = bump & -bump
        state.registers[BUMP] = bump + gap
        state.tags[bump // BLOCK_MIN] = _NIL
        free_block(state, bump, gap)
        bump += gap
    state.registers[BUMP] = start + size
    state.tags[start // BLOCK_MIN : (start + size) // BLOCK_MIN] = _NIL
    return np.int64(start)
