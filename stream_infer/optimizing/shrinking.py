"""Trees with fewer nodes: fewer trees, shallower ones, or without the splits that matter least.

What is cut off is gone: the arrays are shorter, and so is the graph. A node that becomes a leaf
adds what its rows got on average, so that the mean of the answers stays. Nothing here looks at a
label: rows say only how often each leaf is reached.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import lsqr

from stream_infer.training.forests import LEAF, Tree

_SEEN_MIN = 1e-9
"""Rows of a leaf that none reaches: its value counts where all leaves beside it are such."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What rows show of one tree's nodes.

    weight  (k,) float64, rows that pass
    mean    (k,) float64, of what they get
    spread  (k,) float64, sum of squared distances of what they get from that mean
    """

    weight: NDArray[np.float64]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]


def passed(tree: Tree, rows: NDArray[np.float32]) -> Passed:
    """Return what rows show of a tree's nodes; parents stand before their children."""
    counts = np.array([len(each) for each in tree.rows_at(rows)], np.float64)
    leaf = tree.feature == LEAF
    weight = np.where(leaf, counts + _SEEN_MIN, 0.0)
    total, squares = weight * tree.value, weight * tree.value**2
    for node in range(len(leaf) - 1, -1, -1):
        if not leaf[node]:
            for sums in (weight, total, squares):
                sums[node] = sums[tree.left[node]] + sums[tree.right[node]]
    mean = total / weight
    return Passed(weight, mean, np.maximum(squares - weight * mean**2, 0.0))


def leaves(trees: Sequence[Tree]) -> int:
    """Return how many leaves trees have."""
    return sum(int((tree.feature == LEAF).sum()) for tree in trees)


def depths(tree: Tree) -> NDArray[np.int64]:
    """Return the depth of each node, (k,); the root's is 0."""
    found = np.zeros(len(tree.feature), np.int64)
    for node in np.flatnonzero(tree.feature != LEAF).tolist():
        found[[tree.left[node], tree.right[node]]] = found[node] + 1
    return found


def collapsed(tree: Tree, cut: NDArray[np.bool_], mean: NDArray[np.float64]) -> Tree:
    """Return the tree whose nodes in `cut` are leaves with the mean of what was below them."""
    leaf = (tree.feature == LEAF) | cut
    order: list[int] = []
    waiting = [0]
    while waiting:
        node = waiting.pop()
        order.append(node)
        if not leaf[node]:
            waiting += [int(tree.right[node]), int(tree.left[node])]
    new = np.zeros(len(leaf), np.int64)
    new[order] = np.arange(len(order))
    ends = leaf[order]
    value = np.where(cut, mean, tree.value)[order]
    return Tree(
        np.where(ends, LEAF, tree.feature[order]),
        np.where(ends, np.float32(0), tree.threshold[order]).astype(np.float32),
        np.where(ends, 0, new[tree.left[order]]),
        np.where(ends, 0, new[tree.right[order]]),
        np.where(ends, False, tree.nan_left[order]),  # noqa: FBT003 - a fill value
        np.where(ends, value, 0.0),
    )


def shallower(trees: Sequence[Tree], rows: NDArray[np.float32], depth: int) -> list[Tree]:
    """Return trees of at most so many splits from root to leaf."""
    said = []
    for tree in trees:
        cut = (depths(tree) == depth) & (tree.feature != LEAF)
        said.append(collapsed(tree, cut, passed(tree, rows).mean))
    return said


def fewer(trees: Sequence[Tree], rows: NDArray[np.float32], count: int) -> list[Tree]:
    """Return the first trees, stretched so that their sum is nearest to the sum of all.

    The first trees of a boosted sum are those that matter most, and of a forest as good as any.
    Their sum has another size and mean; a straight line, put into the leaves, sets that right.
    """
    kept = list(trees[:count])
    whole, part = _sum_of(trees, rows), _sum_of(kept, rows)
    spread = float(part.var())
    slope = float(np.cov(part, whole, bias=True)[0, 1]) / spread if spread > 0 else 1.0
    shift = (float(whole.mean()) - slope * float(part.mean())) / len(kept)
    return [
        replace(tree, value=np.where(tree.feature == LEAF, tree.value * slope + shift, 0.0))
        for tree in kept
    ]


def _sum_of(trees: Sequence[Tree], rows: NDArray[np.float32]) -> NDArray[np.float64]:
    total = np.zeros(len(rows))
    for tree in trees:
        for node, there in enumerate(tree.rows_at(rows)):
            if tree.feature[node] == LEAF:
                total[there] += tree.value[node]
    return total


