"""Holds a partition's rows until the partitions beside it have come as far in event time.

`stream_infer.dataplane.alignment` has the rules; this is the waiting, and its end when one of
the others does not move.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import structlog
from numpy.typing import NDArray

from stream_infer.dataplane.alignment import NO_LIMIT, AlignmentGroup
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.counters import Counters
from stream_infer.dataplane.surroundings import Surroundings

log = structlog.get_logger("stream_infer.dataplane")

BREACH_LOG_INTERVAL_S = 60.0


class Hold:
    """The waiting of one partition.

    source    topic and partition
    group     the partitions that it is read in step with
    counters  where waits and breaches are counted
    """

    def __init__(
        self,
        source: Partition,
        group: AlignmentGroup,
        surroundings: Surroundings,
        counters: Counters,
    ) -> None:
        self.is_held = False
        self._source = source
        self._group = group
        self._around = surroundings
        self._counters = counters
        self._breach_told_at: float | None = None

    async def permitted(
        self, progress: NDArray[np.int64], start: int, refresh_head: Callable[[], None]
    ) -> int:
        """Wait until rows may be folded; return the end of those that may, above `start`.

        progress      (n,) int64 ms, the time by which each row of the batch advances
        start         first row that was not folded
        refresh_head  tells the group where this partition stands
        """
        rows = len(progress)
        if start >= rows:
            return rows
        stalled_since = self._around.seconds()
        held_by: tuple[Partition | None, int | None] = (None, None)
        while True:
            refresh_head()
            limit = self._group.limit(self._source)
            end = _rows_up_to(progress, start, limit)
            if end == rows or self._is_worth_a_step(int(progress[start]), limit):
                return max(end, start + 1)
            self._counters.align_waits += 1
            holder = self._group.holder(self._source)
            if (holder, limit) != held_by:
                held_by, stalled_since = (holder, limit), self._around.seconds()
            patience = self._around.align_wait_max_s
            if self._around.is_restoring():
                stalled_since = self._around.seconds()
            if patience is not None and self._around.seconds() - stalled_since > patience:
                self._counters.align_breaches += 1
                self._tell_breach(holder)
                return rows
            self.is_held = True
            try:
                await self._around.wait_progress()
            finally:
                self.is_held = False

    def _is_worth_a_step(self, next_ms: int, limit: int | None) -> bool:
        """Say whether the rows up to `limit` are worth a step of their own.

        Partitions that wait for each other would otherwise creep forward by a few rows
        and an acknowledgement each. The lowest head may always go on by the whole skew.
        """
        return limit is not None and limit - next_ms >= self._group.skew_ms // 2

    def _tell_breach(self, holder: Partition | None) -> None:
        """Log that rows are folded out of step; at most once a minute, for each batch may do so."""
        now, told = self._around.seconds(), self._breach_told_at
        if told is None or now - told >= BREACH_LOG_INTERVAL_S:
            self._breach_told_at = now
            log.warning("alignment_breached", source=str(self._source), held_by=str(holder))


def _rows_up_to(progress: NDArray[np.int64], start: int, limit: int | None) -> int:
    """Return the end of the run of rows from `start` whose time is not above `limit`."""
    if limit is None:
        return start
    if limit >= NO_LIMIT:
        return len(progress)
    above = np.flatnonzero(progress[start:] > limit)
    return len(progress) if len(above) == 0 else start + int(above[0])
