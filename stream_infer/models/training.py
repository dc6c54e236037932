"""From a generated world to a fitted model: rows, learner, thresholds, figures.

The days of the world follow each other as they would for somebody who trains on a live
system::

    | cold | history           | train   | gap      | tune       | test    |
    | fit  | windows fill up   | fit     | labels   | thresholds | figures |
                                           arrive

The gap is as long as a label takes, so that every label of the training days would have
been known before the first tuning day. The cold days are the world's first: a model that
has never seen a customer without history takes everybody's first payments for odd ones.
Features come from the code that the stream runs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from stream_infer.errors import ConfigError
from stream_infer.features.table import compute_features
from stream_infer.pipelines.fraud import pipeline
from stream_infer.scoring.manifest import Thresholds
from stream_infer.simulators.fraud import DAY_MS, Transactions, World, generate
from stream_infer.simulators.records import label_columns, transaction_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """How many days of a world serve for what, in this order; `cold` ones are part of `history`."""

    cold: int = 14
    history: int = 45
    train: int = 14
    gap: int = 7
    tune: int = 7
    test: int = 7

    @property
    def total(self) -> int:
        """Days that the world must have."""
        return self.history + self.train + self.gap + self.tune + self.test


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertBudget:
    """How many transactions may be stopped, as shares of all.

    review   those that a person looks at or that are declined
    decline  those that are declined without a look
    """

    review: float = 0.010
    decline: float = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertGoals:
    """How often a stop must be right: by customers and days, as people see alerts.

    Of the customers with a payment at or above the threshold on a day, this share must have
    a fraud among those payments. By payments a tested card with its twenty would count for
    twenty right answers, and each honest customer for one wrong one.

    review   for what a person looks at or that is declined
    decline  for what is declined without a look
    """

    review: float = 0.5
    decline: float = 0.92


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled rows of a model.

    matrix    (n, F) float32, as a scorer sees it
    truth     (n,) bool
    day       (n,) int64, day of the world
    customer  (n,) int64
    """

    matrix: NDArray[np.float32]
    truth: NDArray[np.bool_]
    day: NDArray[np.int64]
    customer: NDArray[np.int64]

    def take(self, rows: NDArray[np.bool_]) -> Rows:
        """Return the chosen rows."""
        return Rows(self.matrix[rows], self.truth[rows], self.day[rows], self.customer[rows])

    @property
    def digest(self) -> str:
        """sha256 of matrix and truth."""
        content = hashlib.sha256(np.ascontiguousarray(self.matrix).tobytes())
        content.update(self.truth.astype(np.int8).tobytes())
        return content.hexdigest()


@dataclass(frozen=True, slots=True)
class Split:
    """Rows by what they serve for."""

    train: Rows
    tune: Rows
    test: Rows


def fraud_rows(transactions: Transactions, start_ms: int) -> Rows:
    """Return features and truth of transactions in event-time order."""
    matrix = compute_features(
        pipeline, transaction_columns(transactions), label_columns(transactions.by_label_time())
    )
    return Rows(
        matrix.astype(np.float32),
        transactions.is_fraud,
        (transactions.event_time - start_ms) // DAY_MS,
        transactions.customer,
    )


def split_world(world: World, days: Days) -> Split:
    """Generate the world's days and cut their rows."""
    rows = fraud_rows(generate(replace(world, days=days.total)), world.start_ms)
    train = days.history
    tune = train + days.train + days.gap
    test = tune + days.tune
    return Split(
        rows.take((rows.day < days.cold) | ((rows.day >= train) & (rows.day < train + days.train))),
        rows.take((rows.day >= tune) & (rows.day < test)),
        rows.take(rows.day >= test),
    )


def fit_trees(
    rows: Rows, *, trees: int = 100, leaves: int = 7, seed: int = 0, rising: Sequence[int] = ()
) -> Any:
    """Return a LightGBM booster; the same rows and seed give the same one.

    rising  columns of which more never lowers the score, all else being equal
    One thread, since sums of gradients that are cut over threads depend on how many.
    """
    _need_both_classes(rows)
    parameters = {
        "objective": "binary",
        "learning_rate": 0.05,
        "num_leaves": leaves,
        "min_data_in_leaf": 50,
        "seed": seed,
        "monotone_constraints": [int(at in rising) for at in range(rows.matrix.shape[1])],
        "monotone_constraints_method": "intermediate",
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
    }
    data = lightgbm.Dataset(rows.matrix, rows.truth.astype(np.int8))
    return lightgbm.train(parameters, data, num_boost_round=trees)


def choose_thresholds(scores: NDArray[np.float32], budget: AlertBudget) -> Thresholds:
    """Return the lowest thresholds that keep within the budget on these scores.

    They are rounded up to six significant digits: see `Thresholds` for why so few.
    """
    review = _threshold(scores, budget.review)
    return Thresholds(review=review, decline=max(review, _threshold(scores, budget.decline)))


