"""Which columns and boundaries a stage's windows need, as plain numbers.

A `WindowLayout` is what the declarations of one stage compile to. Every window
(t - delay - w, t - delay] is cut by two boundaries, t - delay and t - delay - w;
features share boundaries, so each is searched once per event. An op is one feature:

    ops[k] = (code, upper, lower, current, value, square, extra)

    code     one of the OP_ words below
    upper    index of the boundary where the window ends (included)
    lower    index of the boundary where it starts (excluded)
    current  1 when the event itself counts
    value    index of the value column, or -1
    square   index of the value among those with sums of squares, or -1
    extra    OP_RATE: 1 when only labelled entries are the denominator
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OP_COUNT = 0
OP_SUM = 1
OP_MEAN = 2
OP_STD = 3
OP_MAX = 4
OP_RATE = 5
OP_LAST = 6
OP_SINCE = 7

OP_WIDTH = 7


@dataclass(frozen=True, slots=True, eq=False)
class WindowLayout:
    """What one stage's kernels are told.

    horizon_ms    entries older than this behind their key's newest event are invisible
    lateness_ms   an event this far behind its key's newest event is late
    first         whether this stage decides `late` and `duplicate_of`
    duplicates    whether this stage looks for ids seen before (only where `first`)
    folds_labels  whether LABEL rows change entries
    boundaries    (b,) int64, offsets in ms behind the event, strictly ascending
    ops           (k, OP_WIDTH) int64, one row a feature
    values        names of the value columns that entries keep
    scales        (values,) float64, 10 to the declared decimals
    squares       (q,) int64, which values have sums of squares
    """

    horizon_ms: int
    lateness_ms: int
    first: bool
    duplicates: bool
    folds_labels: bool
    boundaries: NDArray[np.int64]
    ops: NDArray[np.int64]
    values: tuple[str, ...]
    scales: NDArray[np.float64]
    squares: NDArray[np.int64]

    @property
    def finds_ids(self) -> bool:
        """Whether entries are looked up by id, so that blocks carry a filter."""
        return self.duplicates or self.folds_labels

    @property
    def keeps_entries(self) -> bool:
        """Whether events leave entries at all; custom steps alone need none."""
        return self.finds_ids or len(self.ops) > 0
