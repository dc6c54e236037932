"""What goes wrong on the roads: incidents, and faults of the detectors.

Both are drawn for each day since 1970 from ``(seed, day)``, so that they do not hang on
where a run begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ConfigError
from stream_infer.simulators.demand import DAY_MS, is_weekend, profiles
from stream_infer.simulators.road_plan import DRIFT, SILENT, SPIKES, STUCK, Fault, Incident, Roads
from stream_infer.simulators.roads import Network

_HOUR_MS = 3_600_000
_MINUTE_MS = 60_000
_INCIDENT_MINUTES = (12, 120)
_SEVERITY = (0.55, 0.95)
"""A milder one takes no more of the road than a usual noon can spare, and nobody sees it."""
_FAULT_HOURS = {SILENT: (0.25, 6), STUCK: (1, 24), SPIKES: (1, 12), DRIFT: (6, 24)}
_DAYS_LONGEST = 2
"""No incident or fault that began so many days ago still lasts."""
DRIFT_MS_MAX = 50 * _MINUTE_MS
"""A sensor's clock is never further off: a pipeline refuses what is an hour ahead."""
_DRIFT_S_PER_HOUR = (30.0, 240.0)


Lasting = TypeVar("Lasting", Incident, Fault)


class Disturbances:
    """Incidents and faults of a run, the drawn and the planned ones."""

    def __init__(self, roads: Roads, network: Network) -> None:
        self._roads = roads
        self._network = network
        self._chances = profiles()
        self._days: dict[int, tuple[list[Incident], list[Fault]]] = {}
        _refuse_misplaced(roads, len(network))

    def incidents(self, start_ms: int, end_ms: int) -> list[Incident]:
        """Return the incidents that last at some moment of [start, end), by their start."""
        planned = list(self._roads.incidents)
        drawn = [each for day in self._around(start_ms, end_ms) for each in self._day(day)[0]]
        return [each for each in _sorted(planned + drawn) if _lasts(each, start_ms, end_ms)]

    def faults(self, start_ms: int, end_ms: int) -> list[Fault]:
        """Return the faults that last at some moment of [start, end), by their start."""
        planned = list(self._roads.faults)
        drawn = [each for day in self._around(start_ms, end_ms) for each in self._day(day)[1]]
        return [each for each in _sorted(planned + drawn) if _lasts(each, start_ms, end_ms)]

    def open_shares(
        self, incidents: list[Incident], times: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return (times, n) float64, the share of each cell's capacity that is left."""
        shares = np.ones((len(times), len(self._network)))
        for each in incidents:
            rows = (times >= each.start_ms) & (times < each.end_ms)
            cell = self._network.nearest(each.corridor, each.position_km)
            shares[rows, cell] *= 1 - each.severity
        return shares

    def _around(self, start_ms: int, end_ms: int) -> range:
        last = (end_ms - 1) // DAY_MS
        first = start_ms // DAY_MS - _DAYS_LONGEST
        for day in [day for day in self._days if day < first]:
            del self._days[day]
        return range(first, last + 1)

    def _day(self, day: int) -> tuple[list[Incident], list[Fault]]:
        if day not in self._days:
            random = np.random.default_rng([self._roads.seed, 2, day])
            incidents = list(self._draw_incidents(random, day))
            self._days[day] = incidents, list(self._draw_faults(random, day))
        return self._days[day]

    def _draw_incidents(self, random: np.random.Generator, day: int) -> Iterator[Incident]:
        """Draw a day's incidents; the more drive, the more of them happen."""
        roads = self._roads
        many = int(random.poisson(roads.incidents_per_corridor_day * roads.corridors))
        for number in range(many):
            corridor = int(random.integers(0, roads.corridors))
            # Not at the first stations, upstream of which nobody could see the queue.
            first = min(2, roads.sensors_per_corridor - 1)
            station = int(random.integers(first, roads.sensors_per_corridor))
            chances = self._chances[int(is_weekend(day)), corridor % 2] ** 2
            minute = int(random.choice(len(chances), p=chances / chances.sum()))
            start_ms = day * DAY_MS + minute * _MINUTE_MS + int(random.integers(0, _MINUTE_MS))
            minutes = float(np.clip(random.lognormal(np.log(35), 0.5), *_INCIDENT_MINUTES))
            cell = corridor * roads.sensors_per_corridor + station
            yield Incident(
                corridor=corridor,
                position_km=float(self._network.position_km[cell]),
                start_ms=start_ms,
                end_ms=start_ms + int(minutes * _MINUTE_MS),
                severity=round(float(random.uniform(*_SEVERITY)), 2),
                incident_id=f"i{day}-{number}",
            )

    def _draw_faults(self, random: np.random.Generator, day: int) -> Iterator[Fault]:
        roads = self._roads
        rates = {
            SILENT: roads.silent_per_sensor_day,
            STUCK: roads.stuck_per_sensor_day,
            SPIKES: roads.spikes_per_sensor_day,
            DRIFT: roads.drift_per_sensor_day,
        }
        for kind, rate in rates.items():
            many = int(random.poisson(rate * len(self._network)))
            for sensor in random.integers(0, len(self._network), many).tolist():
                start_ms = day * DAY_MS + int(random.integers(0, DAY_MS))
                hours = random.uniform(*_FAULT_HOURS[kind])
                gain = random.uniform(*_DRIFT_S_PER_HOUR) * random.choice([-1_000, 1_000])
                yield Fault(
                    sensor=sensor,
                    kind=kind,
                    start_ms=start_ms,
                    end_ms=start_ms + int(hours * _HOUR_MS),
                    drift_per_hour=float(gain) if kind == DRIFT else 0.0,
                )


def drift_ms(fault: Fault, times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return by how much the sensor's clock is ahead at these times, in ms."""
    gained = (times - fault.start_ms) / _HOUR_MS * fault.drift_per_hour
    return np.clip(gained, -DRIFT_MS_MAX, DRIFT_MS_MAX).astype(np.int64)


def _sorted(lasting: list[Lasting]) -> list[Lasting]:
    return sorted(lasting, key=lambda each: each.start_ms)


def _lasts(each: Incident | Fault, start_ms: int, end_ms: int) -> bool:
    return each.start_ms < end_ms and each.end_ms > start_ms


def _refuse_misplaced(roads: Roads, sensors: int) -> None:
    """Refuse a planned incident or fault at a place that the network does not have."""
    wrong = [each for each in roads.incidents if not 0 <= each.corridor < roads.corridors]
    lost = [each for each in roads.faults if not 0 <= each.sensor < sensors]
    if wrong or lost:
        raise ConfigError(
            "roads_impossible",
            f"There is no such place in a network of {roads.corridors} corridors and"
            f" {sensors} sensors: {(wrong + lost)[0]}.",
            "Give a corridor or sensor that exists; they count from 0.",
        )
