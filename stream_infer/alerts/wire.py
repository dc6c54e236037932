"""The alert as it is published: to an append log, and to a compacted topic with the newest.

Both topics carry the same records under the key ``alert_id``. `revision` counts an alert's
records from 1, so that a reader who may see a record twice (at least once) takes each once.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from stream_infer.alerts.candidate import Fact
from stream_infer.alerts.spec import Alerts

SCHEMA_VERSION = 1

Change = Literal["opened", "updated", "cleared", "reopened", "amended", "merged"]


class AlertReason(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How much of the score a feature explains.

    value, usual  what it was, and what is usual for this entity; null where not finite
    contribution  the score less the score with the usual value in its place; null where the
                  alert is not on the model's answer
    """

    feature: str
    value: float | None
    usual: float | None
    contribution: float | None


class Alert(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One change of one alert, and all that is known about it. Key: alert_id.

    alert_id       the same for the whole life, and in every replay of the same log
    revision       1 for the first record of the alert, then 2, ...
    change         what happened; `merged`: its group's alert took it over (see `merged_into`);
                   `amended`: a late candidate was added to a cleared alert
    status         open or cleared
    scope          whether it is about one entity, or about many of one group (a storm)
    entity_type    name of the field that `entity` is a value of, null for everybody
    entity         whom it is about; for a group the group, "" for everybody
    group          what a storm is counted over, "" for everybody
    opened_time    event time of the candidate that opened it, ms since the epoch, as all times
    updated_time   newest event time of its candidates
    cleared_time   when it ended, null while it is open
    severity       only rises while it lives
    level          highest level so far; score, decision, rule, model, version, reasons and
                   facts are of the candidate that had it first
    count          candidates so far; of those before it opened the newest of each `other`
    members        different entities of a group; different `other` (a terminal's customers) else
    member_ids     the first of them
    member_type    name of the field that they are values of, null where nothing is counted
    reopened       how often it was opened again within its quiet period
    event_ids      records of the pipeline's first topic: the first and the newest ones
    merged_into    alert_id of the group's alert that took it over
    text           a sentence for people, with sensitive fields masked
    """

    schema_version: int = SCHEMA_VERSION
    alert_id: str
    revision: int
    pipeline: str
    kind: str
    change: Change
    status: Literal["open", "cleared"]
    severity: str
    scope: Literal["entity", "group"]
    entity_type: str | None
    entity: str
    group: str
    opened_time: int
    updated_time: int
    cleared_time: int | None
    level: float
    score: float | None
    decision: str | None
    rule: str | None
    model: str | None
    version: str | None
    count: int
    members: int
    member_ids: tuple[str, ...]
    member_type: str | None
    reopened: int
    reasons: tuple[AlertReason, ...]
    facts: dict[str, Fact]
    event_ids: tuple[str, ...]
    merged_into: str | None
    text: str = ""


def encode_alert(alert: Alert) -> tuple[bytes, bytes]:
    """Return key and value of the alert's record."""
    return alert.alert_id.encode(), msgspec.json.encode(alert)


def decode_alert(value: bytes) -> Alert:
    """Return the alert of a record; for readers. Raises `msgspec.DecodeError`."""
    return msgspec.json.decode(value, type=Alert)


def alert_schemas(alerts: Alerts) -> dict[str, dict[str, Any]]:
    """Return topic -> JSON Schema of the two alert topics' record values."""
    schema = msgspec.json.schema(Alert)
    return {
        alerts.topic: {"$comment": "Every change. Key: alert_id.", **schema},
        alerts.current_topic: {
            "$comment": "Compacted: the newest record of each alert. Key: alert_id.",
            **schema,
        },
    }
