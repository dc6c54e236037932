"""Rows a second of a scorer on one core: the model that ships, 100 trees, an MLP 64-32.

    python benchmarks/scoring.py [--core 0] [--folder FOLDER]

Times `Scorer.score` and `Scorer.decisions` on float64 matrices as a stage hands them
over, so the cast to float32 and the words are in the figure. The reasons of an alert are timed
row by row, as they are told of one alerting event. Rows are features of a
generated world. Each figure is the median of nine rounds; the spread is their quartiles.
Needs the extra `train` to make the models that do not ship.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from stream_infer.alerts.reasons import ReasonMaker
from stream_infer.features.plan import compile_plan
from stream_infer.models.bench_models import build_bench_models, world_samples
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipelines.fraud import pipeline
from stream_infer.scoring.session import Scorer
from stream_infer.simulators.fraud import World

BATCHES = (1, 64, 1_024)
ROUNDS = 9
ROUND_S = 0.15


def main() -> None:
    """Print one line per model and batch size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--core", type=int, default=0, help="core to run on")
    parser.add_argument("--folder", type=Path, help="where to make the models; default: temporary")
    chosen = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {chosen.core})
    world = World(seed=11, customers=1_000, terminals=2_000, days=40)
    matrix = world_samples(world).matrix[-16_384:].astype(np.float64)
    with tempfile.TemporaryDirectory() as temporary:
        made = build_bench_models(chosen.folder or Path(temporary))
        folders = {
            "ready fraud": ready_model_dir("fraud"),
            "100 trees": made.trees,
            "MLP 64-32": made.network,
        }
        print(
            f"{_processor()}, one core, Python {platform.python_version()}, "
            f"ONNX Runtime {onnxruntime.__version__}, NumPy {np.__version__}"
        )
        print(f"{'model':12} {'batch':>6} {'rows/s':>12} {'quartiles':>27} {'µs/row':>8}")
        for name, folder in folders.items():
            report(name, folder, matrix)


def report(name: str, folder: Path, matrix: NDArray[np.float64]) -> None:
    """Time one model at every batch size."""
    plan = compile_plan(pipeline)
    scorer = Scorer(folder, plan.feature_names, plan.fingerprint)
    for batch in BATCHES:
        low, median, high = statistics.quantiles(
            [rows_per_second(scorer, matrix, batch) for _ in range(ROUNDS)], n=4
        )
        spread = f"{low:,.0f}..{high:,.0f}"
        print(f"{name:12} {batch:6,} {median:12,.0f} {spread:>27} {1e6 / median:8.2f}")
    if pipeline.alerts is not None:
        maker = ReasonMaker(pipeline.alerts, plan.feature_names)
        took = statistics.median(reasons_ms(maker, scorer, matrix) for _ in range(ROUNDS))
        print(f"{name:12} reasons of one alert: {took:.3f} ms")


def rows_per_second(scorer: Scorer, matrix: NDArray[np.float64], batch: int) -> float:
    """Score batch after batch for about `ROUND_S` and return the rate."""
    done, at = 0, 0
    start = time.perf_counter()
    while (passed := time.perf_counter() - start) < ROUND_S:
        scorer.decisions(scorer.score(matrix[at : at + batch]))
        done += batch
        at = (at + batch) % (len(matrix) - batch + 1)
    return done / passed


def reasons_ms(maker: ReasonMaker, scorer: Scorer, matrix: NDArray[np.float64]) -> float:
    """Explain one row after the other for about `ROUND_S` and return ms a row."""
    scores = scorer.score(matrix)
    done = 0
    start = time.perf_counter()
    while (passed := time.perf_counter() - start) < ROUND_S:
        at = done % len(matrix)
        maker.explain(matrix[at : at + 1], scores[at : at + 1], scorer.score)
        done += 1
    return 1000 * passed / done


def _processor() -> str:
    """Return the processor's name where the system tells it."""
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
