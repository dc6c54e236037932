"""From generated roads to a forecasting model: rows, inputs, thresholds, figures.

Several networks of roads are generated, each by its own seed, and their readings go through
the code of the stream. What is forecast is the true speed of the simulated traffic, not the
next reading of a noisy detector. Networks that the model is measured on are others than
those it was fitted on: a user's roads are others too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stream_infer.durations import parse_duration
from stream_infer.events.columns import EVENT, EventColumns
from stream_infer.events.decode import blank_columns
from stream_infer.events.measures import NO_VALUE
from stream_infer.features.plan import Plan, compile_plan
from stream_infer.features.table import compute_features
from stream_infer.models.forecasting import Forecaster, ForecastRows
from stream_infer.pipelines.traffic import HORIZONS, traffic_pipeline
from stream_infer.scoring.manifest import Thresholds
from stream_infer.simulators.traffic import Readings, Roads, generate, sensor_table
from stream_infer.traffic.sensors import sensor_table as checked_table
from stream_infer.traffic.step import NAMES

NOT_INPUTS = ("level_of_service", "anomaly", "scale", "speed_now", "usual", "stuck_readings")
"""What the network is not given: what may be NaN, what says nothing about what comes, and what
other inputs say already."""

INPUTS = tuple(name for name in NAMES if name not in NOT_INPUTS)
"""Features that the network takes."""

ANOMALIES_MAX = 0.00005
SEVERE_MAX = 0.000005
"""Shares of healthy readings that may be anomalies, and severe ones: of a sensor with a reading
a minute, one in two weeks, and one in five months."""


MONDAY_MS = 1_767_571_200_000
"""2026-01-05T00:00:00Z: with two warm days, the days used have rush hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoadDays:
    """Which roads are generated and what for.

    roads   what all of them have in common
    train   seeds of the networks to fit on
    tune    seed of the one for band and thresholds
    test    seed of the one to measure on
    warm    days before rows are used: usual days must have come
    days    days that are used
    stride  one row in so many is used: neighbouring minutes say nearly the same
    """

    roads: Roads = field(default_factory=lambda: Roads(start_ms=MONDAY_MS))
    train: tuple[int, ...] = (101, 102, 103, 104)
    tune: int = 201
    test: int = 301
    warm: int = 2
    days: int = 3
    stride: int = 7


@dataclass(frozen=True, slots=True)
class RoadRows:
    """Rows of one network, with what they are measured by.

    rows     features, and changes of the share
    share    (n,) float64, present share
    scale    (n,) float64, km/h
    anomaly  (n,) float64
    healthy  (n,) bool, the detector is
    """

    rows: ForecastRows
    share: NDArray[np.float64]
    scale: NDArray[np.float64]
    anomaly: NDArray[np.float64]
    healthy: NDArray[np.bool_]


def road_rows(settings: RoadDays, seed: int) -> RoadRows:
    """Generate one network's days and return every `stride`-th row after the warm days."""
    horizons = [parse_duration(horizon) for horizon in HORIZONS]
    longest = max(horizons)
    minutes = (settings.warm + settings.days) * 1_440 + longest // 60_000
    roads = replace(settings.roads, seed=seed, network_seed=seed, minutes=minutes)
    plan = compile_plan(traffic_pipeline(checked_table(sensor_table(roads)), model=None))
    readings = generate(roads)
    matrix = compute_features(plan, reading_columns(plan, readings))
    scale, share = (matrix[:, NAMES.index(name)] for name in ("scale", "speed_now"))
    changes = np.stack(
        [true_share(readings, horizon, scale) - share for horizon in horizons], axis=1
    )
    first = roads.start_ms + settings.warm * 86_400_000
    last = first + settings.days * 86_400_000
    kept = np.flatnonzero((readings.time >= first) & (readings.time < last))[:: settings.stride]
    return RoadRows(
        ForecastRows(matrix[kept].astype(np.float32), changes[kept]),
        share[kept],
        scale[kept],
        matrix[kept, NAMES.index("anomaly")],
        readings.fault[kept] == 0,
    )


