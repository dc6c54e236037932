"""NAB's score as NAB computes it, and the pipeline's own on its road sensors."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stream_infer.traffic.nab import (
    LOW_FALSE_NEGATIVES,
    LOW_FALSE_POSITIVES,
    STANDARD,
    Profile,
    Series,
    best_threshold,
    nab_score,
)

ROOT = Path(__file__).parents[2]
NAB = Path(os.environ.get("STREAM_INFER_DATA", ROOT.parent / "shared" / "data")) / "nab"
PROFILES = {
    "standard": STANDARD,
    "reward_low_FP_rate": LOW_FALSE_POSITIVES,
    "reward_low_FN_rate": LOW_FALSE_NEGATIVES,
}

needs_nab = pytest.mark.skipif(not NAB.is_dir(), reason=f"the benchmark's files are not in {NAB}")


def series(marked: list[int], rows: int = 200, windows: tuple[tuple[int, int], ...] = ()) -> Series:
    scores = np.zeros(rows)
    scores[marked] = 1.0
    return Series(scores, windows)


WINDOWS = ((60, 79), (120, 139))


def test_marking_the_first_row_of_each_window_is_perfect_and_nothing_is_zero() -> None:
    assert nab_score([series([60, 120], windows=WINDOWS)], 1.0) == pytest.approx(100.0)
    assert nab_score([series([], windows=WINDOWS)], 1.0) == 0.0


def test_a_later_mark_is_worth_less_and_one_outside_costs() -> None:
    def score(marked: list[int], profile: Profile = STANDARD) -> float:
        return nab_score([series(marked, windows=WINDOWS)], 1.0, profile)

    assert score([60, 120]) > score([65, 120]) > score([75, 120]) > score([120]) > 0
    assert score([60, 62, 120]) == score([60, 120])
    assert score([60, 90, 120]) < score([60, 120])
    # Just behind a window costs less than far away from it.
    assert score([60, 81, 120]) > score([60, 110, 120])
    assert score([45, 60, 120], LOW_FALSE_POSITIVES) < score([45, 60, 120])


def test_the_first_rows_count_for_nothing() -> None:
    assert nab_score([series([0, 29, 60, 120], windows=WINDOWS)], 1.0) == pytest.approx(100.0)
    assert nab_score([series([30, 60, 120], windows=WINDOWS)], 1.0) < 100


def test_the_best_threshold_is_found() -> None:
    scores = np.zeros(200)
    scores[[60, 120]], scores[[40, 100, 180]] = (0.8, 0.9), (0.5, 0.6, 0.7)
    threshold, score = best_threshold([Series(scores, WINDOWS)])
    assert threshold == 0.8
    assert score == pytest.approx(100.0)


@needs_nab
@pytest.mark.parametrize("detector", ["contextOSE", "ARTime", "windowedGaussian"])
def test_published_scores_come_out_of_the_published_detectors_outputs(detector: str) -> None:
    results = pl.read_parquet(NAB / "detector_results_realTraffic.parquet").filter(
        pl.col("detector") == detector
    )
    windows = json.loads((NAB / "labels" / "combined_windows.json").read_text())
    made = []
    for (name,), rows in results.partition_by("file", as_dict=True).items():
        times = rows["timestamp"].to_numpy()
        spans = []
        for span in windows[name]:
            first, last = (np.datetime64(text.replace(" ", "T")) for text in span)
            inside = np.flatnonzero((times >= first) & (times <= last))
            spans.append((int(inside[0]), int(inside[-1])))
        made.append(Series(rows["anomaly_score"].to_numpy().astype(np.float64), spans))
    published = pl.read_csv(NAB / "detector_scores_realTraffic_realKnownCause.csv").row(
        by_predicate=(pl.col("corpus") == "realTraffic") & (pl.col("detector") == detector),
        named=True,
    )
    thresholds = json.loads((NAB / "config" / "thresholds.json").read_text())[detector]
    for name, profile in PROFILES.items():
        found = nab_score(made, thresholds[name]["threshold"], profile)
        assert round(found, 2) == published[name]


@needs_nab
def test_the_pipeline_s_anomaly_score_is_at_the_level_of_the_best_published_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    sys.modules.pop("traffic_quality", None)
    traffic_quality = importlib.import_module("traffic_quality")
    # Published: ARTime 86.9, Numenta HTM 82.5; one missed window costs 7.
    assert traffic_quality.measure_anomalies(NAB)["standard"] > 86
