"""Decimal numbers to the nearest float64, in machine code.

Source  Lemire, Number Parsing at a Gigabyte per Second (2021): a decimal of up to 19 digits times a
        power of ten is rounded by one product with 128 bits of the power, or two; where that does
        not decide, it is known not to, and the text is left to another parser
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}

_LOWEST, _HIGHEST = -342, 308
"""Powers of ten: times 19 digits, anything below is zero and anything above infinite."""
_EXACT_FROM, _EXACT_TO = -27, 55
"""Between them a power of five has 64 bits or fewer, or 128, and nothing of it is cut off."""
_TIE_FROM, _TIE_TO = -4, 23
"""Only between them a decimal can lie in the middle of two floats."""
_BITS, _WORD_BITS = 128, 64
_WORD = (1 << _WORD_BITS) - 1

_LOW32 = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_ONE = np.uint64(1)
_TOP_BIT = np.uint64(1 << 63)
_UNDECIDED_BITS = np.uint64(_WORD >> 55)
"""Below the 52 bits of a mantissa and three more: all set, the second product is needed."""
_HIDDEN_BIT = np.uint64(1 << 52)
_NO_HIDDEN_BIT = np.uint64(_HIDDEN_BIT - _ONE)
_EXPONENT_MAX = 0x7FF
DIGITS_MAX = 19


def _powers() -> NDArray[np.uint64]:
    """Return the 128 bits of each power of five, as (q, 2) high and low words."""
    words = []
    for q in range(_LOWEST, _HIGHEST + 1):
        if q >= 0:
            power = 5**q
            shift = power.bit_length() - _BITS
            power = power >> shift if shift > 0 else power << -shift
        else:
            five = 5**-q
            bits = (five - 1).bit_length()
            scale = bits + _BITS - 1 if q >= _EXACT_FROM else 2 * bits + _BITS
            power = (1 << scale) // five + 1
            power >>= max(0, power.bit_length() - _BITS)
        words.append((power >> _WORD_BITS, power & _WORD))
    return np.array(words, np.uint64)


_POWERS = _powers()


def part(function: FunctionT) -> FunctionT:
    """Return the function in a form that this package's kernels can call."""
    compiled: FunctionT = numba.njit(forceinline=True, **OPTIONS)(function)
    return compiled


def _rare(function: FunctionT) -> FunctionT:
    """Return the function in a form that is called: inlined it takes long to compile."""
    compiled: FunctionT = numba.njit(**OPTIONS)(function)
    return compiled


@part
def _product(a: np.uint64, b: np.uint64) -> Any:
    """Return the high and the low word of a product."""
    a_high, a_low, b_high, b_low = a >> _32, a & _LOW32, b >> _32, b & _LOW32
    low = a_low * b_low
    middle = a_high * b_low + (low >> _32)
    other = a_low * b_high + (middle & _LOW32)
    return a_high * b_high + (middle >> _32) + (other >> _32), (other << _32) | (low & _LOW32)


@part
def _times_power(digits: np.uint64, power: int) -> Any:
    """Return the high and the low word of digits times a power of five, as far as is needed."""
    high, low = _product(digits, _POWERS[power - _LOWEST, 0])
    if high & _UNDECIDED_BITS == _UNDECIDED_BITS:
        more, _ = _product(digits, _POWERS[power - _LOWEST, 1])
        low += more
        if low < more:
            high += _ONE
    return high, low


@_rare
def nearest_bits(digits: np.uint64, power: int) -> Any:
    """Return the bits of the float64 nearest to digits times ten to a power; -1 where unknown.

    digits  at most 19 of them
    Of numbers below the normal ones nothing is known: there are none in practice.
    """
    if digits == np.uint64(0) or power < _LOWEST:
        return np.int64(0)
    if power > _HIGHEST:
        return np.int64(-1)
    leading = 0
    while not digits & _TOP_BIT:
        digits <<= _ONE
        leading += 1
    high, low = _times_power(digits, power)
    if low == np.uint64(_WORD) and (power < _EXACT_FROM or power > _EXACT_TO):
        return np.int64(-1)
    upper = high >> np.uint64(63)
    mantissa = high >> (upper + np.uint64(9))
    exponent = ((217706 * power) >> 16) + 63 + np.int64(upper) - leading + 1023
    if exponent <= 0 or exponent >= _EXPONENT_MAX:
        return np.int64(-1)
    # Exactly between two: to the even one, where the product is exact.
    is_exact = low <= _ONE and _TIE_FROM <= power <= _TIE_TO
    if is_exact and mantissa & np.uint64(3) == _ONE and mantissa << (upper + np.uint64(9)) == high:
        mantissa &= ~_ONE
    mantissa = (mantissa + (mantissa & _ONE)) >> _ONE
    if mantissa >= _HIDDEN_BIT << _ONE:
        mantissa, exponent = _HIDDEN_BIT, exponent + 1
        if exponent >= _EXPONENT_MAX:
            return np.int64(-1)
    return np.int64((mantissa & _NO_HIDDEN_BIT) | (np.uint64(exponent) << np.uint64(52)))