def leaves_refitted(
    trees: Sequence[Tree], rows: NDArray[np.float32], wanted: NDArray[np.float64]
) -> list[Tree]:
    """Return trees of the same splits whose leaves add up as nearly to `wanted` as they can.

    rows    (n, F) float32
    wanted  (n,) float64, what the sum was before trees were cut
    Cost    a few dozen passes over n x trees numbers
    Source  Paige, Saunders (1982), LSQR, ACM Transactions on Mathematical Software 8; the leaves
            of all trees at once as in Ren et al. (2015), Global Refinement of Random Forest
    """
    places, columns = _leaf_columns(trees, rows)
    n, count = len(rows), len(trees)
    table = csr_matrix(
        (np.ones(n * count), places.ravel(), np.arange(0, n * count + 1, count)),
        shape=(n, columns),
    )
    values = np.concatenate([tree.value[tree.feature == LEAF] for tree in trees])
    change = lsqr(table, wanted - table @ values, damp=REFIT_DAMP, iter_lim=REFIT_STEPS)[0]
    said, at = [], 0
    for tree in trees:
        leaf = tree.feature == LEAF
        value = np.zeros(len(leaf))
        value[leaf] = (values + change)[at : at + int(leaf.sum())]
        at += int(leaf.sum())
        said.append(replace(tree, value=value))
    return said


REFIT_DAMP = 3.0
"""Against changes: as if each leaf had been reached by nine more rows that are right already."""
REFIT_STEPS = 40


def _leaf_columns(
    trees: Sequence[Tree], rows: NDArray[np.float32]
) -> tuple[NDArray[np.int64], int]:
    """Return for each row and tree the number of its leaf among all leaves, and how many."""
    places = np.empty((len(rows), len(trees)), np.int64)
    first = 0
    for at, tree in enumerate(trees):
        leaf = np.flatnonzero(tree.feature == LEAF)
        there = tree.rows_at(rows)
        for number, node in enumerate(leaf.tolist()):
            places[there[node], at] = first + number
        first += len(leaf)
    return places, first


def weakest_links_cut(
    trees: Sequence[Tree], rows: NDArray[np.float32], leaves_max: int
) -> list[Tree]:
    """Return trees without the splits that change least per leaf that they cost.

    A split's worth is the squared change of the tree's own answers over the rows when all below
    it becomes one leaf, divided by the leaves that go. The least worthy one of all trees is cut
    until so many leaves are left. For trees whose leaves are means of what they were fitted on,
    that is the order of minimal cost-complexity pruning.
    Cost    O(nodes x depth x log nodes), and one pass of the rows through all trees
    Source  Breiman, Friedman, Olshen, Stone (1984), Classification and Regression Trees, ch. 3
    """
    growing = [_Growing(tree, passed(tree, rows)) for tree in trees]
    waiting = [
        (worth, at, node, 0) for at, each in enumerate(growing) for node, worth in each.worths()
    ]
    heapq.heapify(waiting)
    left = leaves(trees)
    while left > leaves_max and waiting:
        _, at, node, version = heapq.heappop(waiting)
        tree = growing[at]
        if tree.version[node] != version:
            continue  # it was cut off, or something below it was
        left -= tree.cut_at(node)
        for above, worth in tree.above(node):
            heapq.heappush(waiting, (worth, at, above, tree.version[above]))
    return [collapsed(each.tree, each.cut, each.passed.mean) for each in growing]


class _Growing:
    """One tree while it is cut back.

    cut      (k,) bool, nodes that have become leaves
    version  of each node's entry in the heap; -1 where the node is gone
    """

    def __init__(self, tree: Tree, seen: Passed) -> None:
        size = len(tree.feature)
        self.tree = tree
        self.passed = seen
        self.cut = np.zeros(size, np.bool_)
        self.version = [0] * size
        self._parent = [-1] * size
        self._leaves = [1] * size
        self._within = [0.0] * size  # what is lost already inside, by cuts made so far
        for node in np.flatnonzero(tree.feature != LEAF).tolist():
            self._parent[tree.left[node]] = self._parent[tree.right[node]] = node
        for node in range(size - 1, 0, -1):
            parent = self._parent[node]
            if node == tree.left[parent]:
                self._leaves[parent] = self._leaves[node] + self._leaves[tree.right[parent]]

    def worths(self) -> list[tuple[int, float]]:
        """Return each split with its worth."""
        return [
            (node, self._worth(node)) for node in np.flatnonzero(self.tree.feature != LEAF).tolist()
        ]

    def _worth(self, node: int) -> float:
        return (float(self.passed.spread[node]) - self._within[node]) / (self._leaves[node] - 1)

    def cut_at(self, node: int) -> int:
        """Make a node a leaf and return how many leaves that saves."""
        saved = self._leaves[node] - 1
        lost = float(self.passed.spread[node]) - self._within[node]
        waiting = [node]
        while waiting:
            gone = waiting.pop()
            self.version[gone] = -1
            if self.tree.feature[gone] != LEAF:
                waiting += [int(self.tree.left[gone]), int(self.tree.right[gone])]
        self.cut[node] = True
        at = node
        while at != -1:
            self._leaves[at] -= saved
            self._within[at] += lost
            at = self._parent[at]
        return saved

    def above(self, node: int) -> list[tuple[int, float]]:
        """Return the splits above a node with their worth now."""
        said = []
        at = self._parent[node]
        while at != -1:
            self.version[at] += 1
            said.append((at, self._worth(at)))
            at = self._parent[at]
        return said
