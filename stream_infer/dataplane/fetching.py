"""How aiokafka's fetcher is changed for partitions that are read in batches and held back.

aiokafka has one fetch under way per broker. It leaves partitions out of it whose last
records were not taken yet, and it was made for readers that take them at once. Here
partitions are held back, by alignment and by the budget of bytes in flight, and others
must not wait for them. Decision 10 has the figures. The names are private ones of
aiokafka 0.14, which is why its version is pinned.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from aiokafka.structs import TopicPartition

FETCH_MAX_WAIT_MS = 500
"""How long the broker may hold an empty fetch of all partitions. Data ends the wait at once."""

FETCH_PARTIAL_WAIT_MS = 3
"""The same for a fetch that leaves partitions out: those are not asked for until it ends."""

FETCH_PARTITION_BYTES = 1 << 20
"""Of one partition in one fetch: some thousands of events. Larger fetches arrive later, and
their records take memory while they wait."""

GATHER_BYTES = 1 << 20
FLOWING_SECONDS = 0.05
"""Data that came within this time means that more is on its way."""

LOOK_AGAIN_SECONDS = 0.002


def pace_fetches(fetcher: Any, is_ours: Callable[[str], bool]) -> None:
    """Change a started fetcher.

    is_ours  whether a topic's records go to a stage
    """
    # Not 100 ms of patience with a partition whose records nobody has taken.
    fetcher._prefetch_backoff = 0.0
    fetches = fetcher._records = LeanFetches(is_ours)
    decide = fetcher._get_actions_per_node

    def decide_with_wait(assignment: Any) -> Any:
        is_partial = any(tp in fetches for tp in assignment.tps)
        # While data flows, the broker gathers it for a moment: a batch of two records costs
        # nearly as much as one of fifty, and at 2,000 events a second they fill a core.
        is_flowing = time.monotonic() - fetches.last_data_s < FLOWING_SECONDS
        fetcher._fetch_min_bytes = GATHER_BYTES if is_flowing else 1
        short = is_partial or is_flowing
        fetcher._fetch_max_wait_ms = FETCH_PARTIAL_WAIT_MS if short else FETCH_MAX_WAIT_MS
        requests, resets, timeout, *others = decide(assignment)
        ended = all(task.done() for task in fetcher._pending_tasks)
        if not requests and not resets and fetcher._in_flight and ended:
            # The last fetch is over, but the callback that says so has not run yet: aiokafka
            # would look again only after 200 ms.
            timeout = min(timeout, LOOK_AGAIN_SECONDS)
        return requests, resets, timeout, *others

    fetcher._get_actions_per_node = decide_with_wait


class LeanFetches(OrderedDict[TopicPartition, Any]):
    """What was fetched and nobody has taken; records of our stages stay as they were parsed.

    aiokafka wraps each parsed record in a dataclass of eleven fields when it is taken, which
    costs more than parsing it (about 0.7 us of 1.2). Stages read six of those fields, and the
    parsed record has them.

    last_data_s  when something was fetched last, by the clock that never goes back
    """

    def __init__(self, is_ours: Callable[[str], bool]) -> None:
        super().__init__()
        self.last_data_s = float("-inf")
        self._is_ours = is_ours

    def __setitem__(self, tp: TopicPartition, fetched: Any) -> None:
        self.last_data_s = time.monotonic()
        records = getattr(fetched, "_partition_records", None)
        if records is not None and self._is_ours(tp.topic):
            records._consumer_record = _as_parsed
        super().__setitem__(tp, fetched)


def _as_parsed(_tp: TopicPartition, record: Any) -> Any:
    return record
