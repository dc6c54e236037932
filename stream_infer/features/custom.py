"""Custom steps: a user's numba function over a state record per key, in log order.

A step sees each kept event of its key once, in the order of the log, and writes its
features and its record. Events that are not kept (duplicates, and those too old for
the stage's windows) are evaluated on a copy of the record, which is thrown away. A
record starts zeroed, and is zeroed again when the partition's clock is more than
`forget_after` past the newest event that it folded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.durations import parse_duration
from stream_infer.events.columns import EventColumns
from stream_infer.events.measures import NO_VALUE
from stream_infer.features.linked import Links, linked_runner
from stream_infer.features.plan import StagePlan
from stream_infer.features.spec import Custom
from stream_infer.windows.compiled import host
from stream_infer.windows.state import NONE, Results, Rows

_FOLD = 1


@lru_cache(maxsize=64)
def _runner(step: Callable[..., None]) -> Callable[..., None]:
    """Return a kernel that runs one step over a batch; compiled once per process and step."""

    def run(
        records: np.ndarray,
        scratch: np.ndarray,
        slots: NDArray[np.int64],
        times: NDArray[np.int64],
        values: NDArray[np.float64],
        stepped: NDArray[np.int8],
        clock: NDArray[np.int64],
        before: NDArray[np.int64],
        zero: np.ndarray,
        forget_after: int,
        out: NDArray[np.float64],
    ) -> None:
        for i in range(slots.shape[0]):
            if stepped[i] == 0:
                continue
            s = slots[i]
            if before[i] == NONE or before[i] + forget_after < clock[i]:
                records[s] = zero[0]
            if stepped[i] == _FOLD:
                step(records[s], times[i], values[i], out[i])
            else:
                scratch[0] = records[s]
                step(scratch[0], times[i], values[i], out[i])

    return host(run)


class CustomSteps:
    """The custom steps of one stage, with their records.

    records          one structured array a step, a row a slot; the store grows them
    forget_after_ms  of each step
    """

    def __init__(self, plan: StagePlan) -> None:
        self._steps = plan.customs
        self._decimals = plan.decimals
        self._measures = plan.measures
        is_linked = any(custom.linked for _, custom in self._steps)
        self._links = Links(plan.known) if is_linked and plan.known is not None else None
        self.forget_after_ms = [parse_duration(custom.forget_after) for _, custom in self._steps]
        self.records: list[NDArray[Any]] = [np.zeros(0, c.state) for _, c in self._steps]

    def __len__(self) -> int:
        return len(self._steps)

    def link(self, names: Sequence[str], slots: NDArray[np.int64]) -> None:
        """Note which slots keys have, after their records were put back."""
        if self._links is not None and len(names) > 0:
            self._links.place(names, slots)

    def fold(
        self,
        columns: EventColumns,
        names: Sequence[str],
        rows: Rows,
        results: Results,
        features: NDArray[np.float64],
    ) -> None:
        """Run every step over the rows that the windows' kernel has judged; fill `features`.

        names  n keys
        """
        keys = None if self._links is None else self._links.place(names, rows.slot)
        for (at, custom), records, forget_after in zip(
            self._steps, self.records, self.forget_after_ms, strict=True
        ):
            values = self._values(columns, custom)
            out = np.full((len(columns), len(custom.names)), np.nan)
            if custom.linked and self._links is not None:
                linked_runner(custom.step)(
                    records,
                    np.zeros(2, custom.state),
                    self._links.places,
                    rows.slot,
                    keys,
                    rows.time,
                    values,
                    results.stepped,
                    results.clock,
                    results.before,
                    forget_after,
                    np.empty(self._links.places.links.shape[1], np.int64),
                    out,
                )
            else:
                _runner(custom.step)(
                    records,
                    np.zeros(1, custom.state),
                    rows.slot,
                    rows.time,
                    values,
                    results.stepped,
                    results.clock,
                    results.before,
                    np.zeros(1, custom.state),
                    forget_after,
                    out,
                )
            features[:, at : at + len(custom.names)] = out

    def _values(self, columns: EventColumns, custom: Custom) -> NDArray[np.float64]:
        """Return the values that a step reads, (n, len(of)) float64; NaN where one is absent."""
        values = np.empty((len(columns), len(custom.of)), np.float64)
        for v, name in enumerate(custom.of):
            units = columns.values[name]
            values[:, v] = units / 10.0 ** self._decimals[name]
            if name in self._measures:
                values[units == NO_VALUE, v] = np.nan
        return values
