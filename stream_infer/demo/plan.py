"""What the demo simulates: two small worlds with a past, and how quickly their time passes.

A fraud stands out against habits, and a jam against the usual day, so each world has lived
for a while when one begins to watch: that past is written at once and scored like everything
else. From then on its time passes at a steady speed, faster than real time, and says so.

    payments  1,000 customers, 38 days of past: the longest window (30 days behind 7 of delay)
    roads     4 of the roads that the built-in sensor table knows, a day of past: the rush hour
              of that day is what the next one is compared with
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_infer.errors import UsageError
from stream_infer.simulators.fraud import DAY_MS, World
from stream_infer.simulators.road_plan import SILENT, STUCK, Fault, Incident
from stream_infer.simulators.roads import build_network
from stream_infer.simulators.traffic import Roads

FIRST_DAY_MS = 1_767_225_600_000
"""2026-01-01, a Thursday: a date of its own, so that a seed gives the same run on every day."""

CUSTOMERS = 1_000
TERMINALS_PER_CUSTOMER = 2
"""As in the world that the ready model was made from."""
ATTACKED_SHARE = 0.0004
"""Of the customers, each day: what `stream-infer simulate fraud` does if nothing else is said."""
PAYMENTS_PAST_DAYS = 38

CORRIDORS = 4
ROADS_START_MS = FIRST_DAY_MS + 5 * 3_600_000
ROADS_LIVE_MS = FIRST_DAY_MS + DAY_MS + 6 * 3_600_000 + 30 * 60_000
"""Friday 06:30: the morning's rush begins while one watches."""
ROADS_SPEED = 300.0
"""Five minutes in a second: a queue that grows for half an hour is seen to grow."""
INCIDENT_EVERY_MS = 25 * 60_000
INCIDENT_MINUTES = (15, 30)
INCIDENT_SEVERITY = (0.65, 0.85)
_MINUTE_MS = 60_000
SECONDS_MAX = 86_400.0

PARTITIONS = 1
"""Of each topic. The past is read at full speed, and with several partitions the workers would
spend their time holding each of them back until the others have come as far."""
ALIGN_SKEW_MS = {"fraud": 10 * 3_600_000}
"""Pipeline -> how far labels and payments may run ahead of each other, where it is not the usual.

With hours passing in a moment, the usual hour would hold a payment back whenever a label is a
twentieth of a second behind. A label comes 12 hours before its terminal's windows need it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldTime:
    """When a world's past ends, and how quickly its time passes from then on.

    live_ms  first moment that is watched, ms since the epoch
    speed    ms of its time in a ms on the wall
    """

    live_ms: int
    speed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """Both worlds and their times."""

    payments: World
    payments_time: WorldTime
    roads: Roads
    roads_time: WorldTime


def plan_demo(*, seed: int, rate: float, seconds: float) -> DemoPlan:
    """Return what a demo of so many seconds simulates; equal arguments, equal worlds.

    rate    payments a second, on average over a day; their time passes as fast as that makes it
    Raises  UsageError for more seconds than a day has
    """
    if seconds > SECONDS_MAX:
        raise UsageError(
            "demo_too_long",
            f"A demo of {seconds:g} s would outlive its worlds.",
            f"Give --seconds up to {SECONDS_MAX:g}.",
        )
    speed = rate * DAY_MS / 1_000 / (CUSTOMERS * World().pace)
    live_days = int(seconds * speed * 1_000 / DAY_MS) + 2
    payments = World(
        seed=seed,
        customers=CUSTOMERS,
        terminals=CUSTOMERS * TERMINALS_PER_CUSTOMER,
        days=PAYMENTS_PAST_DAYS + live_days,
        start_ms=FIRST_DAY_MS,
        accounts_lost=ATTACKED_SHARE,
        cards_tested=ATTACKED_SHARE,
    )
    return DemoPlan(
        payments=payments,
        payments_time=WorldTime(live_ms=FIRST_DAY_MS + PAYMENTS_PAST_DAYS * DAY_MS, speed=speed),
        roads=_roads(seed, seconds),
        roads_time=WorldTime(live_ms=ROADS_LIVE_MS, speed=ROADS_SPEED),
    )


def _roads(seed: int, seconds: float) -> Roads:
    live_ms = int(seconds * 1_000 * ROADS_SPEED) + 10 * _MINUTE_MS
    plain = Roads(seed=seed, corridors=CORRIDORS)
    return Roads(
        seed=seed,
        corridors=CORRIDORS,
        start_ms=ROADS_START_MS,
        minutes=(ROADS_LIVE_MS - ROADS_START_MS + live_ms) // _MINUTE_MS,
        incidents=_planned_incidents(plain, live_ms),
        faults=_planned_faults(plain),
    )


def _planned_incidents(roads: Roads, live_ms: int) -> tuple[Incident, ...]:
    """Return an incident every 25 minutes, one road after the other, so that one is seen soon."""
    random = np.random.default_rng([roads.seed, 0xDE])
    network = build_network(roads)
    planned = []
    for number, after_ms in enumerate(range(5 * _MINUTE_MS, live_ms, INCIDENT_EVERY_MS)):
        corridor = number % roads.corridors
        # Far enough along the road for the queue to be seen upstream of it.
        station = int(random.integers(6, roads.sensors_per_corridor - 2))
        start_ms = ROADS_LIVE_MS + after_ms
        minutes = float(random.uniform(*INCIDENT_MINUTES))
        cell = corridor * roads.sensors_per_corridor + station
        planned.append(
            Incident(
                corridor=corridor,
                position_km=float(network.position_km[cell]),
                start_ms=start_ms,
                end_ms=start_ms + int(minutes * _MINUTE_MS),
                severity=round(float(random.uniform(*INCIDENT_SEVERITY)), 2),
                incident_id=f"planned-{number}",
            )
        )
    return tuple(planned)


def _planned_faults(roads: Roads) -> tuple[Fault, ...]:
    """Return a sensor that falls silent and one that sticks, both soon."""
    random = np.random.default_rng([roads.seed, 0xFA])
    sensors = random.choice(roads.corridors * roads.sensors_per_corridor, 2, replace=False)
    starts = (ROADS_LIVE_MS + 20 * _MINUTE_MS, ROADS_LIVE_MS + 10 * _MINUTE_MS)
    return tuple(
        Fault(
            sensor=int(sensor),
            kind=kind,
            start_ms=start_ms,
            end_ms=start_ms + 120 * _MINUTE_MS,
        )
        for sensor, kind, start_ms in zip(sensors, (SILENT, STUCK), starts, strict=True)
    )
