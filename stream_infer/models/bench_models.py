"""Two models that benchmarks compare with the one that ships: 100 trees, and a small network.

Both are fitted on the same small generated world, so that a benchmark compares the cost of two
kinds of model and nothing else. They are made where the benchmark wants them and do not ship.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from stream_infer.features.plan import compile_plan
from stream_infer.models.writing import describe_model, write_model
from stream_infer.pipelines.fraud import pipeline
from stream_infer.scoring.manifest import Training
from stream_infer.simulators.fraud import World, generate
from stream_infer.simulators.records import label_columns, transaction_columns
from stream_infer.training.days import DayRange
from stream_infer.training.figures import measure
from stream_infer.training.forests import from_lightgbm
from stream_infer.training.gathering import gather_columns
from stream_infer.training.graphs import OUTPUT, Part, add_layers, add_trees, finished
from stream_infer.training.making import run_graph
from stream_infer.training.samples import Samples
from stream_infer.training.thresholds import AlertBudget, choose_thresholds

WORLD = World(seed=7, customers=1_000, terminals=2_000, days=80)
LAYERS = (64, 32)
_EPOCHS = 8
_FIT, _TUNE = (45, 58), (66, 72)
"""Days of the world, first and last: windows are full by then, and labels come in between."""


@dataclass(frozen=True, slots=True)
class BenchModels:
    """Folders of the two models."""

    trees: Path
    network: Path


def build_bench_models(folder: Path, world: World = WORLD) -> BenchModels:
    """Make both models under `folder` and return where they are. Takes about ten seconds."""
    samples = world_samples(world)
    fit, tune = (_days(samples, world, *days) for days in (_FIT, _TUNE))

    def made(name: str, learn: Callable[[Samples], bytes], row_chunk: int) -> Path:
        return _write(folder, name, learn(fit), fit, tune, world, row_chunk)

    return BenchModels(
        trees=made("fraud-trees", lambda rows: fit_trees(rows, seed=world.seed), 256),
        # A network gains from large products: 0.18 µs a row at 64 rows a call, 0.08 at 1,024.
        network=made("fraud-mlp", lambda rows: fit_network(rows, seed=world.seed), 1_024),
    )


def world_samples(world: World) -> Samples:
    """Return the fraud pipeline's rows of a generated world."""
    transactions = generate(world)
    labels = label_columns(transactions.by_label_time())
    return gather_columns(pipeline, transaction_columns(transactions), labels).samples


def _days(samples: Samples, world: World, first: int, last: int) -> Samples:
    start = world.start_ms // 86_400_000
    return samples.take(DayRange(start + first, start + last).holds(samples.day))


def fit_trees(rows: Samples, *, trees: int = 100, leaves: int = 7, seed: int = 0) -> bytes:
    """Return boosted trees as ONNX; the same rows and seed give the same ones."""
    parameters = {
        "objective": "binary",
        "learning_rate": 0.05,
        "num_leaves": leaves,
        "min_data_in_leaf": 50,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        # Sums of gradients that are cut over threads depend on how many there are.
        "num_threads": 1,
        "verbose": -1,
    }
    data = lightgbm.Dataset(rows.matrix, rows.truth.astype(np.int8))
    booster = lightgbm.train(parameters, data, num_boost_round=trees)
    part = add_trees(Part(), from_lightgbm(booster))
    return finished(part.then("Sigmoid", name=OUTPUT), rows.matrix.shape[1])


def fit_network(rows: Samples, *, seed: int) -> bytes:
    """Return a network of dense layers as ONNX: centring and scaling are in its first layer."""
    matrix = rows.matrix.astype(np.float64)
    centre, scale = matrix.mean(axis=0), matrix.std(axis=0)
    scale[scale == 0] = 1.0
    network = MLPClassifier(LAYERS, max_iter=_EPOCHS, random_state=seed)
    with warnings.catch_warnings():
        # A few epochs are enough to have weights; how well they fit is not measured here.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit((matrix - centre) / scale, rows.truth)
    (first, bias), *rest = zip(network.coefs_, network.intercepts_, strict=True)
    folded = (first / scale[:, None], bias - (centre / scale) @ first)
    part = add_layers(Part(), [folded, *rest])
    return finished(part.then("Sigmoid", name=OUTPUT), len(centre))


def _write(
    folder: Path,
    name: str,
    content: bytes,
    fit: Samples,
    tune: Samples,
    world: World,
    row_chunk: int,
) -> Path:
    scores = run_graph(content, tune.matrix)
    plan = compile_plan(pipeline)
    manifest = describe_model(
        content,
        name=name,
        version="1",
        features=plan.feature_names,
        fingerprint=plan.fingerprint,
        thresholds=choose_thresholds(scores, AlertBudget()),
        row_chunk=row_chunk,
        training=Training(
            source=f"a generated world of {world.customers} customers, for benchmarks",
            digest=fit.digest,
            rows=len(fit),
            positives=int(fit.truth.sum()),
            seed=world.seed,
        ),
        metrics=measure(scores, tune),
    )
    where = folder / name / "1"
    write_model(where, content, manifest)
    return where
