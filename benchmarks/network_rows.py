"""Rows a second of models' graphs by ONNX Runtime alone, with one thread.

    python -m benchmarks.network_rows models/fraud-history/<version> [FOLDER …]

Times the session that a scorer opens, on float32 rows: no cast, no decision, no words. Rows are
drawn by seed, since a network takes as long for any row. Seconds are of processor time (the
others' work on the machine does not count), the median of some rounds in which all models run in
turn; the spread is their quartiles.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_infer.scoring.model import Model, load_model

BATCHES = (1, 64, 1_024)
ROWS = 16_384
ROUNDS = 15
ROUND_S = 0.1


def main() -> None:
    """Print one line per model and batch size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="+", help="of a model")
    models = [load_model(folder) for folder in parser.parse_args().folder]
    print(f"{'model':28} {'batch':>6} {'rows/s':>12} {'quartiles':>27}")
    for batch in BATCHES:
        for model, rates in zip(models, measure(models, batch), strict=True):
            low, middle, high = statistics.quantiles(rates, n=4)
            name = f"{model.name} {model.version}"
            print(f"{name:28} {batch:6,} {middle:12,.0f} {f'{low:,.0f}..{high:,.0f}':>27}")


def measure(models: Sequence[Model], batch: int) -> list[list[float]]:
    """Return rows a second of each model in each round."""
    random = np.random.default_rng(0)
    inputs = [
        random.lognormal(0, 1, (ROWS, len(model.manifest.features))).astype(np.float32)
        for model in models
    ]
    said: list[list[float]] = [[] for _ in models]
    for _ in range(ROUNDS):
        for rates, model, rows in zip(said, models, inputs, strict=True):
            rates.append(rows_per_second(model, rows, batch))
    return said


def rows_per_second(model: Model, rows: NDArray[np.float32], batch: int) -> float:
    """Run batch after batch for `ROUND_S` of processor time and return the rate."""
    run, outputs, name = model.session.run, [model.output], model.input
    done, at = 0, 0
    start = time.process_time()
    while (passed := time.process_time() - start) < ROUND_S:
        # The clock is a call of the system: of one row's time it would be a part.
        for _ in range(max(1, 512 // batch)):
            run(outputs, {name: rows[at : at + batch]})
            done += batch
            at = (at + batch) % (len(rows) - batch + 1)
    return done / passed


if __name__ == "__main__":
    main()
