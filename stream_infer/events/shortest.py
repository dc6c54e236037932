"""Float32 numbers in their shortest form, as decimals that come back bit for bit.

orjson writes float32 arrays in their shortest form (Ryu) many times as quickly as numpy prints
them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray


class Shortest(NamedTuple):
    """``n`` float32 numbers.

    text        their JSON list; what is not finite is null
    floats      the same as 64-bit floats
    comes_back  (n,) bool, False where a decimal of the list that is read as a 64-bit float and
                narrowed is another float32
    """

    text: bytes
    floats: list[float | None]
    comes_back: NDArray[np.bool_]


def shortest(numbers: NDArray[np.float32]) -> Shortest:
    """Return (n,) numbers in their shortest form."""
    text = orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY)
    floats: list[float | None] = orjson.loads(text)
    narrowed = np.array(floats, dtype=np.float64).astype(np.float32)
    return Shortest(text, floats, (narrowed == numbers) | ~np.isfinite(numbers))


def shortest_floats(numbers: NDArray[np.float32]) -> list[float | None]:
    """Return 64-bit floats whose shortest form is the float32's; None for what is not finite.

    A decimal that would not come back is replaced by the exact value.
    """
    _, floats, comes_back = shortest(numbers)
    for row in np.flatnonzero(~comes_back).tolist():
        floats[row] = float(numbers[row])
    return floats
