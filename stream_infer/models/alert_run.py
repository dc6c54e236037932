"""Scored rows of a generated world to alerts, as the stages would make them, without Kafka.

What decides is the code of the stream: rules, candidates, the alert stage's fold. One
partition holds everything, so the clock that ends alerts is that of the whole world.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from stream_infer.alerts.candidate import tick
from stream_infer.alerts.declared import AlertPlan
from stream_infer.alerts.fold import AlertFold
from stream_infer.alerts.stage import AlertReader
from stream_infer.alerts.wire import Alert
from stream_infer.errors import InvalidDataError


@dataclass(frozen=True, slots=True)
class Raised:
    """One alert, as its last record tells it, with its whole life.

    alert   the last record; of an alert that went into a group's, the one that says so
    opened  ms, when it first opened
    ended   ms, when it was cleared or merged; the world's end where it is still open
    """

    alert: Alert
    opened: int
    ended: int

    @property
    def is_group(self) -> bool:
        """Whether it is a storm's."""
        return self.alert.scope == "group"


def raise_alerts(plan: AlertPlan, batches: Iterable[Sequence[bytes]], end_ms: int) -> list[Raised]:
    """Return the alerts of candidates as they are written, in log order.

    end_ms  to where the clock goes after the last one
    Raises  InvalidDataError ``candidate_lost`` where a candidate cannot be read back
    """
    reader, fold = AlertReader(plan), AlertFold(plan)
    last: dict[str, Alert] = {}
    opened: dict[str, int] = {}

    def note(changes: Iterable[Alert]) -> None:
        for alert in changes:
            opened.setdefault(alert.alert_id, alert.opened_time)
            last[alert.alert_id] = alert

    for values in batches:
        read = reader.read(values)
        if read.bad:
            raise InvalidDataError(
                "candidate_lost",
                f"{len(read.bad)} candidates cannot be read back, the first: {read.bad[0].code}.",
                "Report it with the pipeline's declaration.",
            )
        note(change.alert for change in fold.fold(read.candidates))
    note(change.alert for change in fold.fold([tick(end_ms)]))
    return [
        Raised(
            alert,
            opened[name],
            alert.cleared_time
            if alert.cleared_time is not None
            else (alert.updated_time if alert.change == "merged" else end_ms),
        )
        for name, alert in last.items()
    ]


def added(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return counts of several runs as those of one: numbers add up, lists of times join.

    >>> added([{"right": 2, "delays_ms": [5]}, {"right": 1, "delays_ms": []}])
    {'right': 3, 'delays_ms': [5]}
    """
    whole: dict[str, Any] = {}
    for name, first in parts[0].items():
        values = [part[name] for part in parts]
        if isinstance(first, dict):
            whole[name] = added(values)
        else:
            whole[name] = sum(values, [] if isinstance(first, list) else 0)
    return whole


def verdicts(right: int, wrong: int) -> dict[str, int]:
    """Return the counts of one kind of alert."""
    return {"opened": right + wrong, "right": right, "wrong": wrong}