def true_share(
    readings: Readings, ahead_ms: int, scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return each sensor's true share so much later, NaN where nothing is known within 90 s."""
    later = np.full(len(readings), np.nan)
    order = np.lexsort((readings.time, readings.sensor))
    bounds = np.flatnonzero(np.diff(readings.sensor[order])) + 1
    for rows in np.split(order, bounds):
        times = readings.time[rows]
        at = np.minimum(np.searchsorted(times, times + ahead_ms), len(rows) - 1)
        near = np.abs(times[at] - times - ahead_ms) <= 90_000
        later[rows[near]] = readings.true_speed[rows[at[near]]]
    return later / scale


def reading_columns(plan: Plan, readings: Readings) -> EventColumns:
    """Return generated readings as the stream would decode them."""
    events = plan.pipeline.events
    names = events.known.names if events.known is not None else []
    ids = [names[sensor] for sensor in readings.sensor.tolist()]
    values = {}
    for name, digits in events.decimals.items():
        measured: NDArray[np.float64] = getattr(readings, name)
        units = np.rint(np.nan_to_num(measured) * 10.0**digits).astype(np.int64)
        values[name] = np.where(np.isnan(measured), NO_VALUE, units)
    columns = blank_columns(
        events,
        EVENT,
        ids=ids,
        event_time=readings.event_time,
        entities={events.key: ids},
        values=values,
    )
    columns.source_partition = np.zeros(len(ids), np.int64)
    columns.source_offset = np.arange(len(ids), dtype=np.int64)
    return columns


def together(parts: Sequence[RoadRows]) -> ForecastRows:
    """Return the rows of several networks that can be fitted: healthy, with a known outcome."""
    fit = [part.rows.take(part.healthy) for part in parts]
    return ForecastRows(
        np.concatenate([rows.matrix for rows in fit]),
        np.concatenate([rows.changes for rows in fit]),
    ).known()


def anomaly_thresholds(rows: RoadRows) -> Thresholds:
    """Return the anomaly scores above which so many healthy readings lie as are allowed."""
    healthy = rows.anomaly[rows.healthy]
    levels = np.quantile(healthy, (1 - ANOMALIES_MAX, 1 - SEVERE_MAX))
    review, decline = (min(1.0, float(np.ceil(level * 1e4) / 1e4)) for level in levels)
    return Thresholds(review=review, decline=max(review, decline))


def measure_forecaster(forecaster: Forecaster, test: RoadRows) -> dict[str, float]:
    """Return figures of merit in km/h, rounded to four digits.

    rmse_*, mae_*    of the model, by horizon
    last_rmse_*      of saying that nothing changes
    jam_mae_*, last_jam_mae_*
                     where less than 0.6 of the free-flow speed is left at the horizon
    in_band_*        share of outcomes within the band, 0.9 being meant
    """
    known = np.isfinite(test.rows.changes).all(axis=1) & test.healthy
    changes, scale = test.rows.changes[known], test.scale[known]
    answers = forecaster.answer(test.rows.matrix[known])
    figures = {}
    for at, horizon in enumerate(HORIZONS):
        value, low, high = (answers[:, 3 * at + part] for part in range(3))
        error = (value - changes[:, at]) * scale
        still = -changes[:, at] * scale
        jam = changes[:, at] + test.share[known] < 0.6
        figures[f"rmse_{horizon}"] = float(np.sqrt((error**2).mean()))
        figures[f"last_rmse_{horizon}"] = float(np.sqrt((still**2).mean()))
        figures[f"mae_{horizon}"] = float(np.abs(error).mean())
        figures[f"jam_mae_{horizon}"] = float(np.abs(error[jam]).mean()) if jam.any() else 0.0
        figures[f"last_jam_mae_{horizon}"] = float(np.abs(still[jam]).mean()) if jam.any() else 0.0
        inside = (changes[:, at] >= low) & (changes[:, at] <= high)
        figures[f"in_band_{horizon}"] = float(inside.mean())
    return {name: round(value, 4) for name, value in figures.items()}


def digest_of(rows: ForecastRows) -> str:
    """sha256 of matrix and changes."""
    content = hashlib.sha256(np.ascontiguousarray(rows.matrix).tobytes())
    content.update(np.ascontiguousarray(rows.changes).tobytes())
    return content.hexdigest()
