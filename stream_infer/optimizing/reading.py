"""A model read back from its graph: its trees or layers, and the calibration behind them.

Read are the graphs that training writes: a sum of trees, the mean of boosted trees and a forest,
or dense layers, each with a rising line and a sigmoid behind it or the sigmoid alone. Whatever
else a graph holds is named as the reason why it cannot be edited; it can still be imitated and,
where it has matrix products, quantised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from stream_infer.training.calibration import LOG_ODDS, Calibration
from stream_infer.training.candidates import Blend, Fitted, Network
from stream_infer.training.forests import LEAF, Tree
from stream_infer.training.graphs import Part, add_trees
from stream_infer.training.scaling import Scaling
from stream_infer.training.squeezing import Softly


@dataclass(frozen=True, slots=True)
class TreeSum:
    """Trees whose sum is the answer."""

    trees: Sequence[Tree]

    def answer(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the sum of the leaves that each row reaches, in float64, (n,)."""
        total = np.zeros(len(matrix))
        for tree in self.trees:
            for node, rows in enumerate(tree.rows_at(matrix)):
                if tree.feature[node] == LEAF:
                    total[rows] += tree.value[node]
        return total

    def add_to(self, part: Part) -> Part:
        """Add the trees."""
        return add_trees(part, self.trees)


