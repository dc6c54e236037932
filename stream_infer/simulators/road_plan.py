"""What is asked of simulated roads: how many, for how long, and what is to go wrong on them.

A fault is one of

    SILENT  the sensor sends nothing
    STUCK   it repeats its last reading, under new times
    SPIKES  one reading in five is anything the device can say
    DRIFT   its clock runs fast or slow, more with every hour, until it is set right
"""

from __future__ import annotations

from dataclasses import dataclass

from stream_infer.errors import ConfigError

HEALTHY, SILENT, STUCK, SPIKES, DRIFT = range(5)
FAULT_NAMES = ("healthy", "silent", "stuck", "spikes", "drift")


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something that closes a part of a corridor for a while.

    corridor     index of the corridor
    position_km  where; the nearest station's cell loses capacity
    start_ms     ms since the epoch
    end_ms       when the road is open again; its queue lasts longer
    severity     share of the capacity that is lost, 0 to 1
    """

    corridor: int
    position_km: float
    start_ms: int
    end_ms: int
    severity: float
    incident_id: str = "planned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something wrong with a detector for a while.

    sensor          row of the sensor table
    kind            SILENT, STUCK, SPIKES or DRIFT
    start_ms        ms since the epoch
    end_ms          first moment at which it is well again
    drift_per_hour  ms that the sensor's clock gains an hour (DRIFT only)
    """

    sensor: int
    kind: int
    start_ms: int
    end_ms: int
    drift_per_hour: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Roads:
    """Settings of a road network and of a stretch of time; equal settings, equal readings.

    seed                        of what happens: demand, incidents, faults, noise; non-negative
    network_seed                of the roads themselves; the same roads for every seed
    corridors                   how many; one direction of a road each
    sensors_per_corridor        how many
    spacing_km                  mean distance between two sensors
    minutes                     how long
    start_ms                    begin, ms since the epoch
    interval_s                  time between two readings of a sensor
    incidents_per_corridor_day  mean; more of them at busy hours
    silent_per_sensor_day       mean number of such faults; the others likewise
    incidents                   planned ones, besides those drawn
    faults                      planned ones, besides those drawn
    """

    seed: int = 7
    network_seed: int = 7
    corridors: int = 8
    sensors_per_corridor: int = 25
    spacing_km: float = 0.8
    minutes: int = 1_440
    start_ms: int = 1_767_225_600_000  # 2026-01-01T00:00:00Z, a Thursday
    interval_s: int = 60
    incidents_per_corridor_day: float = 0.6
    silent_per_sensor_day: float = 0.01
    stuck_per_sensor_day: float = 0.01
    spikes_per_sensor_day: float = 0.005
    drift_per_sensor_day: float = 0.002
    incidents: tuple[Incident, ...] = ()
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        seeds = (self.seed, self.network_seed)
        counts = (self.corridors, self.sensors_per_corridor, self.interval_s)
        rates = (
            self.incidents_per_corridor_day,
            self.silent_per_sensor_day,
            self.stuck_per_sensor_day,
            self.spikes_per_sensor_day,
            self.drift_per_sensor_day,
        )
        if min(seeds) < 0 or min(counts) < 1 or self.minutes < 0 or min(rates) < 0:
            raise ConfigError(
                "roads_impossible",
                "Generated roads need a seed of 0 or more, a corridor, a sensor, an interval"
                f" of a second, and no negative time or rate; got {self}.",
                "Raise the number that is too low.",
            )
        if not 0.1 <= self.spacing_km <= 100:
            raise ConfigError(
                "roads_impossible",
                f"Sensors cannot be {self.spacing_km} km apart on generated roads.",
                "Give a spacing_km from 0.1 to 100.",
            )
