"""Drafts of models of trees: cut, or fitted anew and smaller."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stream_infer.optimizing.drafts import DoesNotApplyError, Draft, Make, compared
from stream_infer.optimizing.lines import match_line
from stream_infer.optimizing.material import Material, answers_of
from stream_infer.optimizing.reading import TreeSum
from stream_infer.optimizing.shrinking import (
    depths,
    fewer,
    leaves,
    leaves_refitted,
    shallower,
    weakest_links_cut,
)
from stream_infer.training.candidates import Blend, Fitted, Settings, fit_candidate
from stream_infer.training.forests import LEAF, Tree
from stream_infer.training.parity import DIFFERENCE_MAX

TREE_CHUNK = 256
"""Rows a call to begin with; see `stream_infer.optimizing.timing.tune_chunk`."""
REFIT_ROWS = 40_000


def fewer_trees(share: float) -> Make:
    """Keep the first trees of each sum."""

    def make(material: Material, source: Draft) -> Draft:
        def cut(trees: list[Tree]) -> list[Tree]:
            return fewer(trees, material.looked, max(1, round(share * len(trees))))

        return _edited(material, source, cut)

    return make


def fewer_leaves(share: float) -> Make:
    """Cut the splits that matter least, over all trees of a sum."""

    def make(material: Material, source: Draft) -> Draft:
        def cut(trees: list[Tree]) -> list[Tree]:
            goal = max(len(trees), round(share * leaves(trees)))
            return weakest_links_cut(trees, material.looked, goal)

        return _edited(material, source, cut)

    return make


def half_as_deep(material: Material, source: Draft) -> Draft:
    """Cut each tree at half the depth of the deepest."""

    def cut(trees: list[Tree]) -> list[Tree]:
        deepest = max(int(depths(tree).max()) for tree in trees)
        return shallower(trees, material.looked, max(1, (deepest + 1) // 2))

    return _edited(material, source, cut)


def _edited(material: Material, source: Draft, cut: Callable[[list[Tree]], list[Tree]]) -> Draft:
    sums = source.reading.sums
    if not sums:
        raise DoesNotApplyError(source.why or "it is made of layers, not of trees")
    rows = some_rows(material.soft.matrix, material.seed)
    cut_sums = [
        TreeSum(leaves_refitted(cut(list(each.trees)), rows, each.answer(rows))) for each in sums
    ]
    before = leaves([tree for each in sums for tree in each.trees])
    if leaves([tree for each in cut_sums for tree in each.trees]) == before:
        raise DoesNotApplyError("its trees are as small as this would make them")
    fitted = Blend(*cut_sums) if isinstance(source.fitted, Blend) else cut_sums[0]
    return _matched(material, fitted)


def refitted(kind: str, settings: Settings) -> Make:
    """Fit a smaller model of trees on the training days' labels."""

    def make(material: Material, source: Draft) -> Draft:
        sums = source.reading.sums
        if not sums:
            raise DoesNotApplyError(source.why or "it is made of layers, not of trees")
        if kind == "forest" and not any(_is_forest(each) for each in sums):
            raise DoesNotApplyError("none of its trees are a forest's")
        fitted = fit_candidate(kind, settings, material.fit, material.seed, material.threads)
        size = leaves([tree for each in sums for tree in each.trees])
        if leaves(fitted.trees) >= size:
            raise DoesNotApplyError("fitted anew with these settings it would be no smaller")
        return _matched(material, fitted)

    return make


def some_rows(matrix: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return so many of the rows, by chance, as leaves are fitted to."""
    if len(matrix) <= REFIT_ROWS:
        return matrix
    chosen = np.random.default_rng(seed).choice(len(matrix), REFIT_ROWS, replace=False)
    return np.ascontiguousarray(matrix[np.sort(chosen)])


def _is_forest(trees: TreeSum) -> bool:
    """Say whether a sum of trees is a mean of probabilities."""
    highest = sum(float(tree.value[tree.feature == LEAF].max()) for tree in trees.trees)
    lowest = min(float(tree.value[tree.feature == LEAF].min()) for tree in trees.trees)
    return lowest >= 0 and highest <= 1 + DIFFERENCE_MAX


def _matched(material: Material, fitted: Fitted) -> Draft:
    """Return a model of trees behind which a line leads to the original's log odds."""
    line = match_line(answers_of(fitted, material.soft.matrix), material.soft.target)
    return compared(material, fitted, line, DIFFERENCE_MAX, TREE_CHUNK)
