"""Evidence of the last seconds, added up by version. Pure.

Owns what is remembered of evidence: the seconds of a sliding window, and the hours that they are
compared with (`stream_infer.guardrails.hours`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_infer.events.evidence import Evidence
from stream_infer.guardrails.hours import EvidenceHours, added

RUN_US = 100
"""More than the runtime takes for a run of one row through a hundred trees."""


@dataclass(slots=True)
class Totals:
    """Sums over records of evidence of one version.

    records   how many
    scores    counts by bin; empty before the first record with scores
    """

    records: int = 0
    rows: int = 0
    errors: int = 0
    not_finite: int = 0
    alerts: int = 0
    run_us: int = 0
    runs: int = 0
    worst_us: int = 0
    scores: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, one: Evidence) -> None:
        """Add a record."""
        self.records += 1
        self.rows += one.rows
        self.errors += one.errors
        self.not_finite += one.not_finite
        self.alerts += one.alerts
        self.run_us += one.run_us
        self.runs += one.runs
        self.worst_us = max(self.worst_us, one.worst_us)
        self.scores = added(self.scores, one.scores)

    @property
    def row_us(self) -> float:
        """Mean µs a row; 0 before any row."""
        return self.run_us / self.rows if self.rows else 0.0

    @property
    def sure_row_us(self) -> float:
        """The same without what a run costs whatever its rows: one alone is no slow version."""
        return max(0, self.run_us - RUN_US * self.runs) / self.rows if self.rows else 0.0


class EvidenceWindow:
    """What workers saw lately.

    span_ms  how long a record counts
    hours    gets every record, too
    """

    def __init__(self, span_ms: int, hours: EvidenceHours | None = None) -> None:
        self._span_ms = span_ms
        self._records: dict[str, deque[Evidence]] = {}
        self.hours = hours or EvidenceHours()

    def add(self, one: Evidence) -> None:
        """Take a record in. Records of several workers come in any order."""
        self._records.setdefault(one.version, deque()).append(one)
        self.hours.add(one)

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
        return self.hours.usual_scores(version, now_ms)
