"""What may be committed: up to which offset the outputs of what was handed out are safe.

`PartitionRanges` owns one fact: up to which offset everything handed out has been
completed. It changes in three ways only: `open` (records are handed out), `complete_to`
(the outputs of what stands before an offset are safe) and by being thrown away with the
assignment it belongs to. Faust's own acknowledgements never reach it, because Faust also
acknowledges on exception and on cancellation.
"""

from __future__ import annotations

from collections import deque


class PartitionRanges:
    """The records of one partition in one assignment, in offset order.

    position   the next offset to hand out: where the assignment starts
    committed  the offset that the group is known to have
    """

    def __init__(self, position: int) -> None:
        self.position = position
        self.committed = position
        self._complete_to = position
        self._open: deque[tuple[int, int]] = deque()

    def open(self, first: int, last: int, size: int = 0) -> None:
        """Register offsets, and the bytes behind them, before they are handed out.

        Raises ValueError if they were handed out already: delivering twice would
        fold an event twice.
        """
        if first < self.position or last < first:
            raise ValueError(f"offsets {first}..{last} do not follow position {self.position}")
        self._open.append((last, size))
        self.position = last + 1

    def complete_to(self, offset: int) -> int:
        """Say that every output of the records before `offset` is safe.

        Returns the bytes of the batches that are complete with it. Offsets that were never
        handed out (transaction markers, compacted records) need no care.
        Raises ValueError for an offset that is behind the last one, or was not handed out.
        """
        if not self._complete_to <= offset <= self.position:
            raise ValueError(f"offset {offset} is not within {self._complete_to}..{self.position}")
        self._complete_to = offset
        return self.free_to(offset)

    def free_to(self, offset: int) -> int:
        """Return the bytes of the batches before `offset` that were not freed yet.

        Their outputs are acknowledged, and may still be aborted: nothing becomes committable.
        """
        freed = 0
        while self._open and self._open[0][0] < offset:
            freed += self._open.popleft()[1]
        return freed

    def committable(self) -> int | None:
        """Return the next offset to commit, or None when nothing new is complete."""
        return self._complete_to if self._complete_to > self.committed else None

    def note_committed(self, offset: int) -> None:
        """Remember that `offset` was committed."""
        self.committed = max(self.committed, offset)
