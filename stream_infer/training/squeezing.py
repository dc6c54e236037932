"""Inputs squeezed by x / (1 + |x|): one step of the runtime where a logarithm takes five.

A network of 64 and 32 neurons spends more time on the logarithms of its inputs than on its
layers. Here each column is divided by its own usual size first, so that what is usual lies where
the curve is steep.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.training.graphs import Part
from stream_infer.training.scaling import SCALE_MIN, Scaling, add_numbers


@dataclass(frozen=True, slots=True)
class Softly(Scaling):
    """As `Scaling`, with another curve.

    size  (F,) float64, of which a value of each column is a multiple before it is squeezed
    """

    size: NDArray[np.float64]

    def apply(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (n, F) float64."""
        return (_squeezed(matrix, self.size) - self.centre) / self.scale

    def add_to(self, part: Part) -> Part:
        """Add the squeezing; centring and scaling belong into the first layer (`folded`)."""
        return (
            add_numbers(part, has_nan=self.has_nan)
            .then("Mul", (1.0 / self.size)[None, :])
            .then("Softsign")
        )


def fit_softly(matrix: NDArray[np.float32]) -> Softly:
    """Return the scaling of these rows."""
    numbers = np.abs(np.where(np.isnan(matrix), 0.0, matrix.astype(np.float64)))
    # Of the values that are not 0: most columns are 0 in most rows.
    size = np.array(
        [float(np.median(each[each > 0])) if (each > 0).any() else 1.0 for each in numbers.T]
    )
    squeezed = _squeezed(matrix, size)
    scale = squeezed.std(axis=0)
    scale[scale < SCALE_MIN] = 1.0
    return Softly(squeezed.mean(axis=0), scale, bool(np.isnan(matrix).any()), size)


def _squeezed(matrix: NDArray[np.float32], size: NDArray[np.float64]) -> NDArray[np.float64]:
    multiples = np.where(np.isnan(matrix), 0.0, matrix.astype(np.float64)) / size
    said: NDArray[np.float64] = multiples / (1.0 + np.abs(multiples))
    return said
