"""A road network by seed: corridors with detector stations, and the sensor table of them.

A corridor is one direction of a road. Positions grow in the direction of travel, so a
station's upstream neighbour has the smaller position. Each station stands for the stretch
to half-way to its neighbours, the cell in which `stream_infer.simulators.flow` counts
vehicles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.simulators.road_plan import Roads

DIRECTIONS = ("N", "S", "E", "W")
LANE_CAPACITY = 2_000.0
"""Vehicles an hour and lane; detectors on motorways count 1,800 to 2,300 at best."""
JAM_DENSITY = 125.0
"""Vehicles a km and lane when nothing moves: 8 m each, their gaps included."""
_STATIONS_PER_INTERCHANGE = 4
_EXIT_SHARE = 0.12
_BOTTLENECK_EXIT_SHARE = 0.05
_BOTTLENECK_CAPACITY = 0.93
_ENTRY_LOAD = 0.72
_POSTED_KMH = (80.0, 90.0, 100.0, 110.0, 120.0)
_LOAD = (0.85, 1.18)
"""What wants through a bottleneck at the peak, as a share of what gets through."""


@dataclass(frozen=True, slots=True)
class Network:
    """The roads as columns; ``n`` stations, corridor after corridor, each in driving order.

    corridor        (n,) int64, index of the corridor
    station         (n,) int64, index within the corridor
    position_km     (n,) float64
    length_km       (n,) float64, of the station's cell
    lanes           (n,) int64
    free_flow_kmh   (n,) float64, what the sensor table says
    speed_kmh       (n,) float64, how fast an empty road is really driven here
    capacity        (n,) float64, vehicles an hour, all lanes
    jam_density     (n,) float64, vehicles a km, all lanes
    exit_share      (n,) float64, share of what leaves the cell that takes an exit
    entry           (n,) float64, vehicles an hour that want in by a ramp at the peak
    demand          (corridors,) float64, vehicles an hour at the corridor's start at the peak
    first           (n,) bool, the station is its corridor's first
    last            (n,) bool
    """

    corridor: NDArray[np.int64]
    station: NDArray[np.int64]
    position_km: NDArray[np.float64]
    length_km: NDArray[np.float64]
    lanes: NDArray[np.int64]
    free_flow_kmh: NDArray[np.float64]
    speed_kmh: NDArray[np.float64]
    capacity: NDArray[np.float64]
    jam_density: NDArray[np.float64]
    exit_share: NDArray[np.float64]
    entry: NDArray[np.float64]
    demand: NDArray[np.float64]
    first: NDArray[np.bool_]
    last: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.corridor)

    @property
    def sensor_ids(self) -> list[str]:
        """Sensor ids, such as ``c2s07``."""
        pairs = zip(self.corridor.tolist(), self.station.tolist(), strict=True)
        return [f"c{corridor}s{station:02d}" for corridor, station in pairs]

    def nearest(self, corridor: int, position_km: float) -> int:
        """Return the index of the corridor's station that is nearest to a position."""
        mine = np.flatnonzero(self.corridor == corridor)
        return int(mine[np.argmin(np.abs(self.position_km[mine] - position_km))])


