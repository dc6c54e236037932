"""Blocks of rows in the arena: a buddy allocator in numba.

A block of 2**c rows starts at a multiple of 2**c. Freed blocks merge with their buddy
(the neighbour they were once split from), so that keys which grow leave no holes that
only small keys could use. Free blocks are doubly linked through their first row:
`times` holds the next one's start, `hashes` the previous one's.

A block may also be three quarters of such a block, the last quarter being free for
others: with powers of two alone 50,000 customers of 59 entries took a third more.

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
def _size_class(size: Int64) -> Int64:
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
def block_size(rows: Int64) -> Int64:
    """Return the size of the smallest block that holds so many rows: 4, 8, 12, 16, 24, 32, ..."""
    size = np.int64(BLOCK_MIN)
    while size < rows:
        if size > BLOCK_MIN and size + (size >> 1) >= rows:
            return size + (size >> 1)
        size *= 2
    return size


@part
def free_block(state: State, start: Int64, size: Int64) -> None:
    """Give a block back."""
    if size & (size - 1) == 0:
        _free(state, start, size)
    else:
        half = size // 3 * 2
        _free(state, start, half)
        _free(state, start + half, size - half)


@part
def take_block(state: State, size: Int64) -> Int64:
    """Return the start of a block of `size` rows, or -1 when the arena has no room for it."""
    if size & (size - 1) == 0:
        return _take(state, size)
    quarter = size // 3
    start = _take(state, 4 * quarter)
    if start >= 0:
        _free(state, start + size, quarter)
    return start


@part
def _free(state: State, start: Int64, size: Int64) -> None:
    """Give a power-of-two block back and merge it with its free buddies."""
    c = _size_class(size)
    while True:
        buddy = start ^ (1 << c)
        if buddy + (1 << c) > state.registers[BUMP] or state.tags[buddy // BLOCK_MIN] != c:
            break
        _unlink(state, buddy, c)
        start = min(start, buddy)
        c += 1
    _push(state, start, c)


@part
def _take(state: State, size: Int64) -> Int64:
    """Return the start of a power-of-two block, or -1."""
    wanted = _size_class(size)
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
        _free(state, bump, gap)
        bump += gap
    state.registers[BUMP] = start + size
    state.tags[start // BLOCK_MIN : (start + size) // BLOCK_MIN] = _NIL
    return np.int64(start)
