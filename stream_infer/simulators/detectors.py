"""What detectors say about the traffic: counts with their noise, and faults.

A detector counts whole vehicles over its interval, one minute at least (a shorter one
reports a running minute), and averages their speeds. So noise is that of counting, and
the three values belong together: occupancy = flow / (speed x lanes) x vehicle length.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.simulators.disturbances import drift_ms
from stream_infer.simulators.road_plan import DRIFT, SILENT, SPIKES, STUCK, Fault
from stream_infer.simulators.roads import Network

VEHICLE_KM = 0.0065
"""A vehicle and the detector's own length: how far one is driven while it is detected."""
COUNT_S_MIN = 60
SPEED_SPREAD = 0.10
"""Spread of single vehicles' speeds, as a share of their mean."""
SPIKE_SHARE = 0.2
SPIKE_KMH_MAX = 250.0

Values = NDArray[np.float64]


class Detectors:
    """The detectors of a network; owns each one's phase, last reading and stuck value.

    Rows of its matrices are rounds (one reading of every sensor), columns are sensors.
    """

    def __init__(self, network: Network, seed: int, interval_ms: int, rounds: int) -> None:
        self._network = network
        self._seed = seed
        self._count_h = max(interval_ms / 1_000, COUNT_S_MIN) / 3_600
        sensors = len(network)
        phase = np.random.default_rng([seed, 3]).integers(0, interval_ms, sensors)
        self._offset = np.arange(rounds)[:, None] * interval_ms + phase
        self._order = np.argsort(self._offset, axis=None, kind="stable")
        self._block_ms = rounds * interval_ms
        self._sensor = np.broadcast_to(np.arange(sensors), self._offset.shape).ravel()
        # (3, sensors): speed, flow and occupancy of each sensor's last honest reading
        self._last: Values | None = None
        self._stuck: dict[Fault, Values] = {}

    def read(
        self,
        number: int,
        start_ms: int,
        density: Values,
        flow: Values,
        speed: Values,
        faults: list[Fault],
    ) -> dict[str, Any]:
        """Return the columns of `Readings` for one block, in the order of time.

        number                the block's, from 0; its noise is drawn from it
        density, flow, speed  (steps, sensors) float64, the traffic during the block
        faults                those that last at some moment of it, by their start
        """
        random = np.random.default_rng([self._seed, 4, number])
        step = self._offset * len(density) // self._block_ms
        true_speed = np.take_along_axis(speed, step, axis=0)
        values = self._measure(
            random,
            np.take_along_axis(density, step, axis=0),
            np.take_along_axis(flow, step, axis=0),
            true_speed,
        )
        time = start_ms + self._offset
        event_time = time.copy()
        kind = np.zeros(time.shape, np.int8)
        honest_last = values[:, -1].copy()
        for fault in faults:
            rows = self._during(time, fault)
            if len(rows) == 0:
                continue
            self._apply(fault, rows, values, event_time, time, random)
            kind[rows, fault.sensor] = np.where(
                kind[rows, fault.sensor] == SILENT, SILENT, fault.kind
            )
        self._last = honest_last
        self._stuck = {fault: held for fault, held in self._stuck.items() if fault in faults}
        order = self._order
        order = order[kind.ravel()[order] != SILENT] if (kind == SILENT).any() else order
        return {
            "sensor": self._sensor[order],
            "time": time.ravel()[order],
            "event_time": event_time.ravel()[order],
            "speed": values[0].ravel()[order],
            "flow": values[1].ravel()[order],
            "occupancy": values[2].ravel()[order],
            "true_speed": true_speed.ravel()[order].astype(np.float32),
            "fault": kind.ravel()[order],
        }

    def _measure(
        self, random: np.random.Generator, density: Values, flow: Values, speed: Values
    ) -> Values:
        """Return (3, rounds, sensors) float64: speed, flow, occupancy as counted and rounded."""
        noise = random.standard_normal((2, *speed.shape), dtype=np.float32)
        expected = flow * self._count_h
        count = np.maximum(np.rint(expected + np.sqrt(expected) * noise[0]), 0)
        some = np.maximum(count, 1)
        driven = speed * np.maximum(1 + SPEED_SPREAD / np.sqrt(some) * noise[1], 0.5)
        # Below walking pace a queue stands: what stands on a detector is not counted there.
        driven = np.maximum(driven, 2.0)
        lanes = self._network.lanes
        counted = count / self._count_h
        occupancy = np.minimum(counted * VEHICLE_KM / (driven * lanes), 1.0)
        standing = np.minimum(density * VEHICLE_KM / lanes, 1.0)
        nobody = count == 0
        return np.stack(
            [
                np.where(nobody, np.nan, np.round(driven, 1)),
                np.round(counted),
                np.round(np.where(nobody, standing, occupancy), 4),
            ]
        )

    def _during(self, time: NDArray[np.int64], fault: Fault) -> NDArray[np.int64]:
        """Return the rounds in which the fault's sensor reads while the fault lasts."""
        mine = time[:, fault.sensor]
        return np.flatnonzero((mine >= fault.start_ms) & (mine < fault.end_ms))

    def _apply(
        self,
        fault: Fault,
        rows: NDArray[np.int64],
        values: Values,
        event_time: NDArray[np.int64],
        time: NDArray[np.int64],
        random: np.random.Generator,
    ) -> None:
        sensor = fault.sensor
        if fault.kind == STUCK:
            held = self._stuck.setdefault(fault, self._before(fault, int(rows[0]), values))
            values[:, rows, sensor] = held[:, None]
        elif fault.kind == SPIKES:
            hit = rows[random.random(len(rows)) < SPIKE_SHARE]
            anything = random.random((2, len(hit)))
            values[0, hit, sensor] = np.round(SPIKE_KMH_MAX * anything[0], 1)
            values[2, hit, sensor] = np.round(anything[1], 4)
        elif fault.kind == DRIFT:
            event_time[rows, sensor] += drift_ms(fault, time[rows, sensor])

    def _before(self, fault: Fault, row: int, values: Values) -> Values:
        """Return (3,) float64, the sensor's last reading before it stuck; else its first since."""
        if row > 0:
            return values[:, row - 1, fault.sensor].copy()
        last = self._last if self._last is not None else values[:, 0]
        return last[:, fault.sensor].copy()
