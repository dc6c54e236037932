"""The kinds of models that are tried, and the settings that are tried of each.

Every kind answers with one number a row, rising with suspicion, and can write itself into a
graph. What the number means is the calibration's business. Positives are rare: `weight` says how
many rows each counts for.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from stream_infer.training.forests import Tree, from_lightgbm, from_sklearn
from stream_infer.training.graphs import Layers, Part, add_layers, add_trees
from stream_infer.training.samples import Samples
from stream_infer.training.scaling import Scaling, fit_scaling

Settings = Mapping[str, Any]

DECLARED: dict[str, tuple[Settings, ...]] = {
    "logistic": ({"strength": 1.0, "weight": 1}, {"strength": 0.1, "weight": 10}),
    "trees": (
        {"trees": 200, "leaves": 7, "rate": 0.03, "inputs": 0.3, "weight": 1},
        {"trees": 200, "leaves": 15, "rate": 0.03, "inputs": 0.3, "weight": 1},
        {"trees": 200, "leaves": 15, "rate": 0.03, "inputs": 0.3, "weight": 5},
        # For hundreds of thousands of rows; too slow to serve, and to be imitated by a network.
        {"trees": 300, "leaves": 31, "rate": 0.05, "inputs": 0.5, "weight": 1},
    ),
    "forest": ({"trees": 100, "leaf_rows": 5, "inputs": 0.4, "weight": 1},),
    "mlp": ({"hidden": (64, 32), "epochs": 12, "penalty": 1e-3, "weight": 5},),
    "blend": ({"trees": 1, "forest": 0},),
}
"""Kind -> settings to try. Those of ``blend`` are places in the lists of its parts."""


class Fitted(Protocol):
    """A fitted model."""

    def answer(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return one number a row, (n,)."""

    def add_to(self, part: Part) -> Part:
        """Add the model to a graph; (n, 1) answers come out."""

    @property
    def trees(self) -> Sequence[Tree]:
        """Its trees, none where it is made of something else."""


