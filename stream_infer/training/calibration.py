"""From what a model answers to a probability: a rising line of a few pieces, in the graph.

The line leads from the model's answers to log odds, and is the likeliest one for its answers on
validation days, which it was not fitted on; its pieces hold about as many positives each. It
always rises, so that the order of scores, and with it every ranking figure, stands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from stream_infer.training.graphs import Part

GROUPS = 12
POSITIVES_MIN = 40
"""Of a piece: fewer say nothing about it."""
RISE_MIN = 0.02
"""Log odds that each piece rises at least."""
RIDGE = 0.05
"""Weight of the squared rises: a piece whose rows are all of one class would rise for ever."""
REACH = 0.1
"""Of the width of the answers: so far the outermost pieces go on, and the probability stays."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Points of the line.

    answers   (k,) float64, increasing
    log_odds  (k,) float64, increasing
    """

    answers: NDArray[np.float64]
    log_odds: NDArray[np.float64]

    def apply(self, answers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return probabilities, (n,) float64."""
        odds = np.interp(answers, self.answers, self.log_odds)
        # As a tanh, since exp(-x) overflows for a confident "no".
        probability: NDArray[np.float64] = 0.5 + 0.5 * np.tanh(0.5 * odds)
        return probability

    def add_to(self, part: Part) -> Part:
        """Add the line to a graph whose last output is (n, 1) answers; log odds come out."""
        if self is LOG_ODDS:
            return part
        widths = np.diff(self.answers)
        slopes = np.diff(self.log_odds) / widths
        part.then("Sub", self.answers[None, :-1])
        part.then("Max", 0.0).then("Min", widths[None, :])
        return part.then("Gemm", slopes[:, None], self.log_odds[:1])


LOG_ODDS = Calibration(np.array([-50.0, 50.0]), np.array([-50.0, 50.0]))
"""For a model that answers with log odds already: nothing is done to them."""


def fit_calibration(answers: NDArray[np.float64], truth: NDArray[np.bool_]) -> Calibration:
    """Return the likeliest rising line for answers of rows that the model was not fitted on.

    Cost  O(n) a step of the optimiser, some fifty of them
    """
    knots = _knots(answers, truth)
    widths = np.diff(knots)
    # How far each row has come along each piece, 0 to 1: log odds are linear in that.
    along = np.clip((answers[:, None] - knots[:-1]) / widths, 0.0, 1.0)
    signs = np.where(truth, 1.0, -1.0)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        odds = weights[0] + along @ weights[1:]
        wrong = -signs * (0.5 - 0.5 * np.tanh(0.5 * signs * odds))
        slope = np.append(wrong.sum(), along.T @ wrong)
        rises = weights[1:]
        total = np.logaddexp(0.0, -signs * odds).sum() + 0.5 * RIDGE * (rises @ rises)
        return float(total), slope + np.append(0.0, RIDGE * rises)

    share = (truth.sum() + 0.5) / (len(truth) + 1.0)
    start = np.append(np.log(share / (1 - share)) - 1.0, np.full(len(widths), 1.0))
    bounds = [(None, None)] + [(RISE_MIN, None)] * len(widths)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return _extended(Calibration(knots, found[0] + np.append(0.0, np.cumsum(found[1:]))))


def _knots(answers: NDArray[np.float64], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return where pieces meet: both ends, and places that cut the positives in equal groups."""
    groups = max(1, min(GROUPS, int(truth.sum()) // POSITIVES_MIN))
    inner = np.quantile(answers[truth], np.arange(1, groups) / groups)
    low, high = float(answers.min()), float(answers.max())
    apart = max(high - low, 1e-6) / 1_000
    knots = [low]
    for knot in [*inner.tolist(), max(high, low + 1e-6)]:
        if knot - knots[-1] > apart:
            knots.append(knot)
    return np.array(knots) if len(knots) > 1 else np.array([low, low + 1e-6])


def _extended(line: Calibration) -> Calibration:
    """Let the outermost pieces go on: test days may answer beyond what validation days did."""
    at, odds = line.answers, line.log_odds
    reach = REACH * (at[-1] - at[0])
    slopes = np.diff(odds) / np.diff(at)
    return Calibration(
        np.concatenate([[at[0] - reach], at, [at[-1] + reach]]),
        np.concatenate([[odds[0] - slopes[0] * reach], odds, [odds[-1] + slopes[-1] * reach]]),
    )