def _threshold(scores: NDArray[np.float32], share: float) -> float:
    allowed = int(share * len(scores))
    if allowed >= len(scores):
        return 0.0
    # The highest score that is not allowed any more: only what lies above it may be stopped.
    refused = np.sort(scores)[::-1][allowed]
    return _just_above(refused)


def _just_above(refused: np.float32) -> float:
    """Return a threshold above a score that is not to be stopped, with few digits."""
    lowest = float(np.nextafter(refused, np.float32(2)))
    digits = 6 - math.ceil(math.log10(lowest))
    return min(1.0, round(math.ceil(lowest * 10.0**digits) / 10.0**digits, digits))


STOPPED_MIN = 20
"""A share of fewer customers than this says nothing."""


def choose_by_precision(scores: NDArray[np.float32], rows: Rows, goals: AlertGoals) -> Thresholds:
    """Return the lowest thresholds that reach the goals on these rows; 1.0 where none does.

    scores  (n,) float32, of the same rows
    """
    order = np.argsort(-scores, kind="stable")
    right, stopped = (
        np.cumsum(_first_of_customer_and_day(rows, order, only_frauds=only))
        for only in (True, False)
    )
    falling = scores[order]
    # A threshold takes all equal scores or none of them.
    ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)

    def lowest(goal: float) -> float:
        reached = ends[(right[ends] >= goal * stopped[ends]) & (stopped[ends] >= STOPPED_MIN)]
        if not len(reached):
            return 1.0
        last = int(reached[-1])
        return _just_above(falling[last + 1]) if last + 1 < len(falling) else 0.0

    review = lowest(goals.review)
    return Thresholds(review=review, decline=max(review, lowest(goals.decline)))


def customer_precision(scores: NDArray[np.float32], rows: Rows, threshold: float) -> float:
    """Return how many of the customers and days that a threshold stops are right; 0 of none."""
    above = np.flatnonzero(scores >= np.float32(threshold))
    stopped = int(_first_of_customer_and_day(rows, above, only_frauds=False).sum())
    right = int(_first_of_customer_and_day(rows, above, only_frauds=True).sum())
    return right / max(1, stopped)


def _first_of_customer_and_day(
    rows: Rows, order: NDArray[np.int64], *, only_frauds: bool
) -> NDArray[np.bool_]:
    """Say which rows, taken in this order, are the first (fraud) of their customer that day."""
    among = np.flatnonzero(rows.truth[order]) if only_frauds else np.arange(len(order))
    unit = rows.customer[order][among] * (int(rows.day.max(initial=0)) + 1) + rows.day[order][among]
    first = np.zeros(len(order), np.bool_)
    first[among[np.unique(unit, return_index=True)[1]]] = True
    return first


def measure(scores: NDArray[np.float32], rows: Rows, thresholds: Thresholds) -> dict[str, float]:
    """Return figures of merit, rounded to four digits.

    auc, average_precision   over transactions
    card_precision_100       see `card_precision`
    *_share, *_precision, *_recall
                             of transactions at or above each threshold
    """
    _need_both_classes(rows)
    figures = {
        "auc": float(roc_auc_score(rows.truth, scores)),
        "average_precision": float(average_precision_score(rows.truth, scores)),
        "card_precision_100": card_precision(scores, rows, 100),
    }
    for name, threshold in (("review", thresholds.review), ("decline", thresholds.decline)):
        stopped = scores >= np.float32(threshold)
        found = int((stopped & rows.truth).sum())
        figures[f"{name}_share"] = float(stopped.mean())
        figures[f"{name}_precision"] = found / max(1, int(stopped.sum()))
        figures[f"{name}_recall"] = found / int(rows.truth.sum())
    return {name: round(value, 4) for name, value in figures.items()}


def card_precision(scores: NDArray[np.float32], rows: Rows, top: int) -> float:
    """Return the share of defrauded customers among each day's `top` scores, mean over days.

    A customer's score is the highest of the day. Unlike in its source, a customer who was
    found stays in the running on later days.
    Source  "Reproducible Machine Learning for Credit Card Fraud Detection", chapter 4
    """
    shares = []
    for day in np.unique(rows.day):
        today = rows.day == day
        customers, index = np.unique(rows.customer[today], return_inverse=True)
        highest = np.zeros(len(customers), np.float32)
        np.maximum.at(highest, index, scores[today])
        lost = np.zeros(len(customers), np.bool_)
        np.logical_or.at(lost, index, rows.truth[today])
        shares.append(lost[np.argsort(-highest, kind="stable")[:top]].mean())
    return float(np.mean(shares))


def _need_both_classes(rows: Rows) -> None:
    if rows.truth.all() or not rows.truth.any():
        raise ConfigError(
            "rows_of_one_class",
            f"The {len(rows.truth)} rows are all of one class: nothing can be learnt or measured.",
            "Generate more customers, terminals or days.",
        )
