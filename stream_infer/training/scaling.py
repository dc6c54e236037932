"""Inputs of models that are no trees: squeezed, centred, scaled; in float64 and as a graph.

Amounts and counts span powers of ten, which sign(x) log(1 + |x|) makes of one size. What is no
number becomes 0, as an absent habit does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from stream_infer.training.graphs import Part

SCALE_MIN = 1e-6


@dataclass(frozen=True, slots=True)
class Scaling:
    """How columns are squeezed.

    centre, scale  (F,) float64, of the squeezed columns
    has_nan        whether rows may hold what is no number
    """

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    has_nan: bool

    def apply(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (n, F) float64."""
        return (_squeezed(matrix) - self.centre) / self.scale

    def add_to(self, part: Part) -> Part:
        """Add the squeezing; centring and scaling belong into the first layer (`folded`)."""
        source = add_numbers(part, has_nan=self.has_nan).last
        part.then("Sign", name="signs")
        part.last = source
        part.then("Abs").then("Add", 1.0)
        # ONNX Runtime takes the float32 logarithm of a batch's last values by another code: scores
        # would differ in their last bits by the batch's size. Rounded from float64 they do not.
        part.then("Cast", to=TensorProto.DOUBLE).then("Log").then("Cast", to=TensorProto.FLOAT)
        return part.then("Mul", "signs")

    def folded(
        self, weights: NDArray[np.float64], biases: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a first layer that takes squeezed columns, not yet centred and scaled."""
        return weights / self.scale[:, None], biases - (self.centre / self.scale) @ weights


def add_numbers(part: Part, *, has_nan: bool) -> Part:
    """Add what puts 0 in the place of what is no number, where rows may hold that."""
    if not has_nan:
        return part
    source = part.last
    return part.then("IsNaN", name="is_nan").then("Where", 0.0, source, name="numbers")


def fit_scaling(matrix: NDArray[np.float32]) -> Scaling:
    """Return the scaling of these rows; a column that never changes keeps its size."""
    squeezed = _squeezed(matrix)
    scale = squeezed.std(axis=0)
    scale[scale < SCALE_MIN] = 1.0
    return Scaling(squeezed.mean(axis=0), scale, bool(np.isnan(matrix).any()))


def _squeezed(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    numbers = np.where(np.isnan(matrix), 0.0, matrix.astype(np.float64))
    squeezed: NDArray[np.float64] = np.sign(numbers) * np.log1p(np.abs(numbers))
    return squeezed
