"""Evidence of the last seconds, added up by version, and by hour of the week. Pure.

Owns what is remembered of evidence: the seconds of a sliding window, and for each version the
scores of each hour, for the same hour of an earlier week is what an hour is fairly compared with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_infer.events.evidence import Evidence

HOUR_MS = 3_600_000
WEEK_HOURS = 168
WEEKS = 4
"""Of the same hour that are remembered; older ones are of another season."""


@dataclass(slots=True)
class Totals:
    """Sums over records of evidence of one version.

    records   how many
    scores    counts by bin; empty before the first record with scores
    features  feature -> (counts by bin, missing)
    """

    records: int = 0
    rows: int = 0
    errors: int = 0
    not_finite: int = 0
    alerts: int = 0
    run_us: int = 0
    worst_us: int = 0
    scores: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    features: dict[str, tuple[NDArray[np.int64], int]] = field(default_factory=dict)

    def add(self, one: Evidence) -> None:
        """Add a record."""
        self.records += 1
        self.rows += one.rows
        self.errors += one.errors
        self.not_finite += one.not_finite
        self.alerts += one.alerts
        self.run_us += one.run_us
        self.worst_us = max(self.worst_us, one.worst_us)
        self.scores = _added(self.scores, one.scores)
        for name, counted in one.features.items():
            counts, missing = self.features.get(name, (np.zeros(0, np.int64), 0))
            self.features[name] = (_added(counts, counted.counts), missing + counted.missing)

    @property
    def row_us(self) -> float:
        """Mean µs a row; 0 before any row."""
        return self.run_us / self.rows if self.rows else 0.0


class EvidenceWindow:
    """What workers saw lately.

    span_ms  how long a record counts
    """

    def __init__(self, span_ms: int) -> None:
        self._span_ms = span_ms
        self._records: dict[str, deque[Evidence]] = {}
        self._hours: dict[tuple[str, int], NDArray[np.int64]] = {}

    def add(self, one: Evidence) -> None:
        """Take a record in. Records of several workers come in any order."""
        self._records.setdefault(one.version, deque()).append(one)
        key = (one.version, one.at // HOUR_MS)
        if key not in self._hours:
            oldest = key[1] - WEEKS * WEEK_HOURS
            self._hours = {at: sums for at, sums in self._hours.items() if at[1] >= oldest}
        before = self._hours.get(key, np.zeros(0, np.int64))
        self._hours[key] = _added(before, one.scores)

    def totals(self, now_ms: int) -> Mapping[str, Totals]:
        """Return the sums of each version that is in the window at a time."""
        found: dict[str, Totals] = {}
        for version, records in list(self._records.items()):
            while records and records[0].at <= now_ms - self._span_ms:
                records.popleft()
            if not records:
                del self._records[version]
                continue
            totals = found[version] = Totals()
            for each in records:
                if each.at > now_ms - self._span_ms:
                    totals.add(each)
        return found

    def usual_scores(self, version: str, now_ms: int) -> NDArray[np.int64]:
        """Return a version's scores at this hour of earlier weeks; empty where none is known."""
        hour, sums = now_ms // HOUR_MS, np.zeros(0, np.int64)
        for weeks in range(1, WEEKS + 1):
            earlier = self._hours.get((version, hour - weeks * WEEK_HOURS))
            sums = sums if earlier is None else _added(sums, earlier)
        return sums


def _added(sums: NDArray[np.int64], more: tuple[int, ...] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sums with more; of other bins, which a new manifest may bring, the new alone."""
    counts = np.asarray(more, np.int64)
    if not len(counts):
        return sums
    return sums + counts if len(sums) == len(counts) else counts.copy()
