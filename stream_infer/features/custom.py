"""Custom steps: a user's numba function over a state record per key, in log order.

A step sees each kept event of its key once, in the order of the log, and writes its
features and its record. One that learns also sees each label of its key. Events that
are not kept (duplicates, and those too old for the stage's windows) are evaluated on a
copy of the record, which is thrown away. A record starts zeroed, and is zeroed again when
the partition's clock is more than `forget_after` past the newest event that it folded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.compiled import one_form
from stream_infer.durations import parse_duration
from stream_infer.events.columns import LABEL, EventColumns
from stream_infer.events.measures import NO_VALUE
from stream_infer.features.linked import CustomRows, Links
from stream_infer.features.plan import StagePlan
from stream_infer.features.spec import Custom
from stream_infer.windows.compiled import host
from stream_infer.windows.state import NONE, Results, Rows

_FOLD = 1


@lru_cache(maxsize=64)
def _runner(step: Callable[..., None], _state: np.dtype[Any]) -> Callable[..., None]:
    """Return a kernel that runs one step over a batch.

    Compiled once per process, step and form of its records; `scratch` is a record to try on, and
    one that is zero.
    """

    def run(
        records: np.ndarray,
        scratch: np.ndarray,
        slots: NDArray[np.int64],
        times: NDArray[np.int64],
        values: NDArray[np.float64],
        stepped: NDArray[np.int8],
        clock: NDArray[np.int64],
        before: NDArray[np.int64],
        forget_after: int,
        out: NDArray[np.float64],
        start: int,
        end: int,
    ) -> None:
        for i in range(start, end):
            if stepped[i] == 0:
                continue
            s = slots[i]
            if before[i] == NONE or before[i] + forget_after < clock[i]:
                records[s] = scratch[1]
            if stepped[i] == _FOLD:
                step(records[s], times[i], values[i], out[i])
            else:
                scratch[0] = records[s]
                step(scratch[0], times[i], values[i], out[i])

    return one_form(host(run))


@lru_cache(maxsize=64)
def _learner(
    step: Callable[..., None], learn: Callable[..., None], _state: np.dtype[Any]
) -> Callable[..., None]:
    """Return a kernel as `_runner` does, for a step that learns from labels.

    A label whose key was forgotten is learnt into a record that is zeroed before anything reads
    it: so it changes nothing, whether or not memory was given back meanwhile.
    """

    def run(
        records: np.ndarray,
        scratch: np.ndarray,
        rows: Rows,
        values: NDArray[np.float64],
        results: Results,
        forget_after: int,
        out: NDArray[np.float64],
        start: int,
        end: int,
    ) -> None:
        for i in range(start, end):
            s = rows.slot[i]
            if rows.kind[i] == LABEL:
                if results.accepted[i]:
                    learn(records[s], rows.ids[i], rows.time[i], rows.label[i], rows.label_time[i])
                continue
            if results.stepped[i] == 0:
                continue
            before = results.before[i]
            if before == NONE or before + forget_after < results.clock[i]:
                records[s] = scratch[1]
            if results.stepped[i] == _FOLD:
                step(records[s], rows.ids[i], rows.time[i], values[i], out[i])
            else:
                scratch[0] = records[s]
                step(scratch[0], rows.ids[i], rows.time[i], values[i], out[i])

    return one_form(host(run))


def custom_rows(plan: StagePlan, custom: Custom, columns: EventColumns) -> CustomRows:
    """Return what a step reads of rows, and room for what it writes."""
    values = np.empty((len(columns), len(custom.of)), np.float64)
    for v, name in enumerate(custom.of):
        if name not in columns.values:
            # Labels and ticks bring no features, and their rows are not stepped.
            values[:, v] = columns.features[:, plan.earlier.index(name)]
            continue
        units = columns.values[name]
        values[:, v] = units / 10.0 ** plan.decimals[name]
        if name in plan.measures:
            values[units == NO_VALUE, v] = np.nan
    keys = None
    if custom.linked and plan.known is not None:
        keys = plan.known.indices(columns.entities[plan.entity])
    return CustomRows(values, keys, np.full((len(columns), len(custom.names)), np.nan))


class CustomSteps:
    """The custom steps of one stage, with their records.

    records          one structured array a step, a row a slot; the store grows them
    forget_after_ms  of each step
    """

    def __init__(self, plan: StagePlan) -> None:
        self._steps = [custom for _, custom in plan.customs]
        is_linked = any(custom.linked for custom in self._steps)
        self._links = Links(plan.known) if is_linked and plan.known is not None else None
        self.forget_after_ms = [parse_duration(custom.forget_after) for custom in self._steps]
        self.records: list[NDArray[Any]] = [np.zeros(0, custom.state) for custom in self._steps]
        # A record to try on, and one that stays zero.
        self._scratch = [np.zeros(2, custom.state) for custom in self._steps]

    def __len__(self) -> int:
        return len(self._steps)

    def link(self, names: Sequence[str], slots: NDArray[np.int64]) -> None:
        """Note which slots keys have, after their records were put back."""
        if self._links is not None and len(names) > 0:
            self._links.place(names, slots)

    def fold(
        self, ready: Sequence[CustomRows], rows: Rows, results: Results, start: int, end: int
    ) -> None:
        """Run every step over rows ``start..end-1``, which the windows' kernel has judged."""
        for custom, records, scratch, forget_after, own in zip(
            self._steps, self.records, self._scratch, self.forget_after_ms, ready, strict=True
        ):
            if own.keys is not None and self._links is not None:
                self._links.run(
                    custom, records, scratch, rows, results, own, forget_after, start, end
                )
                continue
            if custom.learn is not None:
                _learner(custom.step, custom.learn, custom.state)(
                    records,
                    scratch,
                    rows,
                    own.values,
                    results,
                    forget_after,
                    own.out,
                    start,
                    end,
                )
                continue
            _runner(custom.step, custom.state)(
                records,
                scratch,
                rows.slot,
                rows.time,
                own.values,
                results.stepped,
                results.clock,
                results.before,
                forget_after,
                own.out,
                start,
                end,
            )
