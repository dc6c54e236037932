"""Models of the size that benchmarks name, for the one-stage pipeline, made once and kept.

``trees``  100 LightGBM trees of up to 31 leaves
``mlp``    dense layers of 64 and 32 neurons

Both are fitted on one small generated world. How well they find fraud is not measured
here; that they split on real values, so that a row takes as long as in earnest, is.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from stream_infer.benchmark.pipelines import single_stage
from stream_infer.broker.folders import cache_folder
from stream_infer.errors import ConfigError, StreamInferError
from stream_infer.features.plan import Plan, compile_plan
from stream_infer.features.table import compute_features
from stream_infer.scoring.manifest import Thresholds, Training
from stream_infer.scoring.model import load_model
from stream_infer.simulators.fraud import World, generate
from stream_infer.simulators.records import transaction_columns

if TYPE_CHECKING:
    from stream_infer.training.samples import Samples

ModelKind = Literal["trees", "mlp"]
MODEL_KINDS: tuple[ModelKind, ...] = ("trees", "mlp")
WORLD = World(seed=7, customers=1_000, terminals=2_000, days=40)
TREES, LEAVES = 100, 31
# Rows a call of ONNX Runtime, each the quickest on one core for its kind of model.
ROW_CHUNK: dict[ModelKind, int] = {"trees": 256, "mlp": 1_024}
_EXTRA = ("lightgbm", "onnx", "sklearn")


def bench_model(kind: ModelKind, folder: Path | None = None, *, seed: int = WORLD.seed) -> Path:
    """Return the folder of a model, making it first when it is not there. Takes seconds once.

    folder   where models are kept; by default the user's cache
    seed     of the learner: another one gives another model of the same size
    Raises   ConfigError when the extra `train` is not installed
    """
    plan = compile_plan(single_stage("bench", "bench"))
    name = f"{kind}-{plan.fingerprint}" + ("" if seed == WORLD.seed else f"-{seed}")
    where = (folder or cache_folder() / "benchmark") / name / "1"
    if not _usable(where):
        _make(kind, plan, where, seed)
    return where


def _usable(where: Path) -> bool:
    try:
        load_model(where)
    except StreamInferError:
        return False  # absent, or half written by a run that was stopped: made anew
    return True


def _make(kind: ModelKind, plan: Plan, where: Path, seed: int) -> None:
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            "extra_missing",
            f"Making the models of the benchmark needs {', '.join(missing)}.",
            "Install the extra: pip install 'stream-infer[train]'.",
            missing=missing,
        )
    # These import the extra.
    from stream_infer.models.bench_models import fit_network, fit_trees  # noqa: PLC0415
    from stream_infer.models.writing import describe_model, write_model  # noqa: PLC0415

    rows = _rows(plan)
    if kind == "trees":
        content = fit_trees(rows, trees=TREES, leaves=LEAVES, seed=seed)
    else:
        content = fit_network(rows, seed=seed)
    manifest = describe_model(
        content,
        name=f"bench-{kind}",
        version="1",
        features=plan.feature_names,
        fingerprint=plan.fingerprint,
        thresholds=Thresholds(review=0.5, decline=0.9),
        row_chunk=ROW_CHUNK[kind],
        training=Training(
            source=f"a generated world of {WORLD.customers} customers, for benchmarks",
            digest=rows.digest,
            rows=len(rows.truth),
            positives=int(rows.truth.sum()),
            seed=WORLD.seed,
        ),
        metrics={},
    )
    write_model(where, content, manifest)


def _rows(plan: Plan) -> Samples:
    """Return the rows of the world that have every feature: a network cannot learn from NaN."""
    from stream_infer.training.samples import Samples  # noqa: PLC0415

    transactions = generate(WORLD)
    matrix = compute_features(plan.pipeline, transaction_columns(transactions), None)
    samples = Samples(
        matrix.astype(np.float32),
        transactions.is_fraud,
        transactions.label_time,
        transactions.event_time,
        transactions.customer,
    )
    return samples.take(np.isfinite(matrix.sum(axis=1)))
