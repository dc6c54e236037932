"""How features and scores lay when a model was made: what drift is measured against.

A histogram has bounds in place of widths: ``edges`` cut the number line into ``len(edges) + 1``
bins, the outer two without end, so that a value never seen in training has a bin too. Edges are
quantiles of the training rows, for equal shares make every bin's test as strong as the next's;
a value that many rows share becomes an edge once, whatever number of quantiles falls on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

BINS = 10
"""As is usual for the population stability index; more would need more rows for the same power."""
BINS_MAX = 256

_Count = Annotated[int, msgspec.Meta(ge=0)]


class Histogram(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Counts of values by bin.

    edges    ascending bounds; bin ``i`` holds ``edges[i-1] <= value < edges[i]``
    counts   one more than edges
    missing  values that are no number
    """

    edges: Annotated[tuple[float, ...], msgspec.Meta(max_length=BINS_MAX)]
    counts: tuple[_Count, ...]
    missing: _Count = 0

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError("histogram: counts must be one more than edges")
        if any(low >= high for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("histogram: edges must ascend")

    @property
    def rows(self) -> int:
        """All values, those that are no number too."""
        return sum(self.counts) + self.missing


class Reference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model's rows looked like where it was validated.

    features  feature -> its values
    score     the model's scores of the same rows; None for a model that forecasts
    alerting  share of the rows whose score reached the threshold of review
    """

    features: dict[str, Histogram] = {}
    score: Histogram | None = None
    alerting: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the score became a probability; the map itself stands in the model's graph.

    method          such as ``isotonic`` or ``none``
    expected_error  mean distance between score and share of positives over bins (ECE)
    brier           mean squared distance between score and truth
    """

    method: str
    expected_error: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    brier: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


def quantile_edges(values: NDArray[np.floating], bins: int = BINS) -> tuple[float, ...]:
    """Return ascending bounds of bins with about equal shares of the finite values.

    values  (n,) float, in any order
    Cost    O(n)

    >>> quantile_edges(np.array([0.0, 0.0, 0.0, 1.0, 2.0, 3.0]), 3)
    (0.0, 1.3333333333333333)
    """
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return ()
    inner = np.quantile(finite, np.arange(1, bins) / bins)
    return tuple(np.unique(inner).tolist())


def count_into(edges: Sequence[float], values: NDArray[np.floating]) -> Histogram:
    """Return the histogram of `values` with given bounds.

    values  (n,) float; an infinite value is in an outer bin, NaN is missing
    Cost    O(n log bins)
    """
    bounds = np.asarray(edges, np.float64)
    known = values[~np.isnan(values)]
    bins = np.searchsorted(bounds, known.astype(np.float64), side="right")
    counts: list[int] = np.bincount(bins, minlength=len(bounds) + 1).tolist()
    return Histogram(
        edges=tuple(bounds.tolist()), counts=tuple(counts), missing=len(values) - len(known)
    )


def describe_rows(
    names: Sequence[str],
    matrix: NDArray[np.floating],
    scores: NDArray[np.floating] | None = None,
    *,
    review: float | None = None,
) -> Reference:
    """Return the reference of a model from the rows that it was validated on.

    names   features, in the order of the matrix's columns
    matrix  (n, features) float
    scores  (n,) float; None for a model that forecasts
    review  threshold at which a score alerts; None where nothing alerts by score
    """
    alerting = None
    if scores is not None and review is not None and len(scores):
        alerting = float(np.mean(scores >= np.float32(review)))
    return Reference(
        features={
            name: count_into(quantile_edges(matrix[:, column]), matrix[:, column])
            for column, name in enumerate(names)
        },
        score=None if scores is None else count_into(quantile_edges(scores), scores),
        alerting=alerting,
    )
