"""A rising line from the answers of a changed model to the log odds of the one it came from.

Pruned trees answer on another scale. The line that sets it right learns from what the original
says of the rows, not from labels, and so may use all rows of the days before the test.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from stream_infer.training.calibration import REACH, RISE_MIN, Calibration

PIECES = 16


def match_line(answers: NDArray[np.float64], log_odds: NDArray[np.float64]) -> Calibration:
    """Return the rising line of a few pieces that is nearest to the log odds, by squares.

    answers   (n,) of the changed model
    log_odds  (n,) of the original, of the same rows
    Cost      O(n x pieces)
    """
    knots = _knots(answers)
    widths = np.diff(knots)
    along = np.clip((answers[:, None] - knots[:-1]) / widths, 0.0, 1.0)
    table = np.column_stack([np.ones(len(answers)), along])
    lowest = np.append(-np.inf, np.full(len(widths), RISE_MIN))
    # The normal equations: a table of all rows would be solved as a whole at each step.
    root = np.linalg.cholesky(table.T @ table + 1e-6 * np.eye(table.shape[1])).T
    wanted = np.linalg.solve(root.T, table.T @ log_odds)
    found = lsq_linear(root, wanted, bounds=(lowest, np.inf)).x
    odds = found[0] + np.append(0.0, np.cumsum(np.maximum(found[1:], RISE_MIN)))
    return _extended(knots, odds)


def _knots(answers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where pieces meet: equally far apart by value, where rows lie on both sides."""
    low, high = float(answers.min()), float(answers.max())
    if high - low < 1e-9:
        return np.array([low, low + 1e-6])
    even = np.linspace(low, high, PIECES + 1)
    crowded = np.quantile(answers, np.linspace(0, 1, PIECES + 1))
    apart = (high - low) / 50
    knots = [low]
    for knot in np.sort(np.concatenate([even, crowded])).tolist():
        if knot - knots[-1] > apart and (knot == high or high - knot > apart):
            knots.append(knot)
    return np.array(knots if knots[-1] == high else [*knots, high])


def _extended(at: NDArray[np.float64], odds: NDArray[np.float64]) -> Calibration:
    """Let the outermost pieces go on, as a fitted calibration does."""
    reach = REACH * (at[-1] - at[0])
    first, last = (odds[1] - odds[0]) / (at[1] - at[0]), (odds[-1] - odds[-2]) / (at[-1] - at[-2])
    return Calibration(
        np.concatenate([[at[0] - reach], at, [at[-1] + reach]]),
        np.concatenate([[odds[0] - first * reach], odds, [odds[-1] + last * reach]]),
    )
