"""What is said of a model: one value as JSON, and the same as a page with pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from stream_infer.scoring.manifest import Thresholds
from stream_infer.training.figures import (
    calibration_bins,
    calibration_figures,
    card_precision_by_day,
    decision_figures,
    measure,
    precision_recall,
)
from stream_infer.training.making import Made, Order, run_graph
from stream_infer.training.pictures import Line, bar_chart, line_chart
from stream_infer.training.samples import Samples

IMPORTANCE_ROWS = 5_000
SHOWN = 20

_STYLE = (
    "body{font-family:sans-serif;max-width:62em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ccc;padding:.25em .6em;"
    "text-align:left}figure{display:inline-block;margin:.5em}"
)


def measured(
    scores: NDArray[np.float32], samples: Samples, thresholds: Thresholds
) -> dict[str, Any]:
    """Return everything that is measured of scores."""
    return {
        **measure(scores, samples),
        "rows": len(samples),
        "positives": int(samples.truth.sum()),
        "calibration": calibration_figures(scores, samples),
        "calibration_bins": calibration_bins(scores, samples),
        "decisions": decision_figures(scores, samples, thresholds.review, thresholds.decline),
        "card_precision_by_day": card_precision_by_day(scores, samples),
        "precision_recall": precision_recall(scores, samples),
    }


def training_report(made: Made, order: Order, names: Sequence[str]) -> dict[str, Any]:
    """Return what is said of a model that was made."""
    manifest = made.manifest
    return {
        "model": manifest.name,
        "version": manifest.version,
        "sha256": manifest.sha256,
        "kind": manifest.protocol["kind"],
        "settings": manifest.protocol["settings"],
        "seed": order.seed,
        "days": order.protocol.facts(),
        "training": {
            "rows": manifest.training.rows,
            "positives": manifest.training.positives,
            "digest": manifest.training.digest,
        },
        "chosen_on": (
            "Kind, settings, calibration and thresholds were chosen on the folds below, none of "
            "which reaches behind the last training day. The test days were scored once, by the "
            "finished model."
        ),
        "folds": [fold.protocol.facts() | {"rows": len(fold.validate)} for fold in made.folds],
        "tried": [tried.facts() for tried in made.tried],
        "thresholds": {
            "review": manifest.thresholds.review,
            "decline": manifest.thresholds.decline,
            "chosen": order.aim.words(),
        },
        "parity": made.parity.facts(),
        "teacher": made.teacher,
        "test": measured(made.scores, made.test, manifest.thresholds),
        "importance": importance(made.content, made.test, names, order.seed),
    }


def importance(
    content: bytes, samples: Samples, names: Sequence[str], seed: int
) -> list[tuple[str, float]]:
    """Return how much average precision is lost when a feature's values are shuffled.

    On all positive rows and some others; the most important first.
    Source  Breiman (2001), Random Forests, section 10
    """
    random = np.random.default_rng(seed)
    negatives = np.flatnonzero(~samples.truth)
    some = random.choice(negatives, min(IMPORTANCE_ROWS, len(negatives)), replace=False)
    rows = samples.take(np.sort(np.append(np.flatnonzero(samples.truth), some)))
    whole = average_precision_score(rows.truth, run_graph(content, rows.matrix))
    said = []
    for column, name in enumerate(names):
        shuffled = rows.matrix.copy()
        shuffled[:, column] = random.permutation(shuffled[:, column])
        lost = whole - average_precision_score(rows.truth, run_graph(content, shuffled))
        said.append((name, round(float(lost), 5)))
    return sorted(said, key=lambda each: -each[1])


def report_page(report: Mapping[str, Any]) -> str:
    """Return the page of a training report, one file without anything from outside."""
    test = report["test"]
    title = f"{report['model']} {report['version']}"
    pieces = [
        f"<h1>{escape(title)}</h1>",
        table(
            ("", "AUC", "average precision", "card precision @100", "rows", "positives"),
            [
                (
                    f"test, {report['days']['test']}",
                    test["auc"],
                    test["average_precision"],
                    test["card_precision_100"],
                    test["rows"],
                    test["positives"],
                )
            ],
        ),
        f"<p>{escape(report['chosen_on'])}</p>",
        *figures_of(test),
        figure(bar_chart("Importance: average precision lost", report["importance"][:SHOWN], "")),
        "<h2>Tried on the folds</h2>",
        table(
            ("kind", "settings", "AUC", "average precision", "card precision @100"),
            [
                (
                    tried["kind"],
                    ", ".join(f"{name} {value}" for name, value in tried["settings"].items()),
                    tried["auc"],
                    tried["average_precision"],
                    tried["card_precision_100"],
                )
                for tried in report["tried"]
            ],
        ),
        table(
            ("fold", "fitted on", "validated on", "rows"),
            [
                (at + 1, fold["train"], fold["test"], fold["rows"])
                for at, fold in enumerate(report["folds"])
            ],
        ),
        "<h2>Decisions on the test days</h2>",
        _decisions(test["decisions"], report["thresholds"]["chosen"]),
        "<h2>Graph against model</h2>",
        table(tuple(report["parity"]), [tuple(report["parity"].values())]),
        *reasons_of(report.get("reasons")),
        (
            f"<details><summary>All figures</summary><pre>{escape(json.dumps(report, indent=1))}"
            "</pre></details>"
        ),
    ]
    return page(title, pieces)


def figures_of(test: Mapping[str, Any]) -> list[str]:
    """Return the pictures of what was measured."""
    bins = [(each["mean_score"], each["share"]) for each in test["calibration_bins"]]
    days = test["card_precision_by_day"]
    return [
        figure(
            line_chart(
                "Precision and recall",
                [Line("this model", [(x, y) for x, y in test["precision_recall"]])],
                "recall",
                "precision",
                x_range=(0.0, 1.0),
                y_range=(0.0, 1.0),
            )
        ),
        figure(
            line_chart(
                "Calibration",
                [
                    Line("this model", bins, marks=True),
                    Line("perfect", [(0.0, 0.0), (1.0, 1.0)]),
                ],
                "mean score",
                "share of positives",
                x_range=(0.0, 1.0),
                y_range=(0.0, 1.0),
            )
        ),
        figure(bar_chart("Card precision @100 by day", days, "")),
    ]


def reasons_of(reasons: Mapping[str, Any] | None) -> list[str]:
    """Return how the reasons that alerts tell agree with the trees' own contributions."""
    if not reasons or "by_feature" not in reasons:
        return []
    names = [name for name in ("by_feature", "by_reason") if name in reasons]
    header = ("", *reasons["by_feature"])
    return [
        "<h2>Reasons: baseline substitution beside tree contributions</h2>",
        f"<p>Means over {reasons['rows']} alerting rows.</p>",
        table(header, [(n.replace("_", " "), *reasons[n].values()) for n in names]),
    ]


def _decisions(decisions: Mapping[str, Mapping[str, float]], chosen: str) -> str:
    rows = [
        (name, each["threshold"], each["share"], each["precision"], each["recall"])
        for name, each in decisions.items()
    ]
    return f"<p>Thresholds: {escape(chosen)}.</p>" + table(
        ("at or above", "threshold", "share of rows", "precision", "recall"), rows
    )


def page(title: str, pieces: Sequence[str]) -> str:
    """Return a whole HTML page."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(pieces)}</body></html>\n"
    )


def figure(svg: str) -> str:
    """Return a picture for a page."""
    return f"<figure>{svg}</figure>"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table for a page; cells are escaped."""
    head = "".join(f"<th>{escape(str(cell))}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"
