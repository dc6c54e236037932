"""What each feature contributes to the score of boosted trees, and whether told reasons agree.

Alerts tell reasons by baseline substitution: what the score would be if one thing were as usual
(`stream_infer.alerts.reasons`). Trees can say more exactly how their raw score comes about: the
Shapley values of the features, which add up to it (Lundberg et al., 2020, From local explanations
to global understanding with explainable AI for trees). They need the learner's own model, so they
are no part of serving; here they judge the order in which the other method tells its reasons.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, rankdata

from stream_infer.alerts.reasons import ReasonMaker, Score
from stream_infer.alerts.spec import Alerts
from stream_infer.errors import GateFailedError, InvalidDataError

BOOSTER_FILE = "booster.txt"
"""Attachment of a version that holds LightGBM's own text of its trees."""
SUM_DIFFERENCE_MAX = 1e-6
ROWS_MAX = 500
"""Alerting rows that are compared: the mean of more says the same."""
TOP = 3


@dataclass(frozen=True, slots=True)
class TreeContributions:
    """How the raw scores of ``n`` rows come about.

    base    (n,) float64, what is said of a row of which nothing is known
    values  (n, F) float64, what each feature adds
    raw     (n,) float64, the raw score: base and values together
    """

    base: NDArray[np.float64]
    values: NDArray[np.float64]
    raw: NDArray[np.float64]

    @property
    def sum_error(self) -> float:
        """How far base and contributions are from the raw score, at most."""
        return float(np.abs(self.base + self.values.sum(axis=1) - self.raw).max(initial=0.0))


def tree_contributions(booster: str, matrix: NDArray[np.floating[Any]]) -> TreeContributions:
    """Return the contributions of every feature by the trees themselves.

    booster  LightGBM's text of its model
    matrix   (n, F) float
    Raises   InvalidDataError ``booster_unreadable``, ``booster_of_other_features``; GateFailedError
             ``contributions_do_not_add_up``
    Cost     half a ms a row for 200 trees of 15 leaves
    """
    try:
        model = lightgbm.Booster(model_str=booster)
    except lightgbm.basic.LightGBMError as error:
        raise InvalidDataError(
            "booster_unreadable",
            f"The trees that are kept with the model cannot be read: {error}",
            "Train the model again, or take the attachment away.",
        ) from error
    if model.num_feature() != matrix.shape[1]:
        raise InvalidDataError(
            "booster_of_other_features",
            f"The trees that are kept with the model take {model.num_feature()} features, the model"
            f" {matrix.shape[1]}.",
            "Train the model again, or take the attachment away.",
        )
    said = np.asarray(model.predict(matrix, pred_contrib=True, num_threads=1), np.float64)
    raw = np.asarray(model.predict(matrix, raw_score=True, num_threads=1), np.float64)
    found = TreeContributions(said[:, -1], said[:, :-1], raw)
    if not found.sum_error <= SUM_DIFFERENCE_MAX:
        raise GateFailedError(
            "contributions_do_not_add_up",
            f"Contributions and raw score are up to {found.sum_error:g} apart.",
            "Do not rely on them: report the case with the model's parameters.",
            difference=found.sum_error,
        )
    return found


def rank_agreement(
    one: NDArray[np.float64], two: NDArray[np.float64], top: int = TOP
) -> dict[str, float | None]:
    """Return how alike two methods order what they tell, as means over the rows.

    one, two  (n, k) float64, what each of k things contributes by either method
    Returns   ``spearman`` and ``kendall`` (tau-b), from -1 to 1, over rows in which either method
              tells things apart; ``top_1`` and ``top_3``, the share of the first that both name.
              None where no row can be compared

    >>> a = np.array([[3.0, 2.0, 1.0, 0.0]])
    >>> rank_agreement(a, a[:, ::-1])
    {'spearman': -1.0, 'kendall': -1.0, 'top_1': 0.0, 'top_3': 0.6667}
    """
    if not len(one) or one.shape[1] < 2:
        return {"spearman": None, "kendall": None, "top_1": None, f"top_{top}": None}
    first, second = (
        rankdata(each, axis=1) - (each.shape[1] + 1) / 2  # less the mean of ranks
        for each in (one, two)
    )
    size = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    told = size > 0
    spearman = (first * second).sum(axis=1)[told] / size[told]
    pairs = zip(one[told], two[told], strict=True)
    kendall = [float(kendalltau(a, b).statistic) for a, b in pairs]
    return {
        "spearman": _mean(spearman),
        "kendall": _mean(kendall),
        "top_1": _mean(_overlap(one, two, 1)),
        f"top_{top}": _mean(_overlap(one, two, min(top, one.shape[1]))),
    }


def _overlap(one: NDArray[np.float64], two: NDArray[np.float64], top: int) -> NDArray[np.float64]:
    """Return the share of the `top` first of each row that both have, (n,)."""
    firsts = [np.argsort(-each, axis=1, kind="stable")[:, :top] for each in (one, two)]
    pairs = zip(*firsts, strict=True)
    return np.array([len(np.intersect1d(a, b)) / top for a, b in pairs], np.float64)


def _mean(values: Sequence[float] | NDArray[np.float64]) -> float | None:
    return round(float(np.mean(values)), 4) if len(values) else None


def reason_agreement(
    booster: str,
    alerts: Alerts | None,
    names: Sequence[str],
    matrix: NDArray[np.float32],
    scores: NDArray[np.float32],
    score: Score,
    review: float,
) -> dict[str, Any]:
    """Return how the reasons that alerts tell agree with the trees' own contributions.

    booster  LightGBM's text of the trees: of the model, or of the one that it imitates
    alerts   what is usual and which reasons are declared; None: medians, and every feature
    names    features, in the order of the columns
    matrix   (n, F) float32, any rows; those that alert are compared, `ROWS_MAX` at most
    scores   (n,) float32, by the model that serves
    score    that model: (m, F) to (m,) float32
    review   threshold from which on a row alerts
    """
    alerting = np.flatnonzero(scores >= np.float32(review))
    chosen = alerting[:: max(1, -(-len(alerting) // ROWS_MAX))]
    rows = matrix[chosen].astype(np.float64)
    found: dict[str, Any] = {"rows": len(chosen)}
    if not len(chosen):
        return found
    trees = tree_contributions(booster, rows)
    medians = dict(zip(names, np.nanmedian(matrix, axis=0).tolist(), strict=True))
    declared = alerts or Alerts(topic="", kinds=())
    each = ReasonMaker(replace(declared, reasons=()), names, medians)
    found["sum_error_max"] = trees.sum_error
    found["score_and_raw_score"] = rank_agreement(
        scores[chosen][None].astype(np.float64), trees.raw[None]
    )["spearman"]
    found["by_feature"] = rank_agreement(
        each.contributions(rows, scores[chosen], score), trees.values @ each.columns.T
    )
    if declared.reasons:
        maker = ReasonMaker(declared, names, medians)
        began = time.process_time()
        substituted = maker.contributions(rows, scores[chosen], score)
        found["us_a_row"] = round((time.process_time() - began) / len(rows) * 1e6, 1)
        found["by_reason"] = rank_agreement(substituted, trees.values @ maker.columns.T)
    return found
