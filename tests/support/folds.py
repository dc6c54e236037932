"""The same log folded whole and in pieces."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from stream_infer.events.columns import EventColumns
from stream_infer.features.fold import StageFold
from stream_infer.features.plan import StagePlan


def assert_pieces_fold_alike(
    plan: StagePlan, columns: EventColumns, pieces: Iterable[tuple[int, int]]
) -> NDArray[np.float64]:
    """Fold a log whole, and by pieces; return the features, which are the same.

    pieces  rows ``start..end-1`` of each; behind each the state is swept and made anew of its
            snapshot
    """
    whole = StageFold(plan)
    expected = whole.fold(columns).features
    fold, found = StageFold(plan), [np.empty((0, len(plan.names)))]
    for start, end in pieces:
        found.append(fold.fold(columns.slice(start, end)).features)
        fold.sweep()
        fresh = StageFold(plan)
        fresh.restore(fold.snapshot())
        fold = fresh
    np.testing.assert_array_equal(np.concatenate(found), expected)
    assert fold.snapshot() == whole.snapshot()
    return expected
