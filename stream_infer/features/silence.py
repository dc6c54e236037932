"""Which keys have stopped talking, judged within the fold: a function of the log alone.

How long a key is silent is measured by the partition's clock, from when its last event was
folded, in its own usual intervals: a device whose clock is wrong is not silent. Ticks and
other keys' events move the clock; whenever it enters another stretch of `EVERY_MS`, all keys
are looked at. A key that is silent is told then, and again while it stays so, at most every
`REPEAT_MS`: so ten thousand keys that fall silent at once are a bounded stream.

A log that merges partitions of an input may have one of them run an hour ahead of another in
catch-up. So where others of its own input partition speak, a key is measured by them: it is
silent when they have been heard for so long without it. Only behind all of them silent for
`BEHIND_MS`, or with a tick, which says that there is nothing to read, it is by the clock.

Time in which nobody said anything and no tick was written is nobody's silence, but for one
usual interval: a feed that was stopped for an hour comes back without an alarm. What happened
meanwhile nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.compiled import one_form
from stream_infer.durations import parse_duration
from stream_infer.events.columns import EVENT, TICK
from stream_infer.pipeline import Silence
from stream_infer.windows.compiled import kernel, part
from stream_infer.windows.state import NONE, Results, Rows

EVERY_MS = 30_000
JUMP_MS = 60_000
REPEAT_MS = 300_000
BEHIND_MS = 7_200_000
"""Twice what alignment lets partitions be apart in catch-up, by default."""
LEARNING = 8
"""Events before a key's usual interval is believed."""
_SHARE = 1.0 / 16.0
_GAP_TIMES_MAX = 4.0
_INTERVAL_MS_MIN = 1_000.0

RECORD = np.dtype(
    [
        ("heard", np.int64),
        ("newest", np.int64),
        ("said", np.int64),
        ("count", np.int64),
        ("usual_ms", np.float64),
        ("partition", np.int64),
    ]
)
"""State of a key: the clock when it was heard last, its newest event time, the clock when its
silence was told last (times count from NONE, so that 0 is never), its events, its usual
interval in ms, and the partition of the input that it comes from, one more than its number (0
where the log is the input itself)."""


class Silences(NamedTuple):
    """Keys found silent while a batch was folded, by row and then by key.

    rows       row of the batch with which it showed
    keys       which key
    levels     for how many of its usual intervals it has said nothing
    silent_ms  and for how long
    """

    rows: list[int]
    keys: list[str]
    levels: list[float]
    silent_ms: list[int]


@part
def _pass_over(records: Any, moved: Any) -> None:
    """Move every key along with a clock that jumped, but for the time until it was expected.

    Without that, keys that all speak at once every five minutes would never be silent.
    """
    for s in range(records.shape[0]):
        if records[s]["heard"] > 0:
            records[s]["heard"] += max(moved - np.int64(records[s]["usual_ms"]), 0)


@part
def _hear(key: Any, time: Any, now: Any, before: Any, forget_after: Any) -> None:
    """Note an event of a key, and learn how long it usually takes until the next one."""
    at = now - NONE
    if before == NONE or before + forget_after < now:
        key["newest"] = 0
        key["count"] = 0
        key["usual_ms"] = 0.0
    # By its own clock, which may be wrong, but not about how much time has passed.
    gap = float(time - NONE - key["newest"])
    if key["count"] > 0 and gap > 0:
        if key["count"] >= LEARNING:
            gap = min(gap, _GAP_TIMES_MAX * key["usual_ms"])
        key["usual_ms"] += (gap - key["usual_ms"]) * max(1.0 / key["count"], _SHARE)
    key["count"] += 1
    key["heard"] = at
    key["said"] = 0
    key["newest"] = max(key["newest"], time - NONE)


@part
def _reached(key: Any, at: Any, newest: Any, is_tick: Any) -> Any:
    """Return until when a key should have been heard, as its record counts time."""
    if is_tick or key["partition"] == 0:
        return at
    return max(newest[key["partition"]], at - BEHIND_MS)


@part
def _note_newest(records: Any, newest: Any) -> None:
    """Note when anybody of each partition of the input was heard last."""
    newest[:] = 0
    for s in range(records.shape[0]):
        p = records[s]["partition"]
        newest[p] = max(newest[p], records[s]["heard"])


@part
def _level(key: Any, now: Any, until: Any, forget_after: Any) -> float:
    """Return for how many of its usual intervals a key said nothing; 0 where that is not told.

    until  see `_reached`
    """
    at = now - NONE
    if key["count"] < LEARNING or key["usual_ms"] <= 0.0 or key["newest"] + forget_after < at:
        return 0.0
    if key["said"] > 0 and at - key["said"] < REPEAT_MS:
        return 0.0
    level: float = (until - key["heard"]) / max(key["usual_ms"], _INTERVAL_MS_MIN)
    return level


