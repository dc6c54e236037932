"""How vehicles move along corridors: the cell transmission model, for all cells at once.

Each cell holds vehicles at a density. What it can send on and what it can take in follow
from a triangular fundamental diagram: below the critical density traffic is free and flow
is density times speed; above it, what a cell can take in falls with its density, so that
a queue grows upstream as a shock wave and dissolves from its head.

    sends     min(free speed x density, capacity)
    takes     min(capacity, wave speed x (jam density - density))
    flows     min of what one cell sends and the next one takes

An incident lowers what its cell can send. Who finds no room at the corridor's start waits
there and comes later.

Source  Daganzo (1994), The cell transmission model, Transportation Research Part B 28(4),
        and (1995), Part II: network traffic, 29(2), for entries and exits; Newell (1993),
        A simplified theory of kinematic waves, Part B 27(4), for the triangular diagram
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_infer.simulators.roads import Network

_RAMP_SHARE_MAX = 0.35
"""Most of a cell's room that a ramp may take, so that a full ramp cannot close the road."""


class Traffic:
    """Density of every cell; owns it, and only `advance` changes it.

    density  (n,) float64, vehicles a km, all lanes
    flow     (n,) float64, vehicles an hour that left each cell in the last step
    """

    def __init__(self, network: Network, step_s: float) -> None:
        """Begin with an empty road; `step_s` is at most `step_s_max` of the network."""
        self._network = network
        self._step_h = step_s / 3_600
        critical = network.capacity / network.speed_kmh
        self._wave_kmh = network.capacity / (network.jam_density - critical)
        self._waiting = np.zeros(len(network.demand))
        self._stays = 1 - network.exit_share
        self._takes_next = np.zeros(len(network))
        self._first = np.flatnonzero(network.first)
        self._last = np.flatnonzero(network.last)
        self.density = np.zeros(len(network))
        self.flow = np.zeros(len(network))

    def advance(self, level: NDArray[np.float64], open_share: NDArray[np.float64]) -> None:
        """Move everything by one step.

        level       (corridors,) float64, demand as a share of the peak's
        open_share  (n,) float64, share of each cell's capacity that incidents leave
        """
        network = self._network
        sends = np.minimum(network.speed_kmh * self.density, network.capacity * open_share)
        room = self._wave_kmh * (network.jam_density - self.density)
        takes = np.minimum(network.capacity, np.maximum(room, 0.0))
        ramp = np.minimum(network.entry * level[network.corridor], _RAMP_SHARE_MAX * takes)
        takes -= ramp

        following = self._takes_next
        following[:-1] = takes[1:]
        following[self._last] = np.inf
        flow = np.minimum(sends, following / self._stays)

        wants = network.demand * level + self._waiting / self._step_h
        enters = np.minimum(wants, takes[self._first])
        self._waiting = (wants - enters) * self._step_h
        inflow = np.empty_like(flow)
        inflow[1:] = (flow * self._stays)[:-1]
        inflow[self._first] = enters

        self.density += (inflow + ramp - flow) * (self._step_h / network.length_km)
        np.maximum(self.density, 0.0, out=self.density)
        self.flow = flow

    def speed(self) -> NDArray[np.float64]:
        """Return (n,) float64, km/h: flow over density, free speed where nobody drives."""
        free = self._network.speed_kmh
        driven = self.density > 1e-6
        speed = np.divide(self.flow, self.density, out=free.copy(), where=driven)
        return np.minimum(speed, free)


def step_s_max(network: Network) -> float:
    """Return the longest stable step in s: nobody may pass a whole cell within it (CFL)."""
    return float((network.length_km / network.speed_kmh).min() * 3_600)
