"""Evidence by version and hour: for the same hour of earlier weeks, and a day of features. Pure.

A day is the least over which features are fairly compared with those of a manifest: many say what
time it is, or follow it. Workers count a sample of rows a second, as many at night as at noon, so
each hour counts by the rows that were scored in it, and the size of the whole is what a plain
sample of the same accuracy would have.

Source  Kish (1965), Survey Sampling: the effective size of a weighted sample
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_infer.events.evidence import Counted, Evidence
from stream_infer.events.hour_word import HourSums, HourWord

HOUR_MS = 3_600_000
WEEK_HOURS = 168
WEEKS = 4
"""Of the same hour that are remembered; older ones are of another season."""
DAY_HOURS = 24
DAY_HOURS_MIN = 20
"""Of the last 24 in which a version was seen: fewer are not a day, whatever they show."""


@dataclass(slots=True)
class HourTotals:
    """One version in one hour.

    run_us    µs that its runs took
    scores    counts by bin; empty before the first record with scores
    features  feature -> (counts by bin, missing) of the rows that were sampled
    """

    rows: int = 0
    run_us: int = 0
    scores: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    features: dict[str, tuple[NDArray[np.int64], int]] = field(default_factory=dict)

    def add(self, one: Evidence | HourSums) -> None:
        """Add what was seen."""
        self.rows += one.rows
        self.run_us += one.run_us
        self.scores = added(self.scores, one.scores)
        for name, counted in one.features.items():
            counts, missing = self.features.get(name, (np.zeros(0, np.int64), 0))
            self.features[name] = (added(counts, counted.counts), missing + counted.missing)


@dataclass(frozen=True, slots=True)
class Day:
    """A version's features over the last day.

    hours     in how many of them it was seen
    features  feature -> counts by bin, those that are no number last; of a plain sample
    """

    hours: int
    features: dict[str, NDArray[np.float64]]


class EvidenceHours:
    """What is remembered of hours; owns which of them have changed since they were written down."""

    def __init__(self) -> None:
        self._hours: dict[int, dict[str, HourTotals]] = {}
        self._changed: set[int] = set()

    def add(self, one: Evidence) -> None:
        """Take a record in."""
        hour = one.at // HOUR_MS
        if hour not in self._hours:
            oldest = hour - WEEKS * WEEK_HOURS
            self._hours = {at: sums for at, sums in self._hours.items() if at >= oldest}
        self._hours.setdefault(hour, {}).setdefault(one.version, HourTotals()).add(one)
        self._changed.add(hour)

    def restore(self, words: Iterable[HourWord]) -> None:
        """Add what an earlier owner wrote down."""
        for word in words:
            versions = self._hours.setdefault(word.hour, {})
            for version, sums in word.versions.items():
                versions.setdefault(version, HourTotals()).add(sums)

    def changed(self, model: str) -> list[HourWord]:
        """Return what is to be written down: the hours that have changed since the last call."""
        hours, self._changed = sorted(self._changed), set()
        return [_word(model, hour, self._hours[hour]) for hour in hours if hour in self._hours]

    def usual_scores(self, version: str, now_ms: int) -> NDArray[np.int64]:
        """Return a version's scores at this hour of earlier weeks; empty where none is known."""
        hour, sums = now_ms // HOUR_MS, np.zeros(0, np.int64)
        for weeks in range(1, WEEKS + 1):
            earlier = self._hours.get(hour - weeks * WEEK_HOURS, {}).get(version)
            sums = sums if earlier is None else added(sums, earlier.scores)
        return sums

    def row_us(self, version: str, now_ms: int) -> float:
        """Return a version's mean µs a row over the last 24 hours; 0 where none is known."""
        seen = self._last_day(version, now_ms)
        rows = sum(each.rows for each in seen)
        return sum(each.run_us for each in seen) / rows if rows else 0.0

    def day(self, version: str, now_ms: int) -> Day:
        """Return a version's features over the last 24 hours, the present one among them."""
        seen = self._last_day(version, now_ms)
        names = {name for each in seen for name in each.features}
        return Day(len(seen), {name: _weighted(name, seen) for name in sorted(names)})

    def _last_day(self, version: str, now_ms: int) -> list[HourTotals]:
        now = now_ms // HOUR_MS
        found = [self._hours.get(hour, {}).get(version) for hour in range(now, now - DAY_HOURS, -1)]
        return [each for each in found if each is not None and each.rows]


def _weighted(name: str, seen: Iterable[HourTotals]) -> NDArray[np.float64]:
    """Return counts of a feature, each hour by its rows; of the effective size."""
    shares: NDArray[np.float64] | None = None
    rows = noise = 0.0
    for each in seen:
        counts, missing = each.features.get(name, (np.zeros(0, np.int64), 0))
        all_counts = np.append(counts, missing).astype(np.float64)
        sampled = all_counts.sum()
        if not sampled or (shares is not None and len(shares) != len(all_counts)):
            continue
        part = each.rows * all_counts / sampled
        shares = part if shares is None else shares + part
        rows += each.rows
        noise += each.rows**2 / sampled
    if shares is None:
        return np.zeros(0)
    return np.asarray(shares / rows * (rows * rows / noise))


def _word(model: str, hour: int, versions: dict[str, HourTotals]) -> HourWord:
    return HourWord(
        model=model,
        hour=hour,
        versions={
            version: HourSums(
                rows=each.rows,
                run_us=each.run_us,
                scores=tuple(each.scores.tolist()),
                features={
                    name: Counted(counts=tuple(counts.tolist()), missing=missing)
                    for name, (counts, missing) in each.features.items()
                },
            )
            for version, each in versions.items()
        },
    )


def added(sums: NDArray[np.int64], more: tuple[int, ...] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sums with more; of other bins, which a new manifest may bring, the new alone."""
    counts = np.asarray(more, np.int64)
    if not len(counts):
        return sums
    return sums + counts if len(sums) == len(counts) else counts.copy()
