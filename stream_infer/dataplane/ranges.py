"""What may be committed: the ranges of offsets that were delivered and are complete.

`PartitionRanges` owns one fact: up to which offset everything handed out has been
completed. It changes in three ways only: `open` (records are handed out),
`Range.complete` (their outputs are safe) and by being thrown away with the
assignment it belongs to. Faust's own acknowledgements never reach it, because
Faust also acknowledges on exception and on cancellation.
"""

from __future__ import annotations

from collections import deque


class Range:
    """Offsets ``first..last`` of one delivery; `complete` is the only way to finish it.

    owner  the assignment that it was opened in
    """

    __slots__ = ("done", "first", "last", "owner")

    def __init__(self, owner: PartitionRanges, first: int, last: int) -> None:
        self.owner = owner
        self.first = first
        self.last = last
        self.done = False

    def complete(self) -> None:
        """Say that every output of these offsets was acknowledged. Safe to repeat."""
        self.done = True


class PartitionRanges:
    """The ranges of one partition in one assignment, in offset order.

    position  the next offset to hand out: where the assignment starts
    """

    def __init__(self, position: int) -> None:
        self.position = position
        self.committed = position
        self._complete_to = position
        self._open: deque[Range] = deque()

    def open(self, first: int, last: int) -> Range:
        """Register offsets before they are handed out.

        Raises ValueError if they were handed out already: delivering twice would
        fold an event twice.
        """
        if first < self.position or last < first:
            raise ValueError(f"offsets {first}..{last} do not follow position {self.position}")
        opened = Range(self, first, last)
        self._open.append(opened)
        self.position = last + 1
        return opened

    def committable(self) -> int | None:
        """Return the next offset to commit, or None when nothing new is complete.

        It is one past the last of the longest complete prefix. Offsets that were
        never delivered (transaction markers, compacted records) need no care: the
        range after them covers them.
        """
        while self._open and self._open[0].done:
            self._complete_to = self._open.popleft().last + 1
        return self._complete_to if self._complete_to > self.committed else None

    def note_committed(self, offset: int) -> None:
        """Remember that `offset` was committed."""
        self.committed = max(self.committed, offset)

    @property
    def in_flight(self) -> int:
        """Number of ranges that were handed out and are not known to be complete."""
        return sum(not opened.done for opened in self._open)
