"""The kernels' slow, obvious twins, in plain Python.

They follow the rules in `stream_infer.windows.kernels` by scanning lists of entries,
with Python's own integers and without sums, blocks or searches. Tests hold the kernels
against them bit for bit; an audit may do so with a share of the real keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from stream_infer.events.columns import EVENT, LABEL, NO_POSITION, TICK, EventColumns
from stream_infer.windows.layout import (
    OP_COUNT,
    OP_LAST,
    OP_MAX,
    OP_MEAN,
    OP_RATE,
    OP_SINCE,
    OP_SUM,
    WindowLayout,
)

_NEVER = -math.inf
_BITS_64 = 2**64 - 1


def hash_id(text: str) -> int:
    """Return the hash of an id as `stream_infer.windows.hashing` defines it."""
    h = 0xCBF29CE484222325
    for byte in text.encode("utf-8", "surrogatepass"):
        h = ((h ^ byte) * 0x100000001B3) & _BITS_64
    h = ((h ^ (h >> 33)) * 0xFF51AFD7ED558CCD) & _BITS_64
    h = ((h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53) & _BITS_64
    h ^= h >> 33
    return h - 2**64 if h >= 2**63 else h


@dataclass(slots=True)
class Entry:
    """What a key remembers of one event; a ghost is a label that waits for its event."""

    time: int
    identity: int
    values: tuple[int, ...]
    position: int
    label: int | None = None
    label_time: int = 0
    ghost: bool = False


@dataclass(slots=True)
class _Key:
    entries: list[Entry] = field(default_factory=list)
    newest: float = _NEVER
    touched: float = _NEVER


@dataclass(slots=True)
class TwinRow:
    """What the twin says about one row; `features` is None where the row is no event."""

    accepted: bool = True
    late: bool = False
    duplicate_of: int = NO_POSITION
    features: list[float] | None = None
    kept: bool = False


class TwinFold:
    """The fold of one stage over one partition, row by row.

    layout  what the stage's windows need
    entity  whose windows they are
    """

    def __init__(self, layout: WindowLayout, entity: str) -> None:
        self.layout = layout
        self.entity = entity
        self.clock: float = _NEVER
        self.seen: dict[str, int] = {}
        self.keys: dict[str, _Key] = {}

    def fold(self, columns: EventColumns) -> list[TwinRow]:
        """Fold the rows in order."""
        return [self._row(columns, i) for i in range(len(columns))]

    def _row(self, columns: EventColumns, i: int) -> TwinRow:
        kind, time = int(columns.kind[i]), int(columns.event_time[i])
        if columns.upstream is not None and columns.upstream_offset is not None:
            upstream, offset = int(columns.upstream[i]), int(columns.upstream_offset[i])
            if upstream >= 0:
                name = columns.upstreams[upstream]
                if offset <= self.seen.get(name, -1):
                    return TwinRow(accepted=False)
                self.seen[name] = offset
        if kind in (EVENT, TICK):
            self.clock = max(self.clock, time)
        if kind == EVENT:
            return self._event(columns, i)
        if kind == LABEL and self.layout.folds_labels:
            self._label(columns, i)
        return TwinRow()

    def _key(self, columns: EventColumns, i: int) -> _Key:
        """Return the row's key, empty when it is unknown or forgotten."""
        name = columns.entities[self.entity][i]
        key = self.keys.setdefault(name, _Key())
        if key.touched + self.layout.horizon_ms < self.clock:
            key = self.keys[name] = _Key()
        return key

    def _event(self, columns: EventColumns, i: int) -> TwinRow:
        layout, key = self.layout, self._key(columns, i)
        time, identity = int(columns.event_time[i]), hash_id(columns.ids[i])
        values = tuple(int(columns.values[name][i]) for name in layout.values)
        floor = max(key.newest, time) - layout.horizon_ms
        said = TwinRow(
            late=bool(columns.late[i]), duplicate_of=int(columns.duplicate_of[i]), features=[]
        )
        if layout.first:
            said.late = (
                time < key.newest - layout.lateness_ms or time < self.clock - layout.horizon_ms
            )
        if layout.duplicates:
            original = _find(key, time, identity, floor, ghost=False)
            said.duplicate_of = NO_POSITION if original is None else original.position
        is_new = said.duplicate_of == NO_POSITION
        said.features = [
            _feature(layout, op, key, time, values, floor, is_new=is_new)
            for op in layout.ops.tolist()
        ]
        said.kept = is_new and time > floor and time >= self.clock - layout.horizon_ms
        if said.kept:
            position = (int(columns.source_partition[i]) << 48) | int(columns.source_offset[i])
            self._keep(key, Entry(time, identity, values, position), floor)
        return said

    def _keep(self, key: _Key, entry: Entry, floor: float) -> None:
        ghost = _find(key, entry.time, entry.identity, floor, ghost=True)
        if ghost is not None:
            entry.label, entry.label_time = ghost.label, ghost.label_time
            key.entries.remove(ghost)
        if self.layout.keeps_entries:
            _insert(key, entry)
        key.newest = max(key.newest, entry.time)
        key.touched = max(key.touched, entry.time)

    def _label(self, columns: EventColumns, i: int) -> None:
        key = self._key(columns, i)
        time, identity = int(columns.event_time[i]), hash_id(columns.ids[i])
        label, label_time = int(columns.label[i]), int(columns.label_time[i])
        floor = key.newest - self.layout.horizon_ms
        entry = _find(key, time, identity, floor, ghost=False)
        entry = entry or _find(key, time, identity, floor, ghost=True)
        if entry is None:
            if time > floor and time >= self.clock - self.layout.horizon_ms:
                nothing = (0,) * len(self.layout.values)
                _insert(key, Entry(time, identity, nothing, NO_POSITION, label, label_time, True))
                key.touched = max(key.touched, time)
        elif entry.label is None or label_time >= entry.label_time:
            entry.label, entry.label_time = label, label_time


