"""How long a partition's commits have stood still although records are in work.

Seen from outside, once a second, so that no step pays for it: a batch is stuck when the group's
committed offset stays behind what was handed out and does not move.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

Place = TypeVar("Place", bound=Hashable)


class ProgressWatch(Generic[Place]):
    """Since when each partition's committed offset has not moved."""

    def __init__(self) -> None:
        self._seen: dict[Place, tuple[int, float]] = {}

    def look(self, offsets: Mapping[Place, tuple[int, int]], now_s: float) -> dict[Place, float]:
        """Return partition -> seconds without movement, 0 when nothing is in work.

        offsets  partition -> (committed, handed out): the next offset to commit and the next
                 to hand out. A partition that is not among them is forgotten
        now_s    monotonic clock
        """
        seen: dict[Place, tuple[int, float]] = {}
        for partition, (committed, handed_out) in offsets.items():
            before = self._seen.get(partition)
            idle = committed >= handed_out
            moved = before is None or before[0] != committed
            seen[partition] = (committed, now_s) if idle or moved or not before else before
        self._seen = seen
        return {partition: now_s - since for partition, (_, since) in seen.items()}
