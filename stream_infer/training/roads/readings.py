"""Readings of a file as rows: the features of the stream, and what was measured later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ConfigError, InvalidDataError
from stream_infer.events.columns import EventColumns
from stream_infer.events.mapping import FieldMapping
from stream_infer.events.measures import NO_VALUE
from stream_infer.features.plan import Plan, compile_plan
from stream_infer.features.table import compute_features
from stream_infer.files.contract import event_form, read_records
from stream_infer.files.features import decode_records
from stream_infer.files.tables import read_table
from stream_infer.pipeline import Conditions, Pipeline

TOLERANCE = 0.5
"""Of a sensor's usual interval: how far from a horizon a reading may lie to be its outcome."""


@dataclass(frozen=True, slots=True)
class Readings:
    """``n`` readings in order of event time.

    plan     what computed the features
    matrix   (n, F) float32
    time     (n,) int64 ms
    sensor   (n,) int64, index into the table; -1 where unknown
    share    (n,) float64, measured value as a share of the sensor's scale; NaN where absent
    base     (n,) float64, the share that forecasts are differences to; NaN before the first
    scale    (n,) float64, what shares are of, in the contract's unit
    factor   (n,) float64, from the sensor's own unit to the contract's
    """

    plan: Plan
    matrix: NDArray[np.float32]
    time: NDArray[np.int64]
    sensor: NDArray[np.int64]
    share: NDArray[np.float64]
    base: NDArray[np.float64]
    scale: NDArray[np.float64]
    factor: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.time)

    @property
    def conditions(self) -> Conditions:
        """What the pipeline says about a reading."""
        return conditions_of(self.plan.pipeline)


def conditions_of(pipeline: Pipeline) -> Conditions:
    """Return what a pipeline says about readings.

    Raises  ConfigError ``pipeline_without_forecasts``
    """
    if pipeline.conditions is None or pipeline.events.known is None:
        raise ConfigError(
            "pipeline_without_forecasts",
            f"Pipeline {pipeline.name!r} forecasts nothing.",
            "Name a pipeline with `conditions` and a table of sensors, as traffic is.",
        )
    return pipeline.conditions


def read_readings(
    pipeline: Pipeline, data: Path, fields: FieldMapping | None, *, skip_bad: bool = False
) -> Readings:
    """Read a file with a reading a row and compute the pipeline's features.

    Raises  ConfigError ``pipeline_without_forecasts``; InvalidDataError ``bad_rows``, ``no_rows``
    """
    conditions_of(pipeline)
    records = read_records(read_table(data), event_form(pipeline), fields).sorted_by_time()
    columns, _, _ = decode_records(pipeline, records, None, skip_bad=skip_bad)
    if not len(columns):
        raise InvalidDataError("no_rows", f"{data.name} holds no reading.", "Check the file.")
    return readings_of(pipeline, columns)


def readings_of(pipeline: Pipeline, columns: EventColumns) -> Readings:
    """Return readings that are decoded already, in order of event time, with their features.

    Raises  ConfigError ``pipeline_without_forecasts``
    """
    conditions = conditions_of(pipeline)
    plan = compile_plan(pipeline)
    matrix = compute_features(plan, columns)
    known = pipeline.events.known
    assert known is not None  # noqa: S101 - `conditions_of` has refused it
    sensor = known.indices(columns.entities[pipeline.events.key])
    units = columns.values[conditions.of]
    scale = matrix[:, plan.feature_names.index(conditions.scale)]
    value = np.where(
        units == NO_VALUE, np.nan, units / 10.0 ** pipeline.events.decimals[conditions.of]
    )
    return Readings(
        plan,
        matrix.astype(np.float32),
        np.asarray(columns.event_time),
        sensor,
        value / scale,
        matrix[:, plan.feature_names.index(conditions.base)],
        scale,
        known.factors[conditions.of][sensor],
    )


def changes(readings: Readings, aheads_ms: Sequence[int]) -> NDArray[np.float64]:
    """Return each reading's change of the share so much later, (n, horizons); NaN where unknown."""
    order = np.lexsort((readings.time, readings.sensor))
    bounds = np.flatnonzero(np.diff(readings.sensor[order])) + 1
    said = np.full((len(readings), len(aheads_ms)), np.nan)
    for rows in np.split(order, bounds):
        rows = rows[np.isfinite(readings.share[rows])]  # noqa: PLW2901 - those with a value
        if len(rows) < 2:
            continue
        times = readings.time[rows]
        near = TOLERANCE * float(np.median(np.diff(times)))
        for at, ahead in enumerate(aheads_ms):
            later = np.searchsorted(times, times + ahead - near)
            there = later < len(rows)
            there[there] = times[later[there]] <= times[there] + ahead + near
            said[rows[there], at] = readings.share[rows[later[there]]] - readings.base[rows[there]]
    return said
