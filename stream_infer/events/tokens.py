"""The tokens of JSON as producers mostly write them, found in machine code.

Each part begins at a place among bytes and returns what it read and where that ends, or -1 where
something else stands: escapes, letters other than ASCII and longer numbers are left to a parser
that knows all of JSON. A part that is given -1 returns -1, so that they follow each other unasked.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_infer.events.numbers import DIGITS_MAX, nearest_bits, part

NAN_BITS = int(np.array([np.nan]).view(np.int64)[0])
SIGN_BIT = np.int64(-(2**63))

_INT_DIGITS_MAX = 18
_EXPONENT_DIGITS_MAX = 3
_COMMA, _QUOTE, _ESCAPE, _MINUS, _POINT = ord(","), ord('"'), ord("\\"), ord("-"), ord(".")
_OPEN, _CLOSE, _ZERO, _NINE, _PLUS = ord("["), ord("]"), ord("0"), ord("9"), ord("+")
_E, _LARGE_E = ord("e"), ord("E")
_SPACE, _DELETE = 0x20, 0x7F
_TEN = np.uint64(10)


@part
def is_digit(byte: int) -> bool:
    """Tell whether a byte is one."""
    return bool(_ZERO <= byte <= _NINE)


@part
def comma(data: Any, at: int, end: int) -> int:
    """Return what comes behind a comma, -1 where there is none."""
    return at + 1 if 0 <= at < end and data[at] == _COMMA else -1


@part
def opened(data: Any, at: int, end: int) -> int:
    """Return what comes behind an opening bracket, -1 where there is none."""
    return at + 1 if 0 <= at < end and data[at] == _OPEN else -1


@part
def closed(data: Any, at: int, end: int) -> int:
    """Return what comes behind a closing bracket, -1 where there is none."""
    return at + 1 if 0 <= at < end and data[at] == _CLOSE else -1


@part
def digits(data: Any, at: int, end: int, most: int) -> Any:
    """Return the number that digits make and where they end, -1 where there are none or more."""
    value, first = np.int64(0), at
    while at < end and is_digit(data[at]) and at - first <= most:
        value = value * 10 + (np.int64(data[at]) - _ZERO)
        at += 1
    return value, (at if first < at <= first + most else -1)


@part
def integer(data: Any, at: int, end: int) -> Any:
    """Return a whole number and where it ends, -1 where there is none of at most 18 digits."""
    if at < 0:
        return np.int64(0), -1
    is_negative = at < end and data[at] == _MINUS
    if is_negative:
        at += 1
    first = at
    value, at = digits(data, at, end, _INT_DIGITS_MAX)
    if at < 0 or (at - first > 1 and data[first] == _ZERO):
        return np.int64(0), -1
    return (-value if is_negative else value), at


@part
def text(data: Any, at: int, end: int) -> Any:
    """Return where the text between two quotes begins and ends, and what comes behind it or -1."""
    if at < 0 or at >= end or data[at] != _QUOTE:
        return 0, 0, -1
    at += 1
    start = at
    while at < end and data[at] != _QUOTE:
        if data[at] == _ESCAPE or data[at] < _SPACE or data[at] > _DELETE:
            return 0, 0, -1
        at += 1
    if at >= end:
        return 0, 0, -1
    return start, at, at + 1


@part
def is_text(data: Any, start: int, end: int, letters: Any) -> bool:
    """Tell whether bytes are a text."""
    if end - start != len(letters):
        return False
    same = 0
    while same < len(letters) and data[start + same] == letters[same]:
        same += 1
    return bool(same == len(letters))


@part
def word(data: Any, at: int, end: int, letters: Any) -> int:
    """Return where a bare word ends, -1 where another one stands."""
    stop = at + len(letters)
    return stop if at >= 0 and stop <= end and is_text(data, at, stop, letters) else -1


@part
def exponent(data: Any, at: int, end: int) -> Any:
    """Return what stands behind an e and where it ends; -1 where that is no exponent."""
    if at < end and data[at] == _PLUS:
        at += 1
        if at < end and data[at] == _MINUS:
            return np.int64(0), -1
    # Unlike another whole number it may begin with zeros.
    is_negative = at < end and data[at] == _MINUS
    if is_negative:
        at += 1
    value, at = digits(data, at, end, _EXPONENT_DIGITS_MAX)
    return (-value if is_negative else value), at


@part
def float_bits(data: Any, at: int, end: int, is_wanted: Any) -> Any:
    """Return the bits of a float64 and where its text ends; -1 where this cannot tell.

    is_wanted  whether the bits matter, and not only that there is a number
    """
    is_negative = data[at] == _MINUS
    if is_negative:
        at += 1
    digits, significant, first = np.uint64(0), 0, at
    while at < end and is_digit(data[at]):
        digits = digits * _TEN + np.uint64(data[at] - _ZERO)
        significant += digits != np.uint64(0)
        at += 1
    is_number = at > first and (at == first + 1 or data[first] != _ZERO)
    power = 0
    if at < end and data[at] == _POINT:
        at += 1
        first = at
        while at < end and is_digit(data[at]):
            digits = digits * _TEN + np.uint64(data[at] - _ZERO)
            significant += digits != np.uint64(0)
            at += 1
        power = first - at
        is_number = is_number and power < 0
    # More digits than that have overflown.
    is_number = is_number and significant <= DIGITS_MAX
    has_exponent = at < end and (data[at] == _E or data[at] == _LARGE_E)
    if is_number and has_exponent:
        more, at = exponent(data, at + 1, end)
        power += more
    if is_number and not has_exponent and not is_wanted:
        return np.int64(NAN_BITS), at  # it is finite, whatever it is
    bits = nearest_bits(digits, power) if is_number and at >= 0 else np.int64(-1)
    if bits < 0:
        return np.int64(0), -1
    return (bits | SIGN_BIT if is_negative else bits), at
