"""When each record of a topic was written: what latency is measured from. Pure."""

from __future__ import annotations

from bisect import bisect_right

UNKNOWN_MS = -1


class SentTimes:
    """Times of writing by partition and offset, one note a batch.

    firsts  partition -> offset that the topic has next, at the beginning
    """

    def __init__(self, firsts: list[int]) -> None:
        self._next = list(firsts)
        self._offsets: list[list[int]] = [[] for _ in firsts]
        self._times: list[list[int]] = [[] for _ in firsts]

    def note(self, counts: list[int], time_ms: int) -> None:
        """Note that so many records went to each partition at that time, in offset order."""
        for partition, count in enumerate(counts):
            if count:
                self._offsets[partition].append(self._next[partition])
                self._times[partition].append(time_ms)
                self._next[partition] += count

    def time_of(self, partition: int, offset: int) -> int:
        """Return when the record was written, ms since the epoch; UNKNOWN_MS if nobody noted it.

        >>> times = SentTimes([0, 5])
        >>> times.note([3, 0], 100)
        >>> times.note([1, 2], 200)
        >>> [times.time_of(0, 2), times.time_of(0, 3), times.time_of(1, 6), times.time_of(1, 4)]
        [100, 200, 200, -1]
        """
        if not 0 <= partition < len(self._next) or offset >= self._next[partition]:
            return UNKNOWN_MS
        row = bisect_right(self._offsets[partition], offset) - 1
        return self._times[partition][row] if row >= 0 else UNKNOWN_MS
