"""Exact integers beyond 64 bits, for sums of squares.

A 128-bit number is a pair (low, high) of uint64; all arithmetic is modulo 2**128, so
that differences of cumulative sums are exact whenever the true result fits. Squares
and products go through 32-bit halves (Knuth, The Art of Computer Programming, volume
2, section 4.3.1, algorithm M).

numba turns uint64 combined with int64 into float64, which would lose digits without
a word: every operand here is a uint64.
"""

from __future__ import annotations

import numpy as np

from stream_infer.windows.compiled import part

_HALF = np.uint64(32)
_MASK = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_TWO_64 = 2.0**64
_TWO_128 = 2.0**128


@part
def square(value: np.int64) -> tuple[np.uint64, np.uint64]:
    """Return value² as (low, high); exact for every int64 but the smallest."""
    size = np.uint64(-value) if value < 0 else np.uint64(value)
    low_half = size & _MASK
    high_half = size >> _HALF
    middle = (low_half * high_half) << _ONE
    low = low_half * low_half
    total = low + (middle << _HALF)
    carry = _ONE if total < low else _ZERO
    return total, high_half * high_half + (middle >> _HALF) + carry


@part
def add(
    low: np.uint64, high: np.uint64, other_low: np.uint64, other_high: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Return the sum of two 128-bit numbers."""
    total = low + other_low
    carry = _ONE if total < low else _ZERO
    return total, high + other_high + carry


@part
def subtract(
    low: np.uint64, high: np.uint64, other_low: np.uint64, other_high: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Return the difference of two 128-bit numbers."""
    borrow = _ONE if low < other_low else _ZERO
    return low - other_low, high - other_high - borrow


@part
def times(
    low: np.uint64, high: np.uint64, factor: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Return the 192-bit product of a 128-bit number and a factor below 2**32, low limb first."""
    first = (low & _MASK) * factor
    second = (low >> _HALF) * factor + (first >> _HALF)
    third = (high & _MASK) * factor + (second >> _HALF)
    fourth = (high >> _HALF) * factor + (third >> _HALF)
    return (
        (second << _HALF) | (first & _MASK),
        (fourth << _HALF) | (third & _MASK),
        fourth >> _HALF,
    )


@part
def spread(n: np.int64, total: np.int64, low: np.uint64, high: np.uint64) -> float:
    """Return n·Σv² - (Σv)² as float64; exact up to the conversion of its three limbs.

    n     number of values, below 2**32
    total Σv
    low, high  Σv²
    Source  the textbook identity n²·variance = n·Σv² - (Σv)², safe here as nothing is rounded
    """
    product_low, product_middle, product_high = times(low, high, np.uint64(n))
    square_low, square_high = square(total)
    middle_borrow = _ONE if product_low < square_low else _ZERO
    limb_low = product_low - square_low
    limb_middle = product_middle - square_high - middle_borrow
    high_borrow = (
        _ONE
        if product_middle < square_high or (product_middle == square_high and middle_borrow == _ONE)
        else _ZERO
    )
    limb_high = product_high - high_borrow
    return float(limb_high) * _TWO_128 + float(limb_middle) * _TWO_64 + float(limb_low)
