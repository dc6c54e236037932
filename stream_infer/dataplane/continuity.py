"""Whether what a fetch brings follows what was taken before: nothing may be passed over unseen.

The client's position moves when records are taken from it, in a thread of its own, whether or not
they arrive: a fetch that began before a rebalance may end after the new assignment's seek, with
records that nobody takes any more. The next fetch then begins behind them. An offset alone cannot
tell, since markers and compacted records leave gaps too; what a fetch began at can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from stream_infer.dataplane.batch import Partition


class Span(NamedTuple):
    """Positions of a partition in the client, before and after records were taken."""

    start: int
    after: int


class Continuity:
    """Where the next fetch of each assigned partition has to begin."""

    def __init__(self) -> None:
        self._next: dict[Partition, int] = {}

    def restart(self, positions: Mapping[Partition, int]) -> None:
        """Forget all partitions, and begin with these."""
        self._next = dict(positions)

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Note that partitions are sought to positions."""
        self._next.update(positions)

    def taken_to(self, partition: Partition) -> int | None:
        """Return up to where a partition's log was taken, None if it is not assigned."""
        return self._next.get(partition)

    def take(self, spans: Mapping[Partition, Span]) -> dict[Partition, int]:
        """Note what was taken; return those that have to be sought back, and where to.

        What was fetched of them does not follow, and must be dropped.
        """
        back: dict[Partition, int] = {}
        for partition, (start, after) in spans.items():
            expected = self._next.get(partition)
            if expected is None:
                continue
            if start == expected:
                self._next[partition] = after
            else:
                back[partition] = expected
        return back
