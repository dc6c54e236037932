"""How many commit markers a run wrote, and for how long the last stable offset stood behind.

Both come from the batches' headers: the times are the broker's, and nothing was measured by the
process that ran.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream_infer.benchmark.batches import HEADER, Batches, stable_delays
from stream_infer.benchmark.paced import PacedRun


@dataclass(frozen=True, slots=True)
class MarkerFigures:
    """One run.

    markers_per_s       in the logs that it wrote to and in the group's offsets
    transactions_per_s  of all its stages: each has one marker in the group's offsets
    delay_p50_ms, delay_p99_ms  from the append of a batch until the last stable offset passed it
    read_p50_ms, read_p99_ms    from the input's append until a reader had its output
    processor_percent   of a core, used by the worker
    """

    markers_per_s: float | None
    transactions_per_s: float | None
    delay_p50_ms: float | None
    delay_p99_ms: float | None
    read_p50_ms: float | None
    read_p99_ms: float | None
    processor_percent: float | None


def marker_figures(
    outputs: Sequence[Batches], offsets: Sequence[Batches], run: PacedRun
) -> MarkerFigures:
    """Return the figures of a run, from `run.began_ms` to `run.ended_ms`.

    outputs  batches of each partition that it wrote to
    offsets  batches of each partition of the group's offsets
    """
    span_s = (run.ended_ms - run.began_ms) / 1000
    if span_s <= 0:
        return MarkerFigures(None, None, None, None, None, None, None)
    commits = _markers(offsets, run)
    delays = np.concatenate([np.array([], np.int64), *map(stable_delays, outputs)])
    p50, p99 = (float(p) for p in np.percentile(delays, [50, 99])) if len(delays) else (None, None)
    return MarkerFigures(
        markers_per_s=(commits + _markers(outputs, run)) / span_s,
        transactions_per_s=commits / span_s,
        delay_p50_ms=p50,
        delay_p99_ms=p99,
        read_p50_ms=None if run.read is None else run.read.p50_ms,
        read_p99_ms=None if run.read is None else run.read.p99_ms,
        processor_percent=run.processor_percent,
    )


def _markers(partitions: Sequence[Batches], run: PacedRun) -> int:
    batches = np.concatenate([np.array([], HEADER), *partitions])
    when = batches["append_ms"]
    return int((batches["is_marker"] & (when >= run.began_ms) & (when < run.ended_ms)).sum())
