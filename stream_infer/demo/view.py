"""What the demo shows at one moment: values, ready to be drawn or printed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream_infer.demo.judging import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One pipeline at work.

    title          what it is about
    rate           scored a second, now
    rates          the same over the last half minute, oldest first
    sent           events written to Kafka
    scored         scored events read from Kafka
    latency_ms     p50, p99 and p99.9 since the present began; from the writing of an event to
                   Kafka until its score stood there
    age_ms         from the moment at which an event happens until its score stood in Kafka
    dead_letters   records that could not be used
    late           events that came after the allowed lateness
    clock_ms       what time it is in the simulated world, ms since the epoch
    speed          ms of the world's time in a ms on the wall
    """

    title: str
    rate: float
    rates: tuple[float, ...]
    sent: int
    scored: int
    latency_ms: tuple[int | None, int | None, int | None]
    age_ms: int | None
    dead_letters: int
    late: int
    clock_ms: int | None
    speed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One sensor of a corridor.

    level     level of service of its last reading, A to F; None when it says nothing
    share     share of the free-flow speed; None when not known
    alert     whether an alert about it is open
    incident  whether there truly is an incident
    """

    level: str | None
    share: float | None
    alert: bool = False
    incident: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Corridor:
    """One direction of a road; its cells stand in the direction of travel."""

    name: str
    length_km: float
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAlert:
    """An alert as it is shown; `verdict` is None for one of the past, which nobody judges.

    lane  title of its pipeline
    """

    lane: str
    time_ms: int
    kind: str
    severity: str
    text: str
    verdict: Verdict | None
    cleared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What truly happened against what was caught, and alerts against the truth.

    fraud_kinds  kind of fraud -> how many happened, how many were caught
    alert_kinds  kind of alert -> how many right, wrong, undecided
    """

    frauds: int = 0
    frauds_caught: int = 0
    incidents: int = 0
    incidents_caught: int = 0
    incidents_undecided: int = 0
    alerts: int = 0
    alerts_right: int = 0
    alerts_wrong: int = 0
    alerts_undecided: int = 0
    fraud_kinds: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    alert_kinds: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One moment of the demo.

    phase      what goes on, in a few words
    alerts     newest first
    share      how much of this phase is done, 0 to 1; None when that is not known
    elapsed_s  of the present; 0 before it begins
    seconds    how long the present lasts
    """

    phase: str
    share: float | None
    elapsed_s: float
    seconds: float
    bootstrap: str
    lanes: tuple[Lane, ...]
    corridors: tuple[Corridor, ...]
    alerts: tuple[ShownAlert, ...]
    tally: Tally