@dataclass(frozen=True, slots=True)
class Boosted:
    """Gradient-boosted trees; the answer is the raw score."""

    booster: Any
    trees: Sequence[Tree]

    def answer(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the learner's own answer."""
        said: NDArray[np.float64] = self.booster.predict(matrix, raw_score=True, num_threads=1)
        return said

    def add_to(self, part: Part) -> Part:
        """Add the trees."""
        return add_trees(part, self.trees)


@dataclass(frozen=True, slots=True)
class Forest:
    """A random forest; the answer is the mean share of positives in its leaves.

    forest   of one job
    threads  that share the rows
    """

    forest: Any
    trees: Sequence[Tree]
    threads: int

    def answer(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the learner's own answer."""
        # The library's own threads share the trees, and add them up in the order in which they
        # end: the last bit of a sum hangs on that. Here each row's trees are added in their order.
        parts = np.array_split(matrix, max(1, min(self.threads, len(matrix))))
        with ThreadPoolExecutor(len(parts)) as pool:
            said = pool.map(self.forest.predict_proba, parts)
            return np.concatenate([part[:, 1] for part in said])

    def add_to(self, part: Part) -> Part:
        """Add the trees."""
        return add_trees(part, self.trees)


@dataclass(frozen=True, slots=True)
class Network:
    """Dense layers over squeezed inputs; one layer alone is a logistic regression."""

    scaling: Scaling
    layers: Layers

    @property
    def trees(self) -> Sequence[Tree]:
        """None."""
        return ()

    def answer(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return log odds, in float64."""
        rows = self.scaling.apply(matrix)
        for weights, biases in self.layers[:-1]:
            rows = np.maximum(rows @ weights + biases, 0.0)
        weights, biases = self.layers[-1]
        said: NDArray[np.float64] = (rows @ weights + biases)[:, 0]
        return said

    def add_to(self, part: Part) -> Part:
        """Add squeezing and layers."""
        first = self.scaling.folded(*self.layers[0])
        return add_layers(self.scaling.add_to(part), [first, *self.layers[1:]])


@dataclass(frozen=True, slots=True)
class Blend:
    """The mean of boosted trees, as a probability, and a forest: they err on different rows."""

    boosted: Fitted
    forest: Fitted

    @property
    def trees(self) -> Sequence[Tree]:
        """Those of both."""
        return (*self.boosted.trees, *self.forest.trees)

    def answer(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the mean."""
        one = 0.5 + 0.5 * np.tanh(0.5 * self.boosted.answer(matrix))
        said: NDArray[np.float64] = 0.5 * (one + self.forest.answer(matrix))
        return said

    def add_to(self, part: Part) -> Part:
        """Add both, and the mean."""
        one = self.boosted.add_to(part).then("Sigmoid").last
        self.forest.add_to(part)
        return part.then("Add", one).then("Mul", 0.5)


RISING_KINDS = ("trees", "forest", "blend")
"""Kinds that can promise that more of a feature never lowers the score."""


def fit_candidate(
    kind: str,
    settings: Settings,
    rows: Samples,
    seed: int,
    threads: int,
    rising: Sequence[int] = (),
) -> Fitted:
    """Return a fitted model of a kind; the same rows, settings and seed give the same one.

    threads  for the forest, whose result does not depend on it
    rising   columns of which more never lowers the answer, of kinds in `RISING_KINDS`
    """
    means = _Means(seed, threads, rising)
    if kind == "logistic":
        return _fit_logistic(rows, settings)
    if kind == "trees":
        return _fit_boosted(rows, settings, means)
    if kind == "forest":
        return _fit_forest(rows, settings, means)
    if kind == "mlp":
        return _fit_mlp(rows, settings, means.seed)
    return Blend(
        _fit_boosted(rows, DECLARED["trees"][settings["trees"]], means),
        _fit_forest(rows, DECLARED["forest"][settings["forest"]], means),
    )


@dataclass(frozen=True, slots=True)
class _Means:
    """How models are fitted, beside their settings; see `fit_candidate`."""

    seed: int
    threads: int
    rising: Sequence[int]

    def directions(self, width: int) -> list[int]:
        """Return, for each column, 1 where the answer only rises with it, else 0."""
        return [int(at in self.rising) for at in range(width)]


def _weights(rows: Samples, settings: Settings) -> NDArray[np.float64]:
    return np.where(rows.truth, float(settings["weight"]), 1.0)


def _fit_boosted(rows: Samples, settings: Settings, means: _Means) -> Boosted:
    parameters: dict[str, Any] = {
        "objective": "binary",
        "learning_rate": settings["rate"],
        "num_leaves": settings["leaves"],
        "min_data_in_leaf": min(50, max(1, len(rows) // 50)),
        "feature_fraction_bynode": settings["inputs"],
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "seed": means.seed,
        "deterministic": True,
        "force_row_wise": True,
        # Sums of gradients that are cut over threads depend on how many there are.
        "num_threads": 1,
        "verbose": -1,
    }
    if means.rising:
        parameters["monotone_constraints"] = means.directions(rows.matrix.shape[1])
        parameters["monotone_constraints_method"] = "intermediate"
    data = lightgbm.Dataset(
        rows.matrix, rows.truth.astype(np.int8), weight=_weights(rows, settings)
    )
    booster = lightgbm.train(parameters, data, num_boost_round=settings["trees"])
    return Boosted(booster, from_lightgbm(booster))


def _fit_forest(rows: Samples, settings: Settings, means: _Means) -> Forest:
    forest = RandomForestClassifier(
        settings["trees"],
        min_samples_leaf=settings["leaf_rows"],
        max_features=settings["inputs"],
        random_state=means.seed,
        n_jobs=means.threads,
        monotonic_cst=means.directions(rows.matrix.shape[1]) if means.rising else None,
    )
    forest.fit(rows.matrix, rows.truth, sample_weight=_weights(rows, settings))
    forest.set_params(n_jobs=1)
    return Forest(forest, from_sklearn(forest), means.threads)


def _fit_logistic(rows: Samples, settings: Settings) -> Network:
    scaling = fit_scaling(rows.matrix)
    model = LogisticRegression(C=settings["strength"], max_iter=2_000)
    with warnings.catch_warnings(), threadpool_limits(1):
        # Where it stops short of the optimum, validation says whether that hurts.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaling.apply(rows.matrix), rows.truth, sample_weight=_weights(rows, settings))
    return Network(scaling, [(model.coef_.T, model.intercept_)])


def _fit_mlp(rows: Samples, settings: Settings, seed: int) -> Network:
    scaling = fit_scaling(rows.matrix)
    model = MLPClassifier(
        hidden_layer_sizes=settings["hidden"],
        alpha=settings["penalty"],
        batch_size=min(256, len(rows)),
        learning_rate_init=1e-3,
        max_iter=settings["epochs"],
        random_state=seed,
    )
    with warnings.catch_warnings(), threadpool_limits(1):
        # A few epochs are meant: more fit these rows better and others worse.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaling.apply(rows.matrix), rows.truth, sample_weight=_weights(rows, settings))
    return Network(scaling, list(zip(model.coefs_, model.intercepts_, strict=True)))
