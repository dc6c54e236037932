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

GATHER_MS_MOST = 12.0
"""How long the broker gathers for a busy worker, where it is not told to gather for longer."""

BUSY, IDLE = 0.75, 0.5
"""Shares of a core above and below which the broker gathers for longer, and for less long."""

LOOK_AT_LOAD_SECONDS = 0.1

FETCH_PARTITION_BYTES = 1 << 20
"""Of one partition in one fetch: some thousands of events. Larger fetches arrive later, and
their records take memory while they wait."""

GATHER_BYTES = FETCH_PARTITION_BYTES
"""Enough to end a wait: what one partition may bring, or a catch-up of one would always wait."""

FLOWING_SECONDS = 0.05
"""Data that came within this time means that more is on its way."""

LOOK_AGAIN_SECONDS = 0.002

TAKE_SECONDS = 0.002
"""How long records may lie untaken before the other partitions are asked for without them."""


def pace_fetches(fetcher: Any, is_ours: Callable[[str], bool], gather_ms: int) -> None:
    """Change a started fetcher.

    is_ours    whether a topic's records go to a stage
    gather_ms  how long the broker gathers while data flows and there is time to spare
    """
    gathering = Gathering(gather_ms, time.monotonic, time.process_time)
    # Not 100 ms of patience with a partition whose records nobody has taken.
    fetcher._prefetch_backoff = 0.0
    fetches = fetcher._records = LeanFetches(is_ours)
    decide = fetcher._get_actions_per_node

    def decide_with_wait(assignment: Any) -> Any:
        is_partial = any(tp in fetches for tp in assignment.tps)
        # While data flows, the broker gathers it for a moment: a batch of two records costs
        # nearly as much as one of fifty.
        age_s = time.monotonic() - fetches.last_data_s
        is_flowing = age_s < FLOWING_SECONDS
        fetcher._fetch_min_bytes = GATHER_BYTES if is_flowing else 1
        fetcher._fetch_max_wait_ms = (
            gathering.wait_ms()
            if is_flowing
            else FETCH_PARTIAL_WAIT_MS
            if is_partial
            else FETCH_MAX_WAIT_MS
        )
        requests, resets, timeout, *others = decide(assignment)
        if requests and is_partial and age_s < TAKE_SECONDS:
            # What has just come is about to be taken, which ends this wait. Asked for without
            # those partitions now, the broker would keep them waiting twice as long.
            requests, timeout = [], min(timeout, TAKE_SECONDS - age_s)
        ended = all(task.done() for task in fetcher._pending_tasks)
        if not requests and not resets and fetcher._in_flight and ended:
            # The last fetch is over, but the callback that says so has not run yet: aiokafka
            # would look again only after 200 ms.
            timeout = min(timeout, LOOK_AGAIN_SECONDS)
        return requests, resets, timeout, *others

    fetcher._get_actions_per_node = decide_with_wait


def keep_as_parsed(consumer: Any) -> None:
    """Have a started consumer that reads for stages alone hand its records out as parsed."""
    consumer._fetcher._records = LeanFetches(lambda _topic: True)


class Gathering:
    """How long the broker gathers while data flows: as short as it is told and can bear.

    Each fetch costs some milliseconds of work, however little it brings. A process that
    cannot keep up with short waits answers later than one that waits longer and fetches less
    often: with two stages and 2,000 events a second the median fell from 46 ms to 19 ms when
    the broker waited 6 ms instead of 3.

    least_ms  what it is told
    seconds   a clock that never goes back
    worked    seconds of processor time that this process has used
    """

    def __init__(
        self, least_ms: float, seconds: Callable[[], float], worked: Callable[[], float]
    ) -> None:
        self._least_ms = least_ms
        self._most_ms = max(least_ms, GATHER_MS_MOST)
        self._seconds = seconds
        self._worked = worked
        self._looked_at = seconds()
        self._worked_then = worked()
        self._wait_ms = least_ms

    def wait_ms(self) -> int:
        """Return how long the broker should wait now, whole ms."""
        passed = self._seconds() - self._looked_at
        if passed >= LOOK_AT_LOAD_SECONDS:
            worked = self._worked()
            share = (worked - self._worked_then) / passed
            self._looked_at += passed
            self._worked_then = worked
            if share > BUSY:
                self._wait_ms = min(self._most_ms, self._wait_ms * 1.5)
            elif share < IDLE:
                self._wait_ms = max(self._least_ms, self._wait_ms / 1.2)
        return round(self._wait_ms)


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
