"""Decision trees as arrays: one form for all learners, read from them and written to ONNX.

A learner compares float64 thresholds; the graph compares float32. Since rows are float32 to
begin with, ``x <= t`` holds exactly where ``x <= t32`` does, `t32` being the largest float32 that
is not above `t`. So the graph takes every row the way the learner takes it, which
`stream_infer.training.parity` tries at every split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import GateFailedError

LEAF = -1


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree; node 0 is the root, and ``x[feature] <= threshold`` goes left.

    feature      (k,) int64, LEAF where the node is a leaf
    threshold    (k,) float32
    left, right  (k,) int64, nodes
    nan_left     (k,) bool, whether what is no number goes left
    value        (k,) float64, what a leaf adds
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.float32]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    nan_left: NDArray[np.bool_]
    value: NDArray[np.float64]

    def rows_at(self, matrix: NDArray[np.float32]) -> list[NDArray[np.int64]]:
        """Return, for each node, the rows that pass it."""
        at: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * len(self.feature)
        at[0] = np.arange(len(matrix))
        waiting = [0]
        while waiting:
            node = waiting.pop()
            if self.feature[node] == LEAF:
                continue
            x = matrix[at[node], self.feature[node]]
            goes_left = np.where(np.isnan(x), self.nan_left[node], x <= self.threshold[node])
            at[self.left[node]] = at[node][goes_left]
            at[self.right[node]] = at[node][~goes_left]
            waiting += [int(self.left[node]), int(self.right[node])]
        return at


def float32_below(values: Any) -> NDArray[np.float32]:
    """Return the largest float32 that is not above each float64."""
    exact = np.asarray(values, np.float64)
    with np.errstate(over="ignore"):
        nearest = exact.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    chosen: NDArray[np.float32] = np.where(nearest.astype(np.float64) > exact, below, nearest)
    return chosen


def from_lightgbm(booster: Any, objective: str = "binary") -> list[Tree]:
    """Return the trees of a LightGBM booster; their sum is the raw score.

    objective  ``binary`` or ``regression``
    Raises  GateFailedError ``not_convertible``: linear leaves, categories, several classes,
            averaged trees, zeros as missing values
    """
    dump = booster.dump_model()
    if "is_linear=1" in booster.model_to_string(num_iteration=1):
        raise _not_convertible(
            "its leaves are linear functions (linear_tree), which ONNX trees cannot hold",
            "Train without linear_tree.",
        )
    if dump["num_tree_per_iteration"] != 1 or dump["objective"].split()[0] != objective:
        raise _not_convertible(
            f"its objective is {dump['objective']!r}, not {objective!r}",
            f"Train it with the objective {objective!r}.",
        )
    if "sigmoid:" in dump["objective"] and "sigmoid:1" not in dump["objective"].split():
        raise _not_convertible("its sigmoid is scaled", "Train it with sigmoid=1.")
    if dump.get("average_output"):
        raise _not_convertible(
            "it averages its trees (boosting=rf)", "Train it with boosting=gbdt."
        )
    return [_lightgbm_tree(info["tree_structure"]) for info in dump["tree_info"]]


def _lightgbm_tree(root: dict[str, Any]) -> Tree:
    rows: list[list[Any]] = []

    def add(node: dict[str, Any]) -> int:
        place = len(rows)
        rows.append([LEAF, 0.0, 0, 0, False, float(node.get("leaf_value", 0.0))])
        if "split_feature" not in node:
            return place
        if node["decision_type"] != "<=":
            raise _not_convertible(
                "it splits by categories", "Give it numbers only, one column a category."
            )
        if node["missing_type"] == "Zero":
            raise _not_convertible(
                "it takes zeros for missing values", "Train it with zero_as_missing=false."
            )
        # Without missing values in training a NaN is compared as 0.
        as_nan = node["missing_type"] == "NaN"
        nan_left = node["default_left"] if as_nan else node["threshold"] >= 0
        rows[place][:5] = [
            int(node["split_feature"]),
            _beside_zero(float(node["threshold"])),
            add(node["left_child"]),
            add(node["right_child"]),
            bool(nan_left),
        ]
        return place

    add(root)
    return _tree(rows)


_ZERO = float(np.float32(1e-35))


def _beside_zero(threshold: float) -> float:
    """Return the threshold that says of every float32 what LightGBM says of it.

    It takes a value for 0 that is not farther from it than 1e-35, which is also where it puts
    thresholds that part 0 from what is negative or positive: the value there itself goes the way
    that 0 goes.
    """
    if -_ZERO <= threshold < 0:
        return float(np.nextafter(np.float32(-_ZERO), np.float32(-1)))
    return _ZERO if 0 <= threshold < _ZERO else threshold


def from_sklearn(forest: Any) -> list[Tree]:
    """Return the trees of a scikit-learn forest of two classes; their sum is the probability."""
    trees = []
    for estimator in forest.estimators_:
        nodes = estimator.tree_
        shares = nodes.value[:, 0, :]
        leaf = nodes.children_left < 0
        trees.append(
            Tree(
                np.where(leaf, LEAF, nodes.feature).astype(np.int64),
                float32_below(np.where(leaf, 0.0, nodes.threshold)),
                np.where(leaf, 0, nodes.children_left).astype(np.int64),
                np.where(leaf, 0, nodes.children_right).astype(np.int64),
                nodes.missing_go_to_left.astype(np.bool_),
                shares[:, -1] / shares.sum(axis=1) / len(forest.estimators_),
            )
        )
    return trees


def _tree(rows: list[list[Any]]) -> Tree:
    feature, threshold, left, right, nan_left, value = zip(*rows, strict=True)
    return Tree(
        np.array(feature, np.int64),
        float32_below(threshold),
        np.array(left, np.int64),
        np.array(right, np.int64),
        np.array(nan_left, np.bool_),
        np.array(value, np.float64),
    )


def ensemble_attributes(trees: Sequence[Tree]) -> dict[str, list[Any]]:
    """Return the trees as attributes of ONNX's TreeEnsembleRegressor with one target.

    Source  ONNX operators, ai.onnx.ml version 3
    """
    sizes = [len(tree.feature) for tree in trees]
    tree_ids = np.repeat(np.arange(len(trees)), sizes)
    node_ids = np.concatenate([np.arange(size) for size in sizes])
    feature = np.concatenate([tree.feature for tree in trees])
    leaf = feature == LEAF
    value = np.concatenate([tree.value for tree in trees])
    thresholds = np.concatenate([tree.threshold for tree in trees])
    return {
        "nodes_treeids": tree_ids.tolist(),
        "nodes_nodeids": node_ids.tolist(),
        "nodes_featureids": np.where(leaf, 0, feature).tolist(),
        "nodes_modes": ["LEAF" if each else "BRANCH_LEQ" for each in leaf.tolist()],
        "nodes_values": np.where(leaf, 0, thresholds).astype(float).tolist(),
        "nodes_truenodeids": np.concatenate([tree.left for tree in trees]).tolist(),
        "nodes_falsenodeids": np.concatenate([tree.right for tree in trees]).tolist(),
        "nodes_missing_value_tracks_true": np.concatenate([tree.nan_left for tree in trees])
        .astype(int)
        .tolist(),
        "target_treeids": tree_ids[leaf].tolist(),
        "target_nodeids": node_ids[leaf].tolist(),
        "target_ids": [0] * int(leaf.sum()),
        "target_weights": value[leaf].tolist(),
    }


def _not_convertible(why: str, fix: str) -> GateFailedError:
    return GateFailedError(
        "not_convertible", f"The model cannot be converted to ONNX exactly: {why}.", fix
    )
