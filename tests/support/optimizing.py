"""Small fitted models and generated rows, for tests of the optimiser."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.scoring.manifest import Manifest, Thresholds, encode_manifest
from stream_infer.training.calibration import LOG_ODDS, Calibration, fit_calibration
from stream_infer.training.candidates import DECLARED, Blend, Fitted, fit_candidate
from stream_infer.training.days import DAY_MS
from stream_infer.training.graphs import OUTPUT, Part, finished
from stream_infer.training.making import run_graph
from stream_infer.training.samples import Samples
from support.onnx_models import make_manifest

WIDTH = 6
KINDS = ("blend", "forest", "logistic", "mlp", "trees")
QUICK: dict[str, dict[str, Any]] = {
    "logistic": {**DECLARED["logistic"][0]},
    "trees": {**DECLARED["trees"][0], "trees": 16},
    "forest": {**DECLARED["forest"][0], "trees": 8},
    "mlp": {**DECLARED["mlp"][0], "epochs": 4},
}


def payments(days: int = 40, a_day: int = 250, seed: int = 0, *, missing: float = 0) -> Samples:
    """Return rows of so many days with something to learn in them; labels come two days late."""
    random = np.random.default_rng(seed)
    n = days * a_day
    matrix = random.lognormal(0, 1, (n, WIDTH)).astype(np.float32)
    matrix[:, 1] = np.round(matrix[:, 1])
    odds = 1.5 * np.log(matrix[:, 0]) + 0.8 * (matrix[:, 1] > 2) + np.abs(matrix[:, 2] - 1) - 4
    truth = random.random(n) < 1 / (1 + np.exp(-2 * odds))
    if missing:
        matrix[random.random((n, WIDTH)) < missing] = np.nan
    time = (np.arange(n, dtype=np.int64) * DAY_MS) // a_day
    return Samples(matrix, truth, time + 2 * DAY_MS, time, random.integers(0, 150, n))


def fitted(kind: str, rows: Samples) -> tuple[Fitted, Calibration]:
    """Return a quickly fitted model of a kind, and a line behind it."""
    if kind == "blend":
        model: Fitted = Blend(fitted("trees", rows)[0], fitted("forest", rows)[0])
    else:
        model = fit_candidate(kind, QUICK[kind], rows, 0, 1)
    return model, fit_calibration(model.answer(rows.matrix), rows.truth)


def graph_of(model: Fitted, line: Calibration = LOG_ODDS, width: int = WIDTH) -> bytes:
    """Return the graph of a model, as training writes it."""
    return finished(line.add_to(model.add_to(Part())).then("Sigmoid", name=OUTPUT), width)


def manifest_for(content: bytes, **changes: Any) -> Manifest:
    """Return a manifest for a graph of `WIDTH` columns."""
    fields: dict[str, Any] = {
        "features": tuple(f"column_{at}" for at in range(WIDTH)),
        "thresholds": Thresholds(review=0.3, decline=0.8),
        "row_chunk": 256,
    }
    return make_manifest(content, **(fields | changes))


def written(folder: Path, content: bytes, **changes: Any) -> Path:
    """Write a model's folder and return it."""
    manifest = manifest_for(content, **changes)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    sums = {"sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_bytes(
        encode_manifest(msgspec.structs.replace(manifest, **sums))
    )
    return folder


def run(content: bytes, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a graph's probabilities."""
    return run_graph(content, matrix)
