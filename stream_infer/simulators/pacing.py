"""How quickly a simulation runs beside the clock on the wall: pure rules, no clock of their own.

Each rule answers two questions about events whose times are given: how many of them are
due, and how long to wait for the next one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Pace(Protocol):
    """A rule by which events become due."""

    @property
    def paced(self) -> bool:
        """Whether there is anything to wait for."""
        ...

    def due(self, elapsed_s: float, before: int, times: Sequence[int]) -> int:
        """Return how many of the events are due.

        elapsed_s  since the simulation began
        before     events that came before these
        times      of the events, ms since the epoch, never falling
        """
        ...

    def wait_s(self, elapsed_s: float, before: int, time_ms: int) -> float:
        """Return the seconds until the event at `time_ms` with so many before it is due."""
        ...


@dataclass(frozen=True, slots=True)
class AtOnce:
    """As fast as they can be made and taken."""

    paced: bool = False

    def due(self, elapsed_s: float, before: int, times: Sequence[int]) -> int:
        """Return all of them."""
        return len(times)

    def wait_s(self, elapsed_s: float, before: int, time_ms: int) -> float:
        """Return nothing to wait."""
        return 0.0


@dataclass(frozen=True, slots=True)
class ByRate:
    """So many events a second of wall time, however far apart their own times are.

    >>> ByRate(100.0).due(0.5, 20, [0] * 1_000)
    30
    """

    rate: float
    paced: bool = True

    def due(self, elapsed_s: float, before: int, times: Sequence[int]) -> int:
        """Return what the rate allows by now, less what came before."""
        return min(max(int(elapsed_s * self.rate) - before, 0), len(times))

    def wait_s(self, elapsed_s: float, before: int, time_ms: int) -> float:
        """Return the seconds until the rate allows one more."""
        return max(0.0, (before + 1) / self.rate - elapsed_s)


@dataclass(frozen=True, slots=True)
class BySpeed:
    """When their own time has come; `speed` ms of it pass in one ms of wall time.

    >>> BySpeed(start_ms=1_000, speed=60.0).due(1.0, 0, [1_000, 61_000, 61_001])
    2
    """

    start_ms: int
    speed: float
    paced: bool = True

    def due(self, elapsed_s: float, before: int, times: Sequence[int]) -> int:
        """Return those whose time has come."""
        return bisect_right(times, self.start_ms + int(elapsed_s * 1_000 * self.speed))

    def wait_s(self, elapsed_s: float, before: int, time_ms: int) -> float:
        """Return the seconds until that time comes."""
        return max(0.0, (time_ms - self.start_ms) / 1_000 / self.speed - elapsed_s)
