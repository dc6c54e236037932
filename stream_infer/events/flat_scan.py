"""Reads flat JSON objects of declared fields as most producers write them, in machine code.

An object that is written in any other way (nested, escapes, letters other than ASCII, a field
missing or of another type) or that breaks a rule is not flat: then the whole run is left to
the parser that knows JSON, and can say what is wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.compiled import digest_sources, kept, one_form
from stream_infer.events.numbers import OPTIONS, part
from stream_infer.events.tokens import float_bits, integer, is_text, text, word

_SOURCES = digest_sources(Path(__file__).parent)

TEXT, WHOLE, NUMBER, TEXT_OR_NULL, OTHER = range(5)
"""Kinds of fields: of texts the place is kept, of numbers their value or bits; of the last but one
only the type is looked at, and an object with the last is not flat."""

PLACES_MAX = 64
"""Places in an object for which it is remembered which field stood there before."""
FIELDS_MAX = 60
"""Fields that a type may have: each has a bit."""

_OPEN, _CLOSE, _COLON, _COMMA, _QUOTE = ord("{"), ord("}"), ord(":"), ord(","), ord('"')
_SPACE, _TAB, _NEWLINE, _RETURN, _N, _T, _F = (
    ord(" "),
    ord("\t"),
    ord("\n"),
    ord("\r"),
    ord("n"),
    ord("t"),
    ord("f"),
)
_NULL, _TRUE, _FALSE = (np.frombuffer(each, np.uint8) for each in (b"null", b"true", b"false"))


@part
def _token(data: Any, at: int, end: int) -> Any:
    """Return where the next token begins, behind white space; -1 where there is none."""
    if at < 0:
        return -1
    while at < end and (
        data[at] == _SPACE or data[at] == _NEWLINE or data[at] == _TAB or data[at] == _RETURN
    ):
        at += 1
    return at if at < end else -1


@part
def _sign(data: Any, at: int, end: int, sign: int) -> Any:
    """Return what comes behind a sign, -1 where another token stands."""
    at = _token(data, at, end)
    return at + 1 if at >= 0 and data[at] == sign else -1


@part
def _scalar(data: Any, at: int, end: int) -> Any:
    """Return where a value ends that is neither object nor array, or -1."""
    if data[at] == _QUOTE:
        _, _, stop = text(data, at, end)
        return stop
    if data[at] == _N:
        return word(data, at, end, _NULL)
    if data[at] == _T:
        return word(data, at, end, _TRUE)
    if data[at] == _F:
        return word(data, at, end, _FALSE)
    _, stop = float_bits(data, at, end, 0)
    return stop


@part
def _field(
    data: Any, start: int, stop: int, names: Any, name_ends: Any, order: Any, place: int
) -> Any:
    """Return which field a key names, -1 for none; the one that stood there before is tried first.

    order  (PLACES_MAX,) int64; written to
    """
    if place < len(order):
        guess = order[place]
        if guess >= 0:
            first = name_ends[guess - 1] if guess else 0
            if is_text(data, start, stop, names[first : name_ends[guess]]):
                return guess
    for field in range(len(name_ends)):
        first = name_ends[field - 1] if field else 0
        if is_text(data, start, stop, names[first : name_ends[field]]):
            if place < len(order):
                order[place] = field
            return field
    return -1


@part
def _value(
    data: Any,
    at: int,
    end: int,
    kind: int,
    where: int,
    bounds: Any,
    texts: Any,
    numbers: Any,
    row: int,
) -> int:
    """Fill in a value; return where it ends, or -1."""
    if kind == TEXT or (kind == TEXT_OR_NULL and data[at] == _QUOTE):
        start, stop, at = text(data, at, end)
        if stop - start < bounds[0] or stop - start > bounds[1]:
            return -1
        if kind == TEXT:
            texts[2 * where, row], texts[2 * where + 1, row] = start, stop
        return at
    if kind == WHOLE:
        value, at = integer(data, at, end)
        if value < bounds[0] or value > bounds[1]:
            return -1
        numbers[where, row] = value
        return at
    if kind == NUMBER:
        bits, at = float_bits(data, at, end, 1)
        numbers[where, row] = bits
        return at
    return word(data, at, end, _NULL) if kind == TEXT_OR_NULL else -1


def _scan(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    names: NDArray[np.uint8],
    name_ends: NDArray[np.int64],
    kinds: NDArray[np.int64],
    wheres: NDArray[np.int64],
    bounds: NDArray[np.int64],
    required: int,
    skips: int,
    order: NDArray[np.int64],
    texts: NDArray[np.int64],
    numbers: NDArray[np.int64],
) -> bool:
    """Fill in what ``n`` records hold; return whether all of them are flat.

    data           (b,) uint8, the records and perhaps more
    starts, ends   (n,) int64, where each begins and ends
    names          (c,) uint8, names of the ``k`` fields, one behind the other
    name_ends      (k,) int64
    kinds          (k,) int64, see above
    wheres         (k,) int64, the text or number that a field is
    bounds         (k, 2) int64, of a text's length or a whole number
    required       bits of the fields that every record has
    skips          whether other fields are passed over
    order          (PLACES_MAX,) int64, the field that stood at each place, or -1; written to
    texts          (2t, n) int64, where each begins and ends; written to
    numbers        (m, n) int64, or bits of float64; written to
    """
    for row in range(len(ends)):
        end, seen, place = ends[row], 0, 0
        at = _sign(data, starts[row], end, _OPEN)
        is_more = True
        while is_more:
            start, stop, at = text(data, _token(data, at, end), end)
            at = _token(data, _sign(data, at, end, _COLON), end)
            if at < 0:
                return False
            field = _field(data, start, stop, names, name_ends, order, place)
            if field < 0:
                at = _scalar(data, at, end) if skips else -1
            else:
                seen |= 1 << field  # where it occurs twice, the last one wins
                at = _value(
                    data, at, end, kinds[field], wheres[field], bounds[field], texts, numbers, row
                )
            at = _token(data, at, end)
            if at < 0:
                return False
            is_more = data[at] == _COMMA
            if not is_more and data[at] != _CLOSE:
                return False
            at += 1
            place += 1
        if seen & required != required or _token(data, at, end) >= 0:
            return False
    return True


scan = one_form(kept(_scan, _SOURCES, OPTIONS))
