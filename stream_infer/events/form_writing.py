"""Writes rows of texts and numbers between constants, in machine code.

All places and digits are unsigned: of a signed index numba asks at each byte whether it counts
from the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stream_infer.compiled import digest_sources, kept, one_form
from stream_infer.events.measures import NO_VALUE
from stream_infer.events.numbers import OPTIONS, part

_SOURCES = digest_sources(Path(__file__).parent)

TEXT, TOKEN, LIST, CHOICE, WHOLE = -4, -3, -2, -1, 0
"""Kinds of fields, see `_write`; above, so many decimals of a whole number."""

TEXT_END = 0
"""Byte behind each text."""

NUMBER_BYTES_MAX = 24
"""What a number takes at most: 19 digits, a sign, a point, and zeros around it."""

UNITS_MAX = 10**15
"""Of fewer digits a float's shortest form is the decimal that it was made of."""

_0, _1, _2, _10 = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(10)
_DIGITS_MAX = np.uint64(19)
_ZERO = np.uint64(ord("0"))
_ZERO_BYTE, _MINUS, _POINT = np.uint8(ord("0")), np.uint8(ord("-")), np.uint8(ord("."))
_COMMA, _CLOSE, _QUOTE, _ESCAPE = ord(","), ord("]"), ord('"'), ord("\\")
_SPACE, _E = ord(" "), ord("e")
_NULL = np.frombuffer(b"null", np.uint8)


@part
def _copy(out: Any, at: Any, source: Any, start: Any, end: Any) -> Any:
    """Copy bytes ``start..end-1``; return where they end."""
    for i in range(start, end):
        out[at] = source[i]
        at += _1
    return at


@part
def _digits(out: Any, at: Any, number: Any) -> Any:
    """Write a number; return where it ends."""
    digits, more = _1, _10
    while more <= number and digits < _DIGITS_MAX:
        digits += _1
        more *= _10
    place = end = at + digits
    while place > at:
        place -= _1
        out[place] = _ZERO + number % _10
        number //= _10
    return end


@part
def _signed(out: Any, at: Any, number: Any) -> Any:
    """Write a sign where there is one; return where it ends, and the number without it."""
    if number >= 0:
        return at, np.uint64(number)
    out[at] = _MINUS
    return at + _1, np.uint64(-number)


@part
def _decimal(out: Any, at: Any, units: Any, decimals: Any) -> Any:
    """Write a number of units, ``1/10**decimals`` each, as a float in its shortest form."""
    digits, more = decimals + _1, _1
    for _ in range(digits):
        more *= _10
    while more <= units and digits < _DIGITS_MAX:
        digits += _1
        more *= _10
    point = at + digits - decimals
    place = end = at + digits + _1
    while place > at:
        place -= _1
        if place == point:
            out[place] = _POINT
            continue
        out[place] = _ZERO + units % _10
        units //= _10
    while end > point + _2 and out[end - _1] == _ZERO_BYTE:
        end -= _1
    return end


@part
def _end_of(texts: Any, at: Any, kind: Any) -> Any:
    """Return where a text, a token or a list ends, and whether it is plain."""
    plain = True
    if kind == TEXT:
        while texts[at] != TEXT_END:
            byte = texts[at]
            plain &= byte >= _SPACE and byte not in (_QUOTE, _ESCAPE)
            at += _1
        return at, plain
    # Where a token ends there is a comma, or behind the last one a bracket.
    while texts[at] != _CLOSE and (kind == LIST or texts[at] != _COMMA):
        plain &= texts[at] != _E
        at += _1
    return (at + _1 if kind == LIST else at), plain


def _write(
    constants: Any,
    constant_ends: Any,
    kinds: Any,
    places: Any,
    texts: Any,
    choices: Any,
    numbers: Any,
    out: Any,
    row_ends: Any,
    plain: Any,
) -> None:
    """Write ``n`` rows of ``f`` fields.

    constants      uint8, what stands before each field and behind the last
    constant_ends  (f + 1,) uint64, where each of them ends
    kinds          (f,) int64. `TEXT`: the next text, up to its `TEXT_END`; `TOKEN`: the next of a
                   list's numbers; `LIST`: the next of a list's lists; `CHOICE`: one of some pieces;
                   else a number
    places         (f,) uint64, where the first of a field's texts begins, which is moved on; of a
                   `CHOICE` the index of its first piece
    texts          uint8
    choices        (pieces + 1,) uint64, where each piece begins in `texts`
    numbers        (f, n) int64, numbers and indices of pieces
    out            uint8, with room for all
    row_ends       (n,) int64, written
    plain          (n,) bool, set to False where a text needs escapes, a token or list has a float
                   with an exponent, or a decimal has too many digits
    """
    at = _0
    for row in range(row_ends.shape[0]):
        start = _0
        for field in range(kinds.shape[0]):
            at = _copy(out, at, constants, start, constant_ends[field])
            start = constant_ends[field]
            kind, number = kinds[field], numbers[field, row]
            if kind == CHOICE:
                piece = places[field] + np.uint64(number)
                at = _copy(out, at, texts, choices[piece], choices[piece + _1])
            elif kind < CHOICE:
                end, is_plain = _end_of(texts, places[field], kind)
                plain[row] &= is_plain
                at = _copy(out, at, texts, places[field], end)
                places[field] = end + _1
            elif kind == WHOLE:
                at, units = _signed(out, at, number)
                at = _digits(out, at, units)
            elif number == NO_VALUE:
                at = _copy(out, at, _NULL, _0, np.uint64(4))
            else:
                plain[row] &= -UNITS_MAX < number < UNITS_MAX
                at, units = _signed(out, at, number)
                at = _decimal(out, at, units, np.uint64(kind))
        at = _copy(out, at, constants, start, constant_ends[kinds.shape[0]])
        row_ends[row] = at


write_rows = one_form(kept(_write, _SOURCES, OPTIONS))
