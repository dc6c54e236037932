"""Counters of a stage that outlive its partitions.

A task counts what its partition did since it was assigned. Prometheus takes a counter that
falls for a restarted process, and adds the whole new value once more; so what a revoked
partition had counted is kept here, and only sums are shown.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from stream_infer.observability.meter import StageMeter


class StageTotals:
    """Sums by stage over the partitions of now and of before; nothing in it ever falls.

    since_ms  of its meters

    It changes by `opened`, by `closed` and by the counters that it was given. It belongs to
    the event loop, as they do.
    """

    def __init__(self, since_ms: int = 0) -> None:
        self._since_ms = since_ms
        self._meters: dict[str, StageMeter] = {}
        self._open: dict[int, tuple[str, Any]] = {}
        self._closed: dict[str, dict[str, int]] = {}

    def meter(self, stage: str) -> StageMeter:
        """Return the one meter of a stage."""
        return self._meters.setdefault(stage, StageMeter(self._since_ms))

    def opened(self, stage: str, counters: Any) -> None:
        """Show what a task counts from now on.

        counters  a dataclass instance whose fields are whole numbers, of the task
        """
        self._closed.setdefault(stage, {})
        self._open[id(counters)] = stage, counters

    def closed(self, counters: Any) -> None:
        """Keep what a task has counted; it counts nothing more. Safe to repeat."""
        known = self._open.pop(id(counters), None)
        if known is not None:
            _add(self._closed[known[0]], counters)

    def counters(self) -> dict[str, dict[str, int]]:
        """Return stage -> name of the counter -> sum."""
        sums = {stage: closed.copy() for stage, closed in self._closed.items()}
        for stage, counters in self._open.values():
            _add(sums[stage], counters)
        return sums

    def meters(self) -> dict[str, StageMeter]:
        """Return stage -> its meter."""
        return dict(self._meters)


def _add(sums: dict[str, int], counters: Any) -> None:
    # Not `dataclasses.asdict`, which copies deeply: ten times as slow, each second.
    for field in dataclasses.fields(counters):
        sums[field.name] = sums.get(field.name, 0) + getattr(counters, field.name)