def _insert(key: _Key, entry: Entry) -> None:
    key.entries.append(entry)
    key.entries.sort(key=lambda e: (e.time, e.identity))


def _find(key: _Key, time: int, identity: int, floor: float, *, ghost: bool) -> Entry | None:
    """Return the visible entry with this id, rather the one at `time`."""
    same = [
        e for e in key.entries if e.identity == identity and e.time > floor and e.ghost == ghost
    ]
    exact = [e for e in same if e.time == time]
    return next(iter(exact + same), None)


def _feature(
    layout: WindowLayout,
    op: list[int],
    key: _Key,
    time: int,
    values: tuple[int, ...],
    floor: float,
    *,
    is_new: bool,
) -> float:
    """Return one feature of one event, from the entries that its window holds."""
    code, upper, lower, current, v, _, labelled_only = op
    until, since = time - int(layout.boundaries[upper]), time - int(layout.boundaries[lower])
    window = [e for e in key.entries if since < e.time <= until and e.time > floor and not e.ghost]
    own = bool(current) and is_new
    scale = float(layout.scales[v]) if v >= 0 else 1.0
    if code == OP_COUNT:
        return float(len(window) + own)
    if code == OP_RATE:
        labelled = [e for e in window if e.label is not None]
        n = len(labelled) if labelled_only else len(window) + own
        return sum(e.label == 1 for e in window) / n if n else 0.0
    if code == OP_LAST:
        return window[-1].values[v] / scale if window else math.nan
    if code == OP_SINCE:
        return (time - window[-1].time) / 1000.0 if window else math.nan
    numbers = [e.values[v] for e in window] + ([values[v]] if own else [])
    return _of_numbers(code, numbers, scale)


def _of_numbers(code: int, numbers: list[int], scale: float) -> float:
    n, total = len(numbers), sum(numbers)
    if code == OP_SUM:
        return float(total) / scale
    if code == OP_MEAN:
        return float(total) / (float(n) * scale) if n else 0.0
    if code == OP_MAX:
        return max(numbers) / scale if n else 0.0
    return deviation(numbers) / scale


def deviation(numbers: list[int]) -> float:
    """Return the sample standard deviation; 0 below two numbers."""
    n = len(numbers)
    if n < 2:
        return 0.0
    return math.sqrt(
        limbs_as_float(n * sum(v * v for v in numbers) - sum(numbers) ** 2)
        / (float(n) * float(n - 1))
    )


def limbs_as_float(number: int) -> float:
    """Return a natural number below 2**192 as float, added up from its 64-bit limbs.

    Python's own float(number) rounds once; the kernel adds three limbs, which may differ in
    the last bit, so the twin adds them too.
    """
    low, middle, high = (number >> shift & _BITS_64 for shift in (0, 64, 128))
    return float(high) * 2.0**128 + float(middle) * 2.0**64 + float(low)
