"""What is said of a forecasting model: by horizon, by sensor, and beside the last value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from stream_infer.durations import parse_duration
from stream_infer.training.pictures import Line, bar_chart, line_chart
from stream_infer.training.report import page
from stream_infer.training.roads.making import MadeForecast, Span, by_horizon
from stream_infer.training.roads.readings import Readings

WORST = 15


def forecast_report(
    made: MadeForecast, readings: Readings, span: Span, seed: int
) -> dict[str, Any]:
    """Return what is said of a model that was made."""
    served = [parse_duration(horizon) for horizon in readings.conditions.horizons]
    manifest = made.manifest
    return {
        **by_horizon(made.errors, made.steps, served),
        "model": manifest.name,
        "version": manifest.version,
        "sha256": manifest.sha256,
        "seed": seed,
        "kind": manifest.protocol["kind"],
        "settings": manifest.protocol["settings"],
        "chosen_on": (
            "Settings and bands were chosen on the last part of the training; the test was looked "
            "at once, by the finished model."
        ),
        "training": {"rows": manifest.training.rows, "digest": manifest.training.digest},
        "test_rows": len(made.rows),
        "tried": list(made.tried),
        "last_value": by_horizon(made.still, made.steps, served),
        "in_band": made.in_band,
        "difference": made.difference,
        "by_step": [
            {
                "minutes": step // 60_000,
                "rmse": round(float(np.sqrt(np.nanmean(made.errors[:, at] ** 2))), 4),
                "last_value_rmse": round(float(np.sqrt(np.nanmean(made.still[:, at] ** 2))), 4),
            }
            for at, step in enumerate(made.steps)
        ],
        "by_sensor": _by_sensor(made, readings),
        "span_ms": {"first": span.first, "split": span.split, "last": span.last},
    }


def _by_sensor(made: MadeForecast, readings: Readings) -> list[tuple[str, float]]:
    """Return each sensor's error over all steps, the worst first."""
    known = readings.plan.pipeline.events.known
    names = known.names if known is not None else []
    sensors = readings.sensor[made.rows]
    said = []
    for sensor in np.unique(sensors[sensors >= 0]).tolist():
        own = made.errors[sensors == sensor]
        said.append((names[sensor], round(float(np.sqrt(np.nanmean(own**2))), 4)))
    return sorted(said, key=lambda each: -each[1])


def forecast_page(report: Mapping[str, Any]) -> str:
    """Return the page of a report, one file without anything from outside."""
    title = f"{report['model']} {report['version']}"
    steps = report["by_step"]
    rows = "".join(
        f"<li>up to {name}: RMSE {report['rmse'][name]}, MAE {report['mae'][name]}; last value: "
        f"{report['last_value']['rmse'][name]}, {report['last_value']['mae'][name]}; "
        f"{report['in_band'][name]:.0%} in the band</li>"
        for name in report["rmse"]
    )
    errors = line_chart(
        "Error by how far ahead",
        [
            Line("this model", [(s["minutes"], s["rmse"]) for s in steps], marks=True),
            Line("last value", [(s["minutes"], s["last_value_rmse"]) for s in steps]),
        ],
        "minutes ahead",
        "root mean square error",
    )
    worst = bar_chart("Sensors with the largest error", report["by_sensor"][:WORST], "")
    return page(
        title,
        [
            f"<h1>{escape(title)}</h1><p>{escape(report['chosen_on'])}</p><ul>{rows}</ul>",
            f"<figure>{errors}</figure><figure>{worst}</figure>",
            (
                f"<details><summary>All figures</summary><pre>"
                f"{escape(json.dumps(report, indent=1))}</pre></details>"
            ),
        ],
    )
