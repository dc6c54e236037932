"""A sensor table as the numbers that decoder and step take."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_infer.events.known_keys import KnownKeys
from stream_infer.traffic.sensors import Sensor, SensorTable
from stream_infer.traffic.units import (
    FLOW_PER_LANE_MAX,
    OCCUPANCY_MAX,
    SPEED_KMH_MAX,
    flow_factor,
    occupancy_factor,
    speed_factor,
)

MEASURES = ("speed", "flow", "occupancy")
"""Values of a reading, in the order in which the step takes them."""

NEAR_MAX = 16
FAR_MAX = 32
"""Neighbours, and neighbours of neighbours, whose records a step reads: more add time only."""

FACTS = np.dtype(
    [
        ("free_flow", np.float64),
        ("lanes", np.float64),
        ("measure", np.int64),
        ("scale", np.float64),
        ("downstream", np.int64),
        ("near", np.int64),
        ("far", np.int64),
    ]
)
"""What the step knows of its sensor.

free_flow   km/h
lanes       how many
measure     index into `MEASURES` of what anomalies and forecasts are about
scale       what that measure is divided by: free-flow speed, what the lanes carry, or the
            occupancy at which a road is full
downstream  how many of the first links are downstream; they are of `near`
near        how many of the links are neighbours
far         how many links after those are neighbours of neighbours
"""

FLOW_PER_LANE_SCALE = 2_000.0
OCCUPANCY_SCALE = 0.25
"""Motorways are at capacity near 15 to 25 percent (Hall, Traffic Stream Characteristics)."""


def known_sensors(table: SensorTable) -> KnownKeys:
    """Return the table as `KnownKeys`, placed by corridor.

    Raises  ConfigError ``unknown_unit``
    """
    sensors = table.sensors
    lanes = np.array([sensor.lanes for sensor in sensors], np.float64)
    index = {sensor.sensor_id: i for i, sensor in enumerate(sensors)}
    facts = np.zeros(len(sensors), FACTS)
    near = [sensor.linked[:NEAR_MAX] for sensor in sensors]
    far = [_far(sensors, index, i, near[i]) for i in range(len(sensors))]
    for i, sensor in enumerate(sensors):
        facts[i] = (
            sensor.free_flow_kmh,
            sensor.lanes,
            MEASURES.index(sensor.measure),
            _scale(sensor),
            min(len(dict.fromkeys(sensor.downstream)), NEAR_MAX),
            len(near[i]),
            len(far[i]),
        )
    return KnownKeys(
        names=[sensor.sensor_id for sensor in sensors],
        place="corridor",
        places=[sensor.corridor for sensor in sensors],
        facts=facts,
        links=_padded([[index[name] for name in (*near[i], *far[i])] for i in range(len(sensors))]),
        factors={
            "speed": np.array([speed_factor(sensor.speed_unit) for sensor in sensors]),
            "flow": np.array([flow_factor(sensor.flow_unit) for sensor in sensors]),
            "occupancy": np.array([occupancy_factor(s.occupancy_unit) for s in sensors]),
        },
        bounds={
            "speed": np.full(len(sensors), SPEED_KMH_MAX),
            "flow": FLOW_PER_LANE_MAX * lanes,
            "occupancy": np.full(len(sensors), OCCUPANCY_MAX),
        },
        digest=table.digest,
    )


def _scale(sensor: Sensor) -> float:
    if sensor.measure == "speed":
        return sensor.free_flow_kmh
    return OCCUPANCY_SCALE if sensor.measure == "occupancy" else FLOW_PER_LANE_SCALE * sensor.lanes


def _far(
    sensors: tuple[Sensor, ...], index: dict[str, int], i: int, near: tuple[str, ...]
) -> list[str]:
    """Return neighbours of neighbours, in order of the names of the first and then as listed."""
    known = {sensors[i].sensor_id, *near}
    found = dict.fromkeys(
        name for other in near for name in sensors[index[other]].linked if name not in known
    )
    return list(found)[:FAR_MAX]


def _padded(rows: list[list[int]]) -> NDArray[np.int64]:
    """Return rows as one array, -1 behind the shorter ones; at least one column."""
    links = np.full((len(rows), max(1, *map(len, rows)) if rows else 1), -1, np.int64)
    for i, row in enumerate(rows):
        links[i, : len(row)] = row
    return links
