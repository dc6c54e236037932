"""Alert declarations and candidates, written down in few words."""

from __future__ import annotations

from itertools import count
from typing import Any

from stream_infer.alerts.candidate import Candidate
from stream_infer.alerts.declared import AlertPlan, compile_alerts
from stream_infer.alerts.fold import AlertChange, AlertFold
from stream_infer.alerts.spec import AlertKind, Alerts

MINUTE = 60_000
HOUR = 60 * MINUTE
START = 1_767_268_800_000


def kind(name: str = "heat", **words: Any) -> AlertKind:
    """Return a kind on the level of a sensor: opens at 0.5, stays open at 0.3."""
    given: dict[str, Any] = {
        "entity": "sensor_id",
        "level": "score",
        "open_at": 0.5,
        "keep_at": 0.3,
        "severities": ((0.5, "low"), (0.7, "high"), (0.9, "critical")),
        "hold": "10m",
        "quiet": "20m",
        "update_every": "5m",
        "storm": None,
    }
    return AlertKind(name=name, **(given | words))


def plan_of(*kinds: AlertKind) -> AlertPlan:
    return compile_alerts(Alerts(topic="alerts-plant", kinds=kinds), "plant")


class Log:
    """Writes candidates one after the other, each of a record of its own."""

    def __init__(self) -> None:
        self._offsets = count()

    def at(self, minutes: float, level: float, entity: str = "s-1", **facts: Any) -> Candidate:
        offset = next(self._offsets)
        given: dict[str, Any] = {
            "kind": "heat",
            "upstream_topic": "plant.readings",
            "upstream_partition": 0,
            "upstream_offset": offset,
            "sub": 0,
            "event_time": START + round(minutes * MINUTE),
            "entity": entity,
            "group": "",
            "level": level,
            "score": level,
            "event_id": f"readings-0-{offset}",
        }
        return Candidate(**(given | facts))


def minutes(change: AlertChange) -> tuple[float, float, float | None]:
    """Return opened, updated and cleared in minutes since the start."""
    alert = change.alert
    cleared = None if alert.cleared_time is None else (alert.cleared_time - START) / MINUTE
    return (alert.opened_time - START) / MINUTE, (alert.updated_time - START) / MINUTE, cleared


def told(changes: list[AlertChange]) -> list[str]:
    """Return what happened to whom."""
    return [f"{change.alert.change} {change.alert.entity}" for change in changes]


def folded(plan: AlertPlan, candidates: list[Candidate]) -> list[AlertChange]:
    return AlertFold(plan).fold(candidates)