class Unscaled(Scaling):
    """Inputs that a network takes as they are."""

    def apply(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (n, F) float64."""
        return matrix.astype(np.float64)

    def add_to(self, part: Part) -> Part:
        """Add nothing."""
        return part


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read.

    fitted       the model in front of the calibration; None where it could not be read
    calibration  the line behind it
    why          the reason why nothing was read, empty otherwise
    """

    fitted: Fitted | None
    calibration: Calibration
    why: str = ""

    @property
    def sums(self) -> tuple[TreeSum, ...]:
        """Its sums of trees: one, or two of a mean, or none."""
        if isinstance(self.fitted, TreeSum):
            return (self.fitted,)
        if isinstance(self.fitted, Blend):
            return tuple(each for each in (self.fitted.boosted, self.fitted.forest)
                         if isinstance(each, TreeSum))  # fmt: skip
        return ()

    @property
    def network(self) -> Network | None:
        """Its network, None where it is none."""
        return self.fitted if isinstance(self.fitted, Network) else None


class _UnreadError(Exception):
    """The graph has another form; the message says which."""


def read_model(content: bytes) -> Reading:
    """Read a graph back.

    Raises  nothing for a graph of another form: `Reading.why` says what it is
    """
    graph = _Graph(onnx.load_from_string(content).graph)
    try:
        answers, calibration = graph.tail()
        return Reading(graph.body(answers), calibration)
    except _UnreadError as error:
        return Reading(None, LOG_ODDS, str(error))


def operators(content: bytes) -> set[str]:
    """Return the kinds of nodes that a graph holds."""
    return {node.op_type for node in onnx.load_from_string(content).graph.node}


class _Graph:
    """A graph that is walked from its output to its input."""

    def __init__(self, graph: Any) -> None:
        self._made = {name: node for node in graph.node for name in node.output}
        self._constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        taken = [each.name for each in graph.input if each.name not in self._constants]
        self._input = taken[0] if taken else ""
        self._outputs = [each.name for each in graph.output]

    def tail(self) -> tuple[str, Calibration]:
        """Return the name of the answers, and the line from them to log odds."""
        if len(self._outputs) != 1:
            raise _UnreadError(f"its graph has {len(self._outputs)} outputs, not one")
        sigmoid = self._node(self._outputs[0], "Sigmoid")
        last = self._made.get(sigmoid.input[0])
        if last is None or last.op_type != "Gemm" or not self._is(last.input[0], "Min"):
            return sigmoid.input[0], LOG_ODDS
        lowest = self._node(last.input[0], "Min")
        highest = self._node(lowest.input[0], "Max")
        moved = self._node(highest.input[0], "Sub")
        at = self._constant(moved.input[1]).ravel().astype(np.float64)
        widths = self._constant(lowest.input[1]).ravel().astype(np.float64)
        slopes, start = self._weights(last)
        odds = start[0] + np.append(0.0, np.cumsum(slopes.ravel() * widths))
        return moved.input[0], Calibration(np.append(at, at[-1] + widths[-1]), odds)

    def body(self, answers: str) -> Fitted:
        """Return what makes the answers."""
        node = self._made.get(answers)
        if node is None:
            raise _UnreadError("its answers are its input")
        if node.op_type == "TreeEnsembleRegressor":
            return self._sum(node)
        if node.op_type == "Mul" and self._is(node.input[0], "Add"):
            return self._mean(node)
        if node.op_type == "Gemm":
            return self._network(node)
        raise _UnreadError(f"its answers come from a {node.op_type}, which cannot be edited")

    def _mean(self, node: Any) -> Blend:
        if float(self._constant(node.input[1]).ravel()[0]) != HALF:
            raise _UnreadError("it weighs two parts unevenly")
        parts = [self._made.get(name) for name in self._made[node.input[0]].input]
        first = next((each for each in parts if each and each.op_type == "Sigmoid"), None)
        second = next((each for each in parts if each and each is not first), None)
        if first is None or second is None:
            raise _UnreadError("it adds two parts, none of which is a probability")
        return Blend(
            self._sum(self._node(first.input[0], "TreeEnsembleRegressor")), self._sum(second)
        )

    def _sum(self, node: Any) -> TreeSum:
        if node.op_type != "TreeEnsembleRegressor" or node.input[0] != self._input:
            raise _UnreadError(f"a {node.op_type} stands where trees over the input belong")
        return TreeSum(_trees(node))

    def _network(self, last: Any) -> Network:
        layers: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        node, name = last, ""
        while node is not None and node.op_type == "Gemm":
            layers.insert(0, self._weights(node))
            name = node.input[0]
            node = self._made.get(name)
            if node is None or node.op_type != "Relu":
                break
            node = self._made.get(node.input[0])
        width = len(layers[0][0])
        return Network(self._front(name, width), layers)

    def _front(self, name: str, width: int) -> Scaling:
        """Return how the input is squeezed in front of the first layer."""
        zeros, ones = np.zeros(width), np.ones(width)
        if name == self._input:
            return Unscaled(zeros, ones, has_nan=False)
        if self._is(name, "Softsign"):
            shares = self._node(self._made[name].input[0], "Mul")
            size = 1.0 / self._constant(shares.input[1]).astype(np.float64).ravel()
            return Softly(zeros, ones, self._numbers_only(shares.input[0]), size)
        sizes, signs = self._node(name, "Mul").input
        source = self._node(signs, "Sign").input[0]
        wide = self._node(self._node(sizes, "Cast").input[0], "Log").input[0]
        plus = self._node(self._node(wide, "Cast").input[0], "Add")
        if self._node(plus.input[0], "Abs").input[0] != source:
            raise _UnreadError("its input is squeezed in an unknown way")
        return Scaling(zeros, ones, self._numbers_only(source))

    def _numbers_only(self, source: str) -> bool:
        """Say whether what is no number is made 0 on the way from the input."""
        if source == self._input:
            return False
        where = self._node(source, "Where")
        if where.input[2] != self._input or not self._is(where.input[0], "IsNaN"):
            raise _UnreadError("its input is squeezed in an unknown way")
        return True

    def _is(self, name: str, operator: str) -> bool:
        node = self._made.get(name)
        return node is not None and node.op_type == operator

    def _node(self, name: str, operator: str) -> Any:
        node = self._made.get(name)
        if node is None or node.op_type != operator:
            found = "its input or a constant" if node is None else f"a {node.op_type}"
            raise _UnreadError(f"{found} stands where a {operator} belongs")
        return node

    def _constant(self, name: str) -> NDArray[np.float32]:
        if name not in self._constants:
            raise _UnreadError("a weight is computed, not stored")
        found: NDArray[np.float32] = self._constants[name]
        return found

    def _weights(self, gemm: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        attributes = {each.name: helper.get_attribute_value(each) for each in gemm.attribute}
        plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
        if any(attributes.get(name, value) != value for name, value in plain.items()):
            raise _UnreadError("a Gemm scales or turns its inputs")
        weights = self._constant(gemm.input[1]).astype(np.float64)
        return weights, self._constant(gemm.input[2]).astype(np.float64).ravel()


HALF = 0.5


def _trees(node: Any) -> list[Tree]:
    """Return the trees of a TreeEnsembleRegressor.

    Source  ONNX operators, ai.onnx.ml version 3
    """
    known = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    _check_form(known)
    tree_of = np.array(known["nodes_treeids"], np.int64)
    node_of = np.array(known["nodes_nodeids"], np.int64)
    leaves = [mode == b"LEAF" for mode in known["nodes_modes"]]
    missing = known.get("nodes_missing_value_tracks_true") or [0] * len(node_of)
    values: dict[tuple[int, int], float] = {}
    for key, weight in zip(
        zip(known["target_treeids"], known["target_nodeids"], strict=True),
        known["target_weights"],
        strict=True,
    ):
        values[key] = values.get(key, 0.0) + float(weight)
    columns: dict[str, NDArray[Any]] = {
        "feature": np.where(leaves, LEAF, known["nodes_featureids"]).astype(np.int64),
        "threshold": np.array(known["nodes_values"], np.float32),
        "left": np.array(known["nodes_truenodeids"], np.int64),
        "right": np.array(known["nodes_falsenodeids"], np.int64),
        "nan_left": np.array(missing).astype(np.bool_),
        "value": np.array(
            [values.get(key, 0.0) for key in zip(tree_of.tolist(), node_of.tolist(), strict=True)]
        ),
    }
    return [
        _in_order({name: each[tree_of == tree] for name, each in columns.items()}, node_of[rows])
        for tree in np.unique(tree_of).tolist()
        for rows in [tree_of == tree]
    ]


def _check_form(known: dict[str, Any]) -> None:
    if known.get("n_targets", 1) != 1 or set(known.get("target_ids", [0])) - {0}:
        raise _UnreadError("its trees have several targets")
    if known.get("post_transform", b"NONE") != b"NONE":
        raise _UnreadError("its trees transform their sum")
    if known.get("aggregate_function", b"SUM") != b"SUM":
        raise _UnreadError("its trees are not summed")
    if any(known.get("base_values", ())):
        raise _UnreadError("its trees begin with a base value")
    strange = sorted({mode.decode() for mode in known["nodes_modes"]} - {"LEAF", "BRANCH_LEQ"})
    if strange:
        raise _UnreadError(f"its trees split by {', '.join(strange)}")


def _in_order(columns: dict[str, NDArray[Any]], numbers: NDArray[np.int64]) -> Tree:
    """Return a tree whose nodes are numbered by their place, each parent before its children."""
    place = {number: at for at, number in enumerate(numbers.tolist())}
    inside = columns["feature"] != LEAF
    below = {*columns["left"][inside].tolist(), *columns["right"][inside].tolist()}
    order: list[int] = []
    waiting = [place[number] for number in place if number not in below][:1]
    while waiting:
        at = waiting.pop()
        order.append(at)
        if columns["feature"][at] != LEAF:
            waiting += [place[int(columns[side][at])] for side in ("right", "left")]
    new = {at: number for number, at in enumerate(order)}
    inner = columns["feature"][order] != LEAF

    def moved(side: str) -> NDArray[np.int64]:
        return np.array(
            [new[place[int(columns[side][at])]] if is_inner else 0
             for at, is_inner in zip(order, inner.tolist(), strict=True)],
            np.int64,
        )  # fmt: skip

    return Tree(
        columns["feature"][order],
        np.where(inner, columns["threshold"][order], np.float32(0)).astype(np.float32),
        moved("left"),
        moved("right"),
        columns["nan_left"][order],
        np.where(inner, 0.0, columns["value"][order]),
    )
