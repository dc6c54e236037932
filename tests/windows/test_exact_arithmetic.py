from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_infer.windows.compiled import host
from stream_infer.windows.exact import add, spread, square, subtract, times
from stream_infer.windows.twins import limbs_as_float

BITS_64 = 2**64
LARGEST = 2**63 - 1
wide = st.integers(0, 2**128 - 1)
whole = st.integers(-LARGEST, LARGEST)


@host
def _square(value: Any) -> Any:
    return square(value)


@host
def _add(a: Any, b: Any, c: Any, d: Any) -> Any:
    return add(a, b, c, d)


@host
def _subtract(a: Any, b: Any, c: Any, d: Any) -> Any:
    return subtract(a, b, c, d)


@host
def _times(a: Any, b: Any, factor: Any) -> Any:
    return times(a, b, factor)


@host
def _spread(n: Any, total: Any, low: Any, high: Any) -> Any:
    return spread(n, total, low, high)


def limbs(number: int) -> tuple[np.uint64, np.uint64]:
    return np.uint64(number % BITS_64), np.uint64(number // BITS_64)


@settings(deadline=None)
@given(whole)
@example(LARGEST)
@example(-LARGEST)
@example(2**32 - 1)
def test_a_square_is_exact(value: int) -> None:
    low, high = _square(value)
    assert int(low) + BITS_64 * int(high) == value**2


@settings(deadline=None)
@given(wide, wide)
@example(2**64 - 1, 1)
@example(2**128 - 1, 1)
def test_sums_and_differences_are_those_of_integers_modulo_two_to_the_128(a: int, b: int) -> None:
    low, high = _add(*limbs(a), *limbs(b))
    assert int(low) + BITS_64 * int(high) == (a + b) % 2**128
    low, high = _subtract(*limbs(a), *limbs(b))
    assert int(low) + BITS_64 * int(high) == (a - b) % 2**128


@settings(deadline=None)
@given(wide, st.integers(0, 2**32 - 1))
@example(2**128 - 1, 2**32 - 1)
def test_a_product_keeps_all_192_bits(a: int, factor: int) -> None:
    low, middle, high = _times(*limbs(a), np.uint64(factor))
    assert int(low) + BITS_64 * int(middle) + BITS_64**2 * int(high) == a * factor


@settings(deadline=None)
@given(st.lists(st.integers(-(2**53), 2**53), min_size=2, max_size=40))
@example([2**53, 2**53, 2**53, 2**53 - 1])
@example([0, 0])
def test_the_spread_of_close_large_values_loses_nothing(values: list[int]) -> None:
    n, total, squares = len(values), sum(values), sum(v * v for v in values)
    exact = n * squares - total**2
    found = _spread(n, total, *limbs(squares))
    assert found == limbs_as_float(exact)
    assert math.isclose(found, exact, rel_tol=1e-15)
