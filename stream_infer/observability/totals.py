"""Counters of a stage that outlive its partitions.

A task counts what its partition did since it was assigned. Prometheus takes a counter that
falls for a restarted process, and adds the whole new value once more; so what a revoked
partition had counted is kept here, and only sums are shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from stream_infer.observability.facts import TransactionFacts
from stream_infer.observability.meter import StageMeter


class StageTotals:
    """Sums by stage over the partitions of now and of before; nothing in it ever falls.

    since_ms  of its meters

    It changes by `opened`, `closed`, `transacting` and by the counters that it was given. It
    belongs to the event loop, as they do.
    """

    def __init__(self, since_ms: int = 0) -> None:
        self._since_ms = since_ms
        self._meters: dict[str, StageMeter] = {}
        self._open: dict[int, tuple[str, Any]] = {}
        self._closed: dict[str, dict[str, int]] = {}
        self._transacting: Callable[[], Sequence[TransactionFacts]] = tuple
        self._ended: dict[str, tuple[int, int]] = {}

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

    def transacting(self, facts: Callable[[], Sequence[TransactionFacts]]) -> None:
        """Show the transactions of an assignment; what those before have counted is kept."""
        for each in self.transactions():
            self._ended[each.stage] = each.commits, each.aborts
        self._transacting = facts

    def transactions(self) -> list[TransactionFacts]:
        """Return how the transactions of each stage stand; commits and aborts of all assignments.

        A stage of before, which has none now, is not shown.
        """
        shown = []
        for each in self._transacting():
            commits, aborts = self._ended.get(each.stage, (0, 0))
            shown.append(
                dataclasses.replace(
                    each, commits=each.commits + commits, aborts=each.aborts + aborts
                )
            )
        return shown

    def meters(self) -> dict[str, StageMeter]:
        """Return stage -> its meter."""
        return dict(self._meters)


def _add(sums: dict[str, int], counters: Any) -> None:
    # Not `dataclasses.asdict`, which copies deeply: ten times as slow, each second.
    for field in dataclasses.fields(counters):
        sums[field.name] = sums.get(field.name, 0) + getattr(counters, field.name)
