"""What truly happens in the simulated worlds, as their truth topics tell it. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.simulators.records import FaultTruth, FraudTruth, IncidentTruth


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sensor stands."""

    sensor_id: str
    corridor: str
    position_km: float
    free_flow_kmh: float


class _Kind(msgspec.Struct):
    kind: str


_KIND = msgspec.json.Decoder(_Kind)
_FRAUD = msgspec.json.Decoder(FraudTruth)
_INCIDENT = msgspec.json.Decoder(IncidentTruth)
_FAULT = msgspec.json.Decoder(FaultTruth)


@dataclass(slots=True)
class PaymentsTruth:
    """Frauds, also by card and by terminal."""

    frauds: list[FraudTruth] = field(default_factory=list)
    by_customer: dict[str, list[FraudTruth]] = field(default_factory=lambda: defaultdict(list))
    by_terminal: dict[str, list[FraudTruth]] = field(default_factory=lambda: defaultdict(list))

    def note(self, values: Sequence[bytes]) -> None:
        """Note records of the truth topic."""
        for value in values:
            fraud = _FRAUD.decode(value)
            self.frauds.append(fraud)
            self.by_customer[fraud.customer_id].append(fraud)
            self.by_terminal[fraud.terminal_id].append(fraud)


@dataclass(slots=True)
class RoadsTruth:
    """Incidents, faults, and how slow the roads truly were.

    places  every sensor, in the order of the sensor table
    shares  sensor -> (time, share of the free-flow speed), in the order of time
    """

    places: dict[str, Place]
    incidents: list[IncidentTruth] = field(default_factory=list)
    faults: list[FaultTruth] = field(default_factory=list)
    shares: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))

    def note(self, values: Sequence[bytes]) -> None:
        """Note records of the truth topic."""
        for value in values:
            if _KIND.decode(value).kind == "incident":
                self.incidents.append(_INCIDENT.decode(value))
            else:
                self.faults.append(_FAULT.decode(value))

    def note_speeds(
        self,
        sensor: NDArray[np.int64],
        time_ms: NDArray[np.int64],
        true_speed: NDArray[np.float32],
    ) -> None:
        """Note what sensors would have read without noise and faults, in the order of time."""
        places = list(self.places.values())
        for row, at, speed in zip(
            sensor.tolist(), time_ms.tolist(), true_speed.tolist(), strict=True
        ):
            place = places[row]
            self.shares[place.sensor_id].append((at, speed / place.free_flow_kmh))

    def slowest_share(self, sensor_id: str, since_ms: int, until_ms: int) -> float:
        """Return the smallest true share of the free-flow speed within a time; 1 if unknown."""
        told = self.shares.get(sensor_id, [])
        first = bisect_left(told, (since_ms, 0.0))
        last = bisect_left(told, (until_ms + 1, 0.0))
        return min((share for _, share in told[first:last]), default=1.0)
