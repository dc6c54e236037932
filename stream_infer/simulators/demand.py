"""How many want to drive, by the hour and the day of the week.

Two kinds of corridors: into town, with the higher peak in the morning, and out of town,
with the higher one in the late afternoon; corridors take turns. At weekends there is one
low hump at midday. On top of it each corridor has its own level for each day and a little
for each five minutes. The clock on the wall is UTC.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DAY_MS = 86_400_000
_MINUTE_MS = 60_000
_SLOT_MS = 5 * _MINUTE_MS
_SLOTS = DAY_MS // _SLOT_MS
_DAY_SPREAD = 0.05
_SLOT_SPREAD = 0.03
_WEEKEND_PEAK = 0.68


def is_weekend(day: NDArray[np.int64] | int) -> NDArray[np.bool_] | bool:
    """Say whether days since 1970-01-01, a Thursday, fall on a Saturday or Sunday."""
    return (day + 3) % 7 >= 5


def profiles() -> NDArray[np.float64]:
    """Return demand by minute as a share of the weekday's peak.

    Returns  (2, 2, 1440) float64: weekday or weekend; into or out of town; minute
    """
    hour = np.arange(1_440) / 60
    daytime = 0.14 + 0.42 * _rise(hour, 6.0) * (1 - _rise(hour, 20.5))
    weekend = 0.13 + _hump(hour, 13.5, 4.0)
    shapes = np.empty((2, 2, 1_440))
    for direction, (morning, evening) in enumerate(((0.46, 0.28), (0.26, 0.46))):
        weekday = daytime + morning * _hump(hour, 8.0, 1.0) + evening * _hump(hour, 17.25, 1.3)
        shapes[0, direction] = weekday / weekday.max()
        shapes[1, direction] = _WEEKEND_PEAK * weekend / weekend.max()
    return shapes


class Demand:
    """Demand of each corridor at any time; keeps the two days used last."""

    def __init__(self, seed: int, corridors: int) -> None:
        self._seed = seed
        self._corridors = corridors
        self._profiles = profiles()
        self._direction = np.arange(corridors) % 2
        self._days: dict[int, NDArray[np.float64]] = {}

    def levels(self, times: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (times, corridors) float64, demand as a share of the peak's."""
        day, within = times // DAY_MS, times % DAY_MS
        shapes = self._profiles[is_weekend(day).astype(np.int64)]  # type: ignore[union-attr]
        shape = shapes[np.arange(len(times)), :, within // _MINUTE_MS]
        levels: NDArray[np.float64] = shape[:, self._direction]
        for each in np.unique(day).tolist():
            rows = day == each
            levels[rows] *= self._day(each)[within[rows] // _SLOT_MS]
        return levels

    def _day(self, day: int) -> NDArray[np.float64]:
        """Return (slots, corridors) float64, what a day's demand is multiplied with."""
        if day not in self._days:
            random = np.random.default_rng([self._seed, 1, day])
            whole = 1 + _DAY_SPREAD * random.standard_normal(self._corridors)
            slots = 1 + _SLOT_SPREAD * random.standard_normal((_SLOTS, self._corridors))
            while len(self._days) > 1:
                self._days.pop(next(iter(self._days)))
            self._days[day] = np.clip(whole * slots, 0.7, 1.3)
        return self._days[day]


def _hump(hour: NDArray[np.float64], at: float, spread: float) -> NDArray[np.float64]:
    hump: NDArray[np.float64] = np.exp(-0.5 * ((hour - at) / spread) ** 2)
    return hump


def _rise(hour: NDArray[np.float64], at: float) -> NDArray[np.float64]:
    """Return 0 long before `at`, 1 long after it, half an hour's slope between."""
    rise: NDArray[np.float64] = 1 / (1 + np.exp(-(hour - at) / 0.35))
    return rise
