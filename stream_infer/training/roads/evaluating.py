"""How far any version's forecasts are from what was measured later.

A version answers at its horizons alone, so errors are those at each horizon. (The report of a
training also fits what lies between, and takes its errors over all steps up to a horizon.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.durations import parse_duration
from stream_infer.errors import ConflictError, InvalidDataError
from stream_infer.scoring.conditions import output_names
from stream_infer.scoring.model import Model
from stream_infer.scoring.session import check_fit
from stream_infer.training.days import DAY_MS, DayRange
from stream_infer.training.roads.readings import Readings, changes


def evaluate_forecasts(model: Model, readings: Readings, test: DayRange | None) -> dict[str, Any]:
    """Return everything that is measured of a version on readings.

    test    days that are measured on; None for all that there are
    Raises  ConflictError ``features_differ``, ``features_fingerprint_differs``,
            ``outputs_differ``; InvalidDataError ``no_rows``
    """
    plan, conditions = readings.plan, readings.conditions
    check_fit(model.manifest, plan.feature_names, plan.meaning)
    if model.manifest.outputs != output_names(conditions):
        raise ConflictError(
            "outputs_differ",
            f"The model {model.name} {model.version} answers with "
            f"{', '.join(model.manifest.outputs) or 'a probability'}, and the pipeline forecasts "
            f"{', '.join(conditions.horizons)}.",
            "Name the pipeline that the model was made for with --pipeline.",
        )
    rows = _rows(readings, test)
    horizons = [parse_duration(each) for each in conditions.horizons]
    outcomes = changes(readings, horizons)[rows]
    said = _answers(model, readings.matrix[rows])
    unit = (readings.scale / readings.factor)[rows]
    found: dict[str, Any] = {"rmse": {}, "mae": {}, "in_band": {}, "last_value_rmse": {}}
    counts = {}
    for at, name in enumerate(conditions.horizons):
        outcome = outcomes[:, at]
        known = np.isfinite(outcome)
        if not known.any():
            raise _no_rows(f"No reading came {name} after another one")
        missed = ((said[:, 3 * at] - outcome) * unit)[known]
        within = (outcome >= said[:, 3 * at + 1]) & (outcome <= said[:, 3 * at + 2])
        found["rmse"][name] = _rounded(np.sqrt((missed**2).mean()))
        found["mae"][name] = _rounded(np.abs(missed).mean())
        found["in_band"][name] = _rounded(within[known].mean())
        found["last_value_rmse"][name] = _rounded(np.sqrt(((outcome * unit)[known] ** 2).mean()))
        counts[name] = int(known.sum())
    return {
        "model": model.name,
        "version": model.version,
        "sha256": model.manifest.sha256,
        "pipeline": plan.pipeline.name,
        "rows": len(rows),
        "outcomes": counts,
    } | found


def _rows(readings: Readings, test: DayRange | None) -> NDArray[np.int64]:
    """Return the readings with a value that are measured on."""
    chosen = np.isfinite(readings.share) & np.isfinite(readings.base)
    if test is not None:
        chosen &= test.holds(readings.time // DAY_MS)
    if not chosen.any():
        raise _no_rows("No reading with a value lies" + (f" in {test}" if test else " there"))
    return np.flatnonzero(chosen)


def _answers(model: Model, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    step = model.row_chunk
    return np.concatenate(
        [model.run_all(matrix[start : start + step]) for start in range(0, len(matrix), step)]
    )


def _rounded(value: Any) -> float:
    return round(float(value), 4)


def _no_rows(what: str) -> InvalidDataError:
    return InvalidDataError(
        "no_rows",
        f"{what}: there is nothing to measure.",
        "Name days that the data holds (UTC), or give more data than the longest horizon.",
    )
