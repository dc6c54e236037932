"""What a version did in the last second: counts that become evidence.

Counting must cost next to nothing beside scoring: a few array sums a batch, one binary search of
the scores, and the features of a sample of rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_infer.scoring.manifest import Manifest
from stream_infer.scoring.reference import count_into

SCORE_EDGES = tuple(round(edge / 20, 2) for edge in range(1, 20))
"""Bins of scores for a version whose manifest has none."""
SAMPLE_ROWS_MAX = 256
"""Rows a second whose features are counted, per version: drift is a matter of hours."""


def score_edges(manifest: Manifest) -> tuple[float, ...]:
    """Return the bounds of the bins in which a version's scores are counted."""
    reference = manifest.reference
    if reference is None or reference.score is None:
        return SCORE_EDGES
    return reference.score.edges


@dataclass(slots=True)
class Tally:
    """What one version did since the tally was begun.

    rows        rows that it scored
    errors      rows at which it failed; another version scored them
    not_finite  rows that it answered with no number
    alerts      rows whose decision was to review or to decline
    seconds     time that its runs took
    runs        how many they were
    worst_s     longest time a row, over the runs
    scores      (bins,) int64
    bounds      (bins - 1,) float32, the edges
    features    sampled rows, (k, features) float32 each
    sampled     how many rows these are
    """

    edges: tuple[float, ...]
    rows: int = 0
    errors: int = 0
    not_finite: int = 0
    alerts: int = 0
    seconds: float = 0.0
    runs: int = 0
    worst_s: float = 0.0
    scores: NDArray[np.int64] = field(init=False)
    bounds: NDArray[np.float32] = field(init=False)
    features: list[NDArray[np.float32]] = field(default_factory=list)
    sampled: int = 0

    def __post_init__(self) -> None:
        self.scores = np.zeros(len(self.edges) + 1, np.int64)
        # Of the scores' own type: else each search would convert all of them.
        self.bounds = np.array(self.edges, np.float32)

    def add(
        self,
        matrix: NDArray[np.float64],
        scores: NDArray[np.float32],
        codes: NDArray[np.uint8],
        seconds: float,
    ) -> None:
        """Count one run.

        matrix   (n, features) float64
        scores   (n,) float32
        codes    (n,) uint8, decisions
        seconds  that the run took
        Cost     some µs and 20 ns a row
        """
        n = len(scores)
        if not n:
            return
        self.rows += n
        self.alerts += int(np.count_nonzero(codes))
        self.seconds += seconds
        self.runs += 1
        self.worst_s = max(self.worst_s, seconds / n)
        finite = np.isfinite(scores)
        if not finite.all():
            scores = scores[finite]
            self.not_finite += n - len(scores)
        bins = self.bounds.searchsorted(scores, side="right")
        self.scores += np.bincount(bins, minlength=len(self.scores))
        room = SAMPLE_ROWS_MAX - self.sampled
        if room > 0:
            step = max(1, n // room)
            part = matrix[::step][:room].astype(np.float32)
            self.features.append(part)
            self.sampled += len(part)

    def feature_counts(
        self, names: Sequence[str], manifest: Manifest
    ) -> dict[str, tuple[tuple[int, ...], int]]:
        """Return feature -> (counts by bin, missing) of the sample, in the manifest's bins.

        Features without a reference are left out.
        """
        reference = manifest.reference
        if reference is None or not self.features:
            return {}
        rows = np.concatenate(self.features)
        counted = {}
        for column, name in enumerate(names):
            known = reference.features.get(name)
            if known is not None:
                found = count_into(known.edges, rows[:, column])
                counted[name] = (found.counts, found.missing)
        return counted
