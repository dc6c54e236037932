"""What a stage measures while it works: time by step, sizes of batches, ages of events.

`StageMeter` owns these sums for one stage, over all its partitions and for the life of the
process, so they never fall. It belongs to the event loop: whoever adds to it or reads it runs
there, and nothing is locked. A lap costs 0.15 us, a batch 0.25 us; the ages of one row 0.5 us,
of 64 rows 6 us, of a thousand 12 us.

    began = perf_counter()
    read = reader.read(batch)
    began = meter.lap(READ, began)
    folded = state.fold(read.columns)
    began = meter.lap(FOLD, began)
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

READ, FOLD, SCORE, EMIT, SEND = range(5)
STEPS = ("read", "fold", "score", "emit", "send")
"""Names of the steps by number. ``send`` waits for Kafka; the others compute."""

BATCH_RECORDS_BOUNDS = tuple(float(1 << power) for power in range(0, 15, 2))
AGE_SECONDS_BOUNDS = (
    *(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0),
)
"""From what one hop through Kafka takes to an hour, about a factor of two apart where a limit
on latency is usually drawn."""

SMALL_BATCH_ROWS = 12
"""Up to here a loop is quicker than numpy, whose calls take 5 us for one row as for fifty."""

CODES_MAX = 100
OTHER_CODE = "other"


@dataclass(frozen=True, slots=True)
class HistogramFacts:
    """A histogram as it stood.

    bounds  upper bounds of all buckets but the last, which has none
    counts  values by bucket, one more than bounds; not cumulative
    total   sum of the values
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


class Histogram:
    """Counts values by fixed bounds; a value equal to a bound is below it, as in Prometheus."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def facts(self) -> HistogramFacts:
        """Return it as it stands."""
        return HistogramFacts(self.bounds, tuple(self.counts), self.total)


class AgeHistogram(Histogram):
    """Ages of events in seconds, counted from their times in ms.

    since_ms  events before it are not counted
    """

    __slots__ = ("_since_ms", "_thresholds")

    def __init__(self, since_ms: int) -> None:
        super().__init__(AGE_SECONDS_BOUNDS)
        self._since_ms = since_ms
        # Instead of the ages the times are compared, with the bounds taken from the clock:
        # no array but the places is made. The last one finds events ahead of the clock.
        bounds_ms = [round(bound * 1000) for bound in reversed(AGE_SECONDS_BOUNDS)]
        self._thresholds = np.array([*bounds_ms, -1])

    def add_times(self, event_time: NDArray[np.int64], now_ms: int) -> None:
        """Count the ages of (n,) times in ms; an event ahead of the clock has the age 0."""
        if len(event_time) <= SMALL_BATCH_ROWS:
            for time_ms in event_time.tolist():
                if time_ms >= self._since_ms:
                    self.add(max(now_ms - time_ms, 0) / 1000)
            return
        event_time = event_time[event_time >= self._since_ms]
        met = (now_ms - self._thresholds).searchsorted(event_time, side="right")
        *by_met, ahead = np.bincount(met, minlength=len(self._thresholds) + 1).tolist()
        by_met[-1] += ahead
        self.counts = [old + new for old, new in zip(self.counts, reversed(by_met), strict=True)]
        if ahead:
            event_time = np.minimum(event_time, now_ms)
        self.total += (len(event_time) * now_ms - int(event_time.sum())) / 1000


@dataclass(frozen=True, slots=True)
class MeterFacts:
    """A meter as it stood.

    step_seconds   seconds by step, in the order of `STEPS`
    batch_records  records of one step
    event_age      seconds between an event's time and its being scored
    dead_letters   code -> how many
    """

    step_seconds: tuple[float, ...]
    batch_records: HistogramFacts
    event_age: HistogramFacts
    dead_letters: dict[str, int]


class StageMeter:
    """The sums of one stage.

    since_ms  wall clock; ages are measured of events that happened since then. Given the start
              of the worker, what it catches up with is left out: that age says how long the
              worker was away, and not how slow it is
    """

    __slots__ = ("_ages", "_batches", "_dead_letters", "_seconds")

    def __init__(self, since_ms: int = 0) -> None:
        self._seconds = [0.0] * len(STEPS)
        self._batches = Histogram(BATCH_RECORDS_BOUNDS)
        self._ages = AgeHistogram(since_ms)
        self._dead_letters: dict[str, int] = {}

    def lap(self, step: int, began: float) -> float:
        """Add the time since `began` (of `perf_counter`) to a step; return the time now."""
        now = perf_counter()
        self._seconds[step] += now - began
        return now

    def lap_within(self, step: int, around: int, began: float) -> None:
        """Add the time since `began` to a step in the middle of another, and not to that one.

        around  the step whose own lap, over the whole time, is still to come
        """
        seconds = perf_counter() - began
        self._seconds[step] += seconds
        self._seconds[around] -= seconds

    def batch(self, records: int) -> None:
        """Count one step over so many records."""
        self._batches.add(records)

    def ages(self, event_time: NDArray[np.int64], now_ms: int) -> None:
        """Count how old events were when they were scored.

        event_time  (n,) int64, ms since the epoch
        now_ms      the wall clock. An event that is ahead of it has the age 0
        """
        self._ages.add_times(event_time, now_ms)

    def dead_letter(self, code: str) -> None:
        """Count a dead letter. Codes beyond the first hundred are counted as one."""
        counts = self._dead_letters
        if code not in counts and len(counts) >= CODES_MAX:
            code = OTHER_CODE
        counts[code] = counts.get(code, 0) + 1

    def facts(self) -> MeterFacts:
        """Return it as it stands."""
        return MeterFacts(
            tuple(self._seconds),
            self._batches.facts(),
            self._ages.facts(),
            dict(self._dead_letters),
        )
