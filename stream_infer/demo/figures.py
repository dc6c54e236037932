"""Latencies as counts by the millisecond, and rates of the last seconds. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MS_MAX = 60_000
RATES_KEPT = 60


@dataclass(slots=True)
class Latencies:
    """How many took so many whole milliseconds; what took longer than a minute counts as one.

    >>> taken = Latencies()
    >>> taken.add([4, 5, 5, 900])
    >>> taken.percentile(50), taken.percentile(99)
    (5, 900)
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(MS_MAX + 1, np.int64))

    def add(self, taken_ms: Sequence[int]) -> None:
        """Count these."""
        if taken_ms:
            np.add.at(self.counts, np.clip(taken_ms, 0, MS_MAX), 1)

    def merged(self, other: Latencies) -> Latencies:
        """Return the counts of both."""
        return Latencies(self.counts + other.counts)

    def percentile(self, percent: float) -> int | None:
        """Return the shortest time that so many percent did not exceed; None when nothing came."""
        total = int(self.counts.sum())
        if total == 0:
            return None
        rank = max(1, int(np.ceil(total * percent / 100)))
        return int(np.searchsorted(np.cumsum(self.counts), rank))

    def as_json(self) -> dict[str, int | None]:
        """Return the three that are told."""
        return {
            "p50": self.percentile(50),
            "p99": self.percentile(99),
            "p999": self.percentile(99.9),
        }


@dataclass(slots=True)
class Rates:
    """Events a second, measured once a look."""

    kept: deque[float] = field(default_factory=lambda: deque(maxlen=RATES_KEPT))
    _last: tuple[float, int] | None = None

    def look(self, now_s: float, total: int, every_s: float = 0.5) -> None:
        """Note how many there are by now; looks in quick succession are one."""
        if self._last is None:
            self._last = (now_s, total)
            return
        then_s, before = self._last
        if now_s - then_s >= every_s:
            self.kept.append((total - before) / (now_s - then_s))
            self._last = (now_s, total)

    @property
    def now(self) -> float:
        """Mean of the last two seconds."""
        last = list(self.kept)[-4:]
        return sum(last) / len(last) if last else 0.0
