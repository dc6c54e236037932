"""Repeated figures: their spread, and their ratio to a baseline of the same run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """The values of one figure over the repeats; None where a run gave none."""

    values: tuple[float | None, ...]

    @property
    def known(self) -> list[float]:
        """Values that were measured, sorted."""
        return sorted(value for value in self.values if value is not None)

    @property
    def median(self) -> float | None:
        """Median of the known values."""
        return statistics.median(self.known) if self.known else None

    def describe(self) -> dict[str, Any]:
        """Return min, median, max and all values."""
        known = self.known
        return {
            "min": known[0] if known else None,
            "median": self.median,
            "max": known[-1] if known else None,
            "values": list(self.values),
        }


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured, for the worker and for baselines in the same run.

    name       such as ``single stage, trees``
    unit       such as ``events/s``
    worker     values of the worker, one a repeat
    baselines  name of the baseline -> its values, in the same order
    """

    name: str
    unit: str
    worker: Spread
    baselines: dict[str, Spread] = field(default_factory=dict)

    def ratio(self, baseline: str) -> float | None:
        """Return worker / baseline, the median over repeats.

        Taken repeat by repeat, because what else a machine does changes in between.
        """
        pairs = zip(self.worker.values, self.baselines[baseline].values, strict=True)
        ratios = [ours / theirs for ours, theirs in pairs if ours is not None and theirs]
        return statistics.median(ratios) if ratios else None

    def describe(self) -> dict[str, Any]:
        """Return the figure, JSON-encodable."""
        return {
            "name": self.name,
            "unit": self.unit,
            "worker": self.worker.describe(),
            "baselines": {
                name: spread.describe() | {"ratio": self.ratio(name)}
                for name, spread in self.baselines.items()
            },
        }


def collect(
    name: str,
    unit: str,
    worker: Sequence[float | None],
    baselines: dict[str, list[float | None]] | None = None,
) -> Figure:
    """Return a figure from values of repeats."""
    others = {key: Spread(tuple(values)) for key, values in (baselines or {}).items()}
    return Figure(name, unit, Spread(tuple(worker)), others)


def text_of(spread: Spread) -> str:
    """Return ``median (min..max)`` for people, with as many digits as mean something."""
    known = spread.known
    if not known or spread.median is None:
        return "-"
    if len(known) == 1:
        return _number(known[0])
    return f"{_number(spread.median)} ({_number(known[0])}..{_number(known[-1])})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
