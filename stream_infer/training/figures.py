"""How good scores are: over rows, over days, and as probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from stream_infer.training.days import day_text
from stream_infer.training.samples import Samples

Scores = NDArray[np.floating[Any]]
TOP = 100
BINS = 10


def measure(scores: Scores, samples: Samples) -> dict[str, float]:
    """Return the three figures by which models are compared, rounded to four digits.

    auc                 area under the receiver operating characteristic, over rows
    average_precision   over rows
    card_precision_100  see `card_precision_by_day`
    """
    figures = {
        "auc": float(roc_auc_score(samples.truth, scores)),
        "average_precision": float(average_precision_score(samples.truth, scores)),
        f"card_precision_{TOP}": float(
            np.mean([share for _, share in card_precision_by_day(scores, samples)])
        ),
    }
    return {name: round(value, 4) for name, value in figures.items()}


def card_precision_by_day(
    scores: Scores, samples: Samples, top: int = TOP
) -> list[tuple[str, float]]:
    """Return, for each day, the share of defrauded customers among the `top` highest scores.

    A customer's score is the highest of the day; one who was found is not looked at again.
    Source  "Reproducible Machine Learning for Credit Card Fraud Detection", chapter 4
    """
    said = []
    found = np.zeros(int(samples.customer.max(initial=-1)) + 1, np.bool_)
    for day in np.unique(samples.day).tolist():
        today = (samples.day == day) & ~found[samples.customer]
        customers, index = np.unique(samples.customer[today], return_inverse=True)
        highest = np.full(len(customers), -np.inf)
        np.maximum.at(highest, index, scores[today])
        lost = np.zeros(len(customers), np.bool_)
        np.logical_or.at(lost, index, samples.truth[today])
        first = np.argsort(-highest, kind="stable")[:top]
        found[customers[first][lost[first]]] = True
        said.append((day_text(day), round(float(lost[first].sum()) / top, 4)))
    return said


def precision_recall(scores: Scores, samples: Samples, points: int = 200) -> list[list[float]]:
    """Return at most so many points [recall, precision] of the curve, by falling recall."""
    precision, recall, _ = precision_recall_curve(samples.truth, scores)
    chosen = np.unique(np.linspace(0, len(recall) - 1, min(points, len(recall))).astype(int))
    return [[round(float(recall[i]), 5), round(float(precision[i]), 5)] for i in chosen]


def calibration_bins(scores: Scores, samples: Samples) -> list[dict[str, float]]:
    """Return groups of rows by score, each with its mean score and its share of positives.

    Groups hold about as many positives each: of rows, nearly all would lie in the lowest.
    """
    order = np.argsort(scores, kind="stable")
    positives = np.cumsum(samples.truth[order])
    edges = np.searchsorted(positives, np.linspace(0, positives[-1], BINS + 1)[1:], side="left") + 1
    parts = np.split(order, np.unique(np.append(edges[:-1], [])).astype(int))
    return [
        {
            "rows": float(len(part)),
            "mean_score": round(float(scores[part].mean()), 6),
            "share": round(float(samples.truth[part].mean()), 6),
        }
        for part in parts
        if len(part)
    ]


def calibration_figures(scores: Scores, samples: Samples) -> dict[str, float]:
    """Return how far scores are from probabilities.

    calibration_error  mean over rows of the distance between a group's score and its share
    brier              mean squared distance from the truth
    log_loss           mean negative log-likelihood, nats
    """
    bins = calibration_bins(scores, samples)
    total = sum(each["rows"] for each in bins)
    error = sum(abs(each["mean_score"] - each["share"]) * each["rows"] for each in bins) / total
    clipped = np.clip(np.asarray(scores, np.float64), 1e-9, 1 - 1e-9)
    loss = -np.where(samples.truth, np.log(clipped), np.log1p(-clipped)).mean()
    return {
        "calibration_error": round(float(error), 6),
        "brier": round(float(((scores - samples.truth) ** 2).mean()), 6),
        "log_loss": round(float(loss), 6),
    }


def decision_figures(
    scores: Scores, samples: Samples, review: float, decline: float
) -> dict[str, dict[str, float]]:
    """Return, for rows at or above each threshold: their share, precision and recall."""
    said = {}
    for name, threshold in (("review", review), ("decline", decline)):
        stopped = np.asarray(scores, np.float32) >= np.float32(threshold)
        right = int((stopped & samples.truth).sum())
        said[name] = {
            "threshold": threshold,
            "share": round(float(stopped.mean()), 6),
            "precision": round(right / max(1, int(stopped.sum())), 4),
            "recall": round(right / int(samples.truth.sum()), 4),
        }
    return said
