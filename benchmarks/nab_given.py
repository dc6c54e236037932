"""NAB's realTraffic by the four configurations that stood written down before, nothing chosen here.

    python -m benchmarks.nab_given [--data ../shared/data] [--json]

16 bins over the range of the probation rows and a quarter of it on either side. The surprise of a
bin after the last one or two, backing off to shorter contexts (a context seen c times weighs
c / (c + 4)); "mix": half of it and half of -log of the share of earlier surprises as large.
Alerting again only when higher, for a fifth of the probation. The threshold is the best one on
these files, as NAB's own protocol has it.

The pipeline's detector (`stream_infer/traffic/surprise.py`) is mix with one value before. It has
two numbers that were chosen with the labels in sight: 150 values make its range, and half of it
lies on either side.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.traffic_quality import again_when_higher, labelled_rows, nab_rows
from stream_infer.traffic.nab import (
    LOW_FALSE_NEGATIVES,
    LOW_FALSE_POSITIVES,
    STANDARD,
    Series,
    best_threshold,
    probation_rows,
)

BINS = 16
MARGIN = 0.25
BACK_OFF = 4.0
KERNEL = np.exp(-np.abs(np.arange(BINS)[:, None] - np.arange(BINS)[None, :]).astype(np.float64))
KERNEL /= KERNEL.sum(axis=1, keepdims=True)


CONFIGURATIONS = {"raw, 1 before": (1, False), "raw, 2 before": (2, False)} | {
    "mix, 1 before": (1, True),
    "mix, 2 before": (2, True),
}


def anomaly_scores(
    values: NDArray[np.float64], probation: int, depth: int, *, mix: bool
) -> NDArray[np.float64]:
    """Return 1 - exp(-surprise) of each value, 0 in the probation; a value is scored, then learnt.

    depth  how many bins before make the longest context
    """
    low, high = values[:probation].min(), values[:probation].max()
    spread = max(high - low, 0.05 * max(abs(high), abs(low)), 1e-6)
    width = spread * (1 + 2 * MARGIN) / BINS
    bins = np.clip(((values - (low - MARGIN * spread)) / width).astype(int), 0, BINS - 1).tolist()
    counts: dict[tuple[int, ...], NDArray[np.float64]] = {}
    seen: list[float] = []
    said = np.zeros(len(values))
    for row in range(depth, len(values)):
        contexts = [tuple(bins[row - back : row]) for back in range(depth + 1)]
        likely = 1 / BINS
        for context in contexts:
            known = counts.setdefault(context, np.zeros(BINS))
            total = known.sum()
            here = known @ KERNEL[:, bins[row]]
            likely = (here + BACK_OFF * likely) / (total + BACK_OFF)
        surprise = -float(np.log(likely))
        if row >= probation:
            tail = (sum(each >= surprise for each in seen) + 1) / (len(seen) + 1)
            mixed = 0.5 * surprise - 0.5 * float(np.log(tail)) if mix else surprise
            said[row] = 1 - np.exp(-mixed)
        seen.append(surprise)
        for context in contexts:
            counts[context][bins[row]] += 1
    return said


def measure(folder: Path, depth: int, *, mix: bool) -> dict[str, float]:
    """Return the NAB scores of the three profiles."""
    series = []
    for name, frame in nab_rows(folder).items():
        values = frame["value"].to_numpy().astype(np.float64)
        scores = anomaly_scores(values, probation_rows(len(values)), depth, mix=mix)
        series.append(Series(again_when_higher(scores), labelled_rows(folder, name, frame)))
    profiles = {
        "standard": STANDARD,
        "low_false_positives": LOW_FALSE_POSITIVES,
        "low_false_negatives": LOW_FALSE_NEGATIVES,
    }
    return {name: round(best_threshold(series, each)[1], 2) for name, each in profiles.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("STREAM_INFER_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    said = {
        name: measure(given.data / "nab", depth, mix=mix)
        for name, (depth, mix) in CONFIGURATIONS.items()
    }
    if given.json:
        print(json.dumps(said))
        return
    print("NAB realTraffic, each configuration as written down beforehand")
    for name, scores in said.items():
        print(f"  {name:14}", *(f"{profile} {score:5.1f}" for profile, score in scores.items()))


if __name__ == "__main__":
    main()
