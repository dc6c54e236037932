"""A stretch of one partition's log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stretch:
    """Offsets `start` up to and without `end`."""

    start: int
    end: int

    def __len__(self) -> int:
        return max(0, self.end - self.start)