def build_network(roads: Roads) -> Network:
    """Draw the network of these settings.

    One station in four is an interchange where as many want in as go out; one interchange
    in the corridor's second half is its bottleneck, where more want in than go out and a
    little less gets through. Whether it jams at the peak hangs on the corridor's load.

    A corridor is drawn from ``(network_seed, corridor)``: the roads are the same whatever
    happens on them, and fewer of them are the first of more. So one sensor table serves.
    """
    corridors, stations = roads.corridors, roads.sensors_per_corridor
    lanes, posted = np.empty(corridors, np.int64), np.empty(corridors)
    load, draws = np.empty(corridors), np.empty((corridors, stations, 3))
    for corridor in range(corridors):
        random = np.random.default_rng([roads.network_seed, corridor])
        lanes[corridor] = random.integers(2, 5)
        posted[corridor] = random.choice(_POSTED_KMH)
        load[corridor] = random.uniform(*_LOAD)
        # Row by row, so that the first stations are the same however many follow.
        draws[corridor] = random.random((stations, 3))
    gaps = roads.spacing_km * (0.75 + 0.5 * draws[:, :, 0])
    habit = 0.96 + 0.08 * draws[:, :, 1]
    weakness = 0.97 + 0.03 * draws[:, :, 2]
    position = np.cumsum(gaps, axis=1) - gaps[:, :1]

    shape = (corridors, stations)
    full = np.broadcast_to((lanes * LANE_CAPACITY)[:, None], shape)
    capacity = full * weakness
    exit_share = np.zeros(shape)
    entry = np.zeros(shape)
    for at in range(_STATIONS_PER_INTERCHANGE, stations, _STATIONS_PER_INTERCHANGE):
        # Who leaves at the end of a cell makes room for those who come into the next one.
        exit_share[:, at - 1] = _EXIT_SHARE
        entry[:, at] = _EXIT_SHARE * _ENTRY_LOAD * full[:, at]
    if stations > _STATIONS_PER_INTERCHANGE:
        neck = max(1, (2 * stations // 3) // _STATIONS_PER_INTERCHANGE) * _STATIONS_PER_INTERCHANGE
        exit_share[:, neck - 1] = _BOTTLENECK_EXIT_SHARE
        stays = (1 - _BOTTLENECK_EXIT_SHARE) * _ENTRY_LOAD
        entry[:, neck] = (load * _BOTTLENECK_CAPACITY - stays) * full[:, neck]
        capacity[:, neck] = _BOTTLENECK_CAPACITY * full[:, neck]
    station = np.broadcast_to(np.arange(stations), shape)
    return Network(
        corridor=np.repeat(np.arange(corridors), stations),
        station=station.ravel(),
        position_km=np.round(position, 3).ravel(),
        length_km=_cell_lengths(gaps).ravel(),
        lanes=np.repeat(lanes, stations),
        free_flow_kmh=np.repeat(posted, stations),
        speed_kmh=(posted[:, None] * habit).ravel(),
        capacity=capacity.ravel(),
        jam_density=np.repeat(lanes * JAM_DENSITY, stations),
        exit_share=exit_share.ravel(),
        entry=entry.ravel(),
        demand=_ENTRY_LOAD * LANE_CAPACITY * lanes.astype(np.float64),
        first=(station == 0).ravel(),
        last=(station == stations - 1).ravel(),
    )


def sensor_table(roads: Roads) -> list[dict[str, Any]]:
    """Return one row a sensor, as plain values that JSON and CSV can hold.

    sensor_id, corridor, position_km, direction (N, S, E, W), lanes, free_flow_kmh,
    upstream, downstream (the neighbour's sensor_id; None at the corridor's ends)
    """
    network = build_network(roads)
    ids = network.sensor_ids
    return [
        {
            "sensor_id": ids[row],
            "corridor": corridor_id(corridor),
            "position_km": float(network.position_km[row]),
            "direction": DIRECTIONS[corridor % len(DIRECTIONS)],
            "lanes": int(network.lanes[row]),
            "free_flow_kmh": float(network.free_flow_kmh[row]),
            "upstream": None if network.first[row] else ids[row - 1],
            "downstream": None if network.last[row] else ids[row + 1],
        }
        for row, corridor in enumerate(network.corridor.tolist())
    ]


def corridor_id(corridor: int) -> str:
    """Return the id of a corridor."""
    return f"c{corridor}"


def _cell_lengths(gaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each station's stretch, half-way to both neighbours; ends reach as far out as in.

    gaps  (corridors, stations) float64, km from the station before; the first is not used
    """
    before = gaps.copy()
    after = np.roll(gaps, -1, axis=1)
    if gaps.shape[1] > 1:
        before[:, 0] = gaps[:, 1]
        after[:, -1] = gaps[:, -1]
    return (before + after) / 2
