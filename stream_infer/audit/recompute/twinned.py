"""A state whose windows are computed a second time, for a share of the keys.

The kernels that a worker folds with also fold for the judge. So that the judge is not only
the accused, `stream_infer.windows.twins` follows the same rules in plain Python; here its
answers are held against the kernels' bit for bit.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stream_infer.dataplane.state import FoldedRows, StageState
from stream_infer.events.columns import EVENT, LABEL, LIST, TICK, EventColumns
from stream_infer.features.fold import Folded, ReadyRows
from stream_infer.features.plan import StagePlan
from stream_infer.windows.twins import TwinFold, TwinRow

_HASHES = 2**32


class TwinnedState:
    """A stage's state for one partition, checked by the twins.

    plan    what the windows fold
    share   of the keys, 0 to 1: those whose name has a small hash, the same in every run
    differs called with the row and what differs
    """

    def __init__(
        self,
        state: StageState,
        plan: StagePlan,
        share: float,
        differs: Callable[[EventColumns, int, str, object, object], None],
    ) -> None:
        self._state = state
        self._plan = plan
        self._twin = TwinFold(plan.layout, plan.entity)
        self._below = share * _HASHES
        self._differs = differs
        self.rows = 0

    def fold(
        self, columns: EventColumns, ready: ReadyRows | None = None, start: int = 0
    ) -> FoldedRows:
        """Fold the rows in order and return what is said about them; see `StageFold.fold`."""
        chosen = self._chosen(columns.entities[self._plan.entity])
        seen = dataclasses.replace(columns, kind=_hidden(columns.kind, chosen))
        folded = self._state.fold(columns, ready, start)
        rows = self._twin.fold(seen)
        for row in np.flatnonzero(chosen & (columns.kind == EVENT)).tolist():
            self.rows += 1
            self._compare(columns, row, folded.folded, rows[row])
        return folded

    def _chosen(self, names: Sequence[str]) -> NDArray[np.bool_]:
        hashes = [zlib.crc32(name.encode("utf-8", "surrogatepass")) for name in names]
        return np.array(hashes, np.int64) < self._below

    def _compare(self, columns: EventColumns, row: int, folded: Folded, twin: TwinRow) -> None:
        if bool(folded.accepted[row]) != twin.accepted:
            self._differs(columns, row, "accepted", twin.accepted, bool(folded.accepted[row]))
            return
        if not twin.accepted or twin.features is None:
            return
        facts = (
            ("late", twin.late, bool(folded.late[row])),
            ("duplicate_of", twin.duplicate_of, int(folded.duplicate_of[row])),
        )
        for name, expected, found in facts:
            if expected != found:
                self._differs(columns, row, name, expected, found)
        features = folded.features[row, self._plan.window_at]
        expected_features = np.array(twin.features, np.float64)
        same = (features == expected_features) | (np.isnan(features) & np.isnan(expected_features))
        for at in np.flatnonzero(~same).tolist():
            name = self._plan.names[self._plan.window_at[at]]
            self._differs(columns, row, name, float(expected_features[at]), float(features[at]))


def _hidden(kinds: NDArray[np.int8], chosen: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Return kinds under which rows of other keys only move the clock, as they do."""
    other = np.where(kinds == EVENT, TICK, np.where(kinds == LABEL, LIST, kinds))
    return np.where(chosen, kinds, other).astype(np.int8)
