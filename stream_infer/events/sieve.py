"""Refuse rows of a run of decoded records, one column's check after another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.events.reasons import BadRecord


class Sieve:
    """Which decoded objects are still good; the first refusal of a row is the one told."""

    def __init__(self, rows: NDArray[np.int64], bad: list[BadRecord]) -> None:
        self._rows = rows
        self._bad = bad
        self.good = np.ones(len(rows), dtype=np.bool_)
        self.refused = 0

    def refuse(self, at: NDArray[np.bool_], code: str, message: str) -> None:
        """Refuse the objects where `at` (k,) is true and nothing refused them before."""
        at = at & self.good
        for row in self._rows[at].tolist():
            self._bad.append(BadRecord(row, code, message))
            self.refused += 1
        self.good &= ~at

    def keep_objects(self, objects: list[Any]) -> list[Any]:
        """Return the objects that are still good."""
        return [objects[index] for index in np.flatnonzero(self.good).tolist()]

    def settle(self) -> tuple[NDArray[np.int64], list[BadRecord]]:
        """Return (rows of the good records, the bad ones by row)."""
        if not self.refused:
            return self._rows, self._bad
        self._bad.sort(key=lambda refused: refused.row)
        return self._rows[self.good], self._bad
