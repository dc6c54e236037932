"""The gate before a model is written: the graph answers as the trained model does.

Compared are real rows and, for each split of each tree, rows that reach it and lie just below
its threshold, on it, and just above: there alone a threshold that was rounded to float32 the wrong
way shows. The trained model answers by its learner's own code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import GateFailedError
from stream_infer.scoring.manifest import Thresholds
from stream_infer.scoring.model import open_session
from stream_infer.training.forests import LEAF, Tree
from stream_infer.training.graphs import INPUT, OUTPUT

DIFFERENCE_MAX = 1e-5
ROWS_PER_CALL = 4_096

Answer = Callable[[NDArray[np.float32]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Parity:
    """How far graph and model are from each other.

    rows, boundary_rows  how many were compared
    splits, reached      splits of the trees, and those that a real row reaches
    difference           largest, of the probability, on real rows
    boundary_difference  the same at the splits
    flips                real rows on which a decision differs
    boundary_flips       rows at the splits on which one does
    """

    rows: int
    boundary_rows: int
    splits: int
    reached: int
    difference: float
    boundary_difference: float
    flips: int
    boundary_flips: int

    def facts(self) -> dict[str, Any]:
        """Return it as JSON-encodable facts."""
        return asdict(self)


def check_parity(
    content: bytes,
    answer: Answer,
    trees: Sequence[Tree],
    rows: NDArray[np.float32],
    thresholds: Thresholds,
    *,
    difference_max: float = DIFFERENCE_MAX,
) -> Parity:
    """Compare, and return what was found.

    content  the graph
    answer   probabilities of the trained model, float64
    rows     (n, F) float32, real ones
    Raises   GateFailedError ``export_differs`` where the difference is large or a decision flips
    """
    at_splits, splits, reached = boundary_rows(trees, rows)
    difference, flips = _compare(content, answer, rows, thresholds)
    near_difference, near_flips = _compare(content, answer, at_splits, thresholds)
    found = Parity(
        len(rows), len(at_splits), splits, reached, difference, near_difference, flips, near_flips
    )
    worst = max(difference, near_difference)
    if not worst <= difference_max or flips or near_flips:
        raise GateFailedError(
            "export_differs",
            f"The exported graph differs by up to {worst:g} from the model it came from, and "
            f"decides otherwise on {flips + near_flips:,} rows of {len(rows) + len(at_splits):,}.",
            "Do not serve it: report the case with the model's parameters.",
            **found.facts(),
        )
    return found


def boundary_rows(
    trees: Sequence[Tree], rows: NDArray[np.float32]
) -> tuple[NDArray[np.float32], int, int]:
    """Return (rows at the splits (m, F), how many splits there are, how many were reached).

    A split is reached by the first real row that passes it, with the split's column set to the
    threshold and its neighbours; a column that is split again further up keeps the row on its
    way, since the threshold lies inside what the splits above let through.
    """
    made: list[NDArray[np.float32]] = []
    splits = 0
    for tree in trees:
        passing = tree.rows_at(rows)
        for node in np.flatnonzero(tree.feature != LEAF).tolist():
            splits += 1
            if not len(passing[node]):
                continue
            near = np.repeat(rows[passing[node][:1]], 3, axis=0)
            near[:, tree.feature[node]] = _around(tree.threshold[node])
            made.append(near)
    together = np.concatenate(made) if made else np.empty((0, rows.shape[1]), np.float32)
    return together, splits, len(made)


def _around(threshold: np.float32) -> list[np.float32]:
    """Return values just below, on and just above a threshold.

    An infinite one parts numbers from what is no number.
    """
    if not np.isfinite(threshold):
        return [np.float32(np.nan), np.float32(0), np.finfo(np.float32).max]
    below, above = np.float32(-np.inf), np.float32(np.inf)
    return [np.nextafter(threshold, below), threshold, np.nextafter(threshold, above)]


def _compare(
    content: bytes, answer: Answer, rows: NDArray[np.float32], thresholds: Thresholds
) -> tuple[float, int]:
    """Return the largest difference, and on how many rows a decision differs."""
    if not len(rows):
        return 0.0, 0
    session = open_session(content)
    said = np.concatenate(
        [
            session.run([OUTPUT], {INPUT: rows[start : start + ROWS_PER_CALL]})[0][:, 0]
            for start in range(0, len(rows), ROWS_PER_CALL)
        ]
    )
    meant = answer(rows)
    flips = np.zeros(len(rows), np.bool_)
    for threshold in (thresholds.review, thresholds.decline):
        limit = np.float32(threshold)
        flips |= (said >= limit) != (meant.astype(np.float32) >= limit)
    # Within the rounding of float32 at the threshold itself neither answer is wrong.
    near = np.minimum(
        *(np.abs(meant - threshold) for threshold in (thresholds.review, thresholds.decline))
    )
    return float(np.abs(said - meant).max()), int((flips & (near > _ROUNDING)).sum())


_ROUNDING = 1e-6