@kernel
def _watch(
    records: Any,
    kinds: Any,
    slots: Any,
    times: Any,
    stepped: Any,
    clocks: Any,
    before: Any,
    upstreams: Any,
    partitions: Any,
    newest: Any,
    clock_before: Any,
    forget_after: Any,
    least: Any,
    found: Any,
    levels: Any,
    start: Any,
    row: Any,
    end: Any,
) -> Any:
    """Watch rows ``row..end-1`` of a batch that begins at `start`.

    Returns     (the next row to watch, silences found)

    records     (slots,) RECORD, written
    partitions  (upstreams + 1,) int64: one more than each upstream's number, and 0 at the end
    newest      (largest of `partitions` + 1,) int64, scratch
    found    (m, 3) int64, written: row, slot and ms of each silence; levels (m,) float64
    It stops early where a look at all keys might find more than there is room for.
    """
    n = 0
    for i in range(row, end):
        now = clocks[i]
        previous = clock_before if i == start else clocks[i - 1]
        looks = previous != NONE and now // EVERY_MS != previous // EVERY_MS
        if looks and n + records.shape[0] > levels.shape[0]:
            return i, n
        if looks and now - previous > JUMP_MS and kinds[i] == EVENT:
            _pass_over(records, now - previous)
        if stepped[i] == 1:
            _hear(records[slots[i]], times[i], now, before[i], forget_after)
            records[slots[i]]["partition"] = partitions[upstreams[i]]
        if looks:
            _note_newest(records, newest)
            for s in range(records.shape[0]):
                until = _reached(records[s], now - NONE, newest, kinds[i] == TICK)
                level = _level(records[s], now, until, forget_after)
                if level >= least:
                    found[n, 0], found[n, 1] = i, s
                    found[n, 2] = until - records[s]["heard"]
                    levels[n] = level
                    records[s]["said"] = now - NONE
                    n += 1
    return end, n


_watch_rows = one_form(_watch)


class SilenceWatch:
    """The watch over the keys of one stage and partition.

    records          RECORD a slot; the store grows and saves them
    forget_after_ms  a key that was silent for longer is forgotten, and told no more
    """

    def __init__(self, silence: Silence) -> None:
        self._least = silence.intervals
        self.forget_after_ms = parse_duration(silence.forget_after)
        self.records: NDArray[Any] = np.zeros(0, RECORD)
        self._partitions = np.zeros(1, np.int64)
        self._newest = np.zeros(1, np.int64)
        self._found, self._levels = np.empty((0, 3), np.int64), np.empty(0, np.float64)

    def _make_room(self, upstreams: Collection[str]) -> None:
        """Note the numbers of the input's partitions, and make room for all keys being silent."""
        if len(upstreams) + 1 != len(self._partitions):
            numbers = [int(name.rpartition("-")[2]) + 1 for name in upstreams]
            # One more, so that index -1 (a record without an upstream) finds 0.
            self._partitions = np.array([*numbers, 0], np.int64)
            self._newest = np.zeros(int(self._partitions.max()) + 1, np.int64)
        room = len(self.records)
        if room > len(self._levels):
            self._found, self._levels = np.empty((room, 3), np.int64), np.empty(room, np.float64)

    def tells(self, clock_before: int, clock: int) -> bool:
        """Say whether a tick that moves the clock so would find anybody silent.

        Cost  a few comparisons of columns; asked at most once a second
        """
        if clock // EVERY_MS == clock_before // EVERY_MS:
            return False
        keys, at = self.records, np.int64(clock) - NONE
        known = (keys["count"] >= LEARNING) & (keys["usual_ms"] > 0)
        known &= keys["newest"] + self.forget_after_ms >= at
        known &= (keys["said"] == 0) | (at - keys["said"] >= REPEAT_MS)
        levels = (at - keys["heard"]) / np.maximum(keys["usual_ms"], _INTERVAL_MS_MIN)
        return bool((known & (levels >= self._least)).any())

    def fold(
        self,
        rows: Rows,
        results: Results,
        clock_before: int | None,
        names: Callable[[NDArray[np.int64]], list[str]],
        upstreams: Collection[str],
        start: int,
        end: int,
    ) -> Silences:
        """Watch rows ``start..end-1``, which the windows' kernel has judged; return who is silent.

        Rows of what is returned count from `start`.

        clock_before  the partition's clock before the batch
        names         slots -> keys
        upstreams     names of the partitions of the input, by which rows number them
        """
        before = NONE if clock_before is None else np.int64(clock_before)
        told: list[tuple[int, str, float, int]] = []
        row = start
        self._make_room(upstreams)
        found, levels = self._found, self._levels
        while True:
            # Called for no rows too, by which a worker loads it before it has any.
            row, count = _watch_rows(
                self.records,
                rows.kind,
                rows.slot,
                rows.time,
                results.stepped,
                results.clock,
                results.before,
                rows.upstream,
                self._partitions,
                self._newest,
                before,
                np.int64(self.forget_after_ms),
                float(self._least),
                found,
                levels,
                start,
                row,
                end,
            )
            if count:  # Hardly ever; asking for no names takes 10 µs.
                told += [
                    (at - start, name, level, silent_ms)
                    for (at, _, silent_ms), name, level in zip(
                        found[:count].tolist(),
                        names(found[:count, 1]),
                        levels[:count].tolist(),
                        strict=True,
                    )
                ]
            if row >= end:
                break
        # By name, since which slot a key has depends on restarts.
        told.sort()
        if not told:
            return Silences([], [], [], [])
        return Silences(*(list(column) for column in zip(*told, strict=True)))
