"""Alerts for operations: a version was moved back, and a person must look before it serves again.

They are not made by the alert stage. Its state is a function of its log of candidates, its alerts
end by themselves, and a pipeline may have none; an alert about a version ends when a person has
cleared the version, and a record that is written twice must not count twice. So they are folded
from the model's history, which says everything about them, and written in the form of alerts to a
compacted topic of their own. Whoever decides next compares what stands there with the history
and writes what is missing: a decider that dies between the move and the alert loses nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from stream_infer.alerts.wire import Alert, decode_alert
from stream_infer.registry.entry import CHAMPION, Entry

MOVED_BACK, REJECTED = "model_moved_back", "challenger_rejected"
_ID_BYTES = 16


def operations_alerts(pipeline: str, entries: Iterable[Entry]) -> list[Alert]:
    """Return every record that a history asks for, in order; of an alert at most two.

    An alert is opened by an entry that barred a version without a person, and cleared by the one
    that lifts the bar.
    """
    records: list[Alert] = []
    is_open: dict[str, Alert] = {}
    for entry in entries:
        if entry.barred is not None and entry.automatic:
            is_open[entry.barred] = _opened(pipeline, entry, entry.barred)
            records.append(is_open[entry.barred])
        cleared = is_open.pop(entry.cleared or "", None)
        if cleared is not None:
            records.append(_cleared(cleared, entry))
    return records


def _opened(pipeline: str, entry: Entry, version: str) -> Alert:
    champion = next((move for move in entry.moves if move.alias == CHAMPION), None)
    kind = REJECTED if champion is None else MOVED_BACK
    what = (
        f"Version {version} of {entry.model} was taken off its trial"
        if champion is None
        else f"Version {version} of {entry.model} was rolled back to {champion.after}"
    )
    return Alert(
        alert_id=alert_id(entry.model, entry.number),
        revision=1,
        pipeline=pipeline,
        kind=kind,
        change="opened",
        status="open",
        severity="high" if champion is None else "critical",
        scope="entity",
        entity_type="model",
        entity=entry.model,
        group="",
        opened_time=entry.when_ms,
        updated_time=entry.when_ms,
        cleared_time=None,
        level=1.0,
        score=None,
        decision=None,
        rule=None,
        model=entry.model,
        version=version,
        count=1,
        members=0,
        member_ids=(),
        member_type=None,
        reopened=0,
        reasons=(),
        facts={"history": entry.number, "decided_by": entry.who},
        event_ids=(),
        merged_into=None,
        text=f"{what}: {entry.why}. Clear it when it may serve again.",
    )


def _cleared(alert: Alert, entry: Entry) -> Alert:
    return msgspec.structs.replace(
        alert,
        revision=2,
        change="cleared",
        status="cleared",
        updated_time=entry.when_ms,
        cleared_time=entry.when_ms,
        facts={**alert.facts, "cleared_by": entry.who, "cleared_why": entry.why},
    )


def alert_id(model: str, number: int) -> str:
    """Return the id of the alert that an entry of a model's history opens: the same for all."""
    return blake2b(f"{model}/{number}".encode(), digest_size=_ID_BYTES).hexdigest()


@dataclass(slots=True)
class OperationsDesk:
    """Tells operations what a model's history asks for; owns what it knows to be told.

    read  returns key -> newest value of the topic
    send  writes there, and returns when Kafka has it
    """

    pipeline: str
    read: Callable[[], Awaitable[dict[bytes, bytes]]]
    send: Callable[[bytes, bytes], Awaitable[None]]
    told: dict[str, int] | None = None

    async def tell(self, entries: Iterable[Entry]) -> list[Alert]:
        """Write what is missing, and return it. Raises StreamInferError where Kafka is away."""
        wanted = operations_alerts(self.pipeline, entries)
        if not wanted:
            return []
        if self.told is None:
            self.told = _revisions(await self.read())
        missing = [each for each in wanted if each.revision > self.told.get(each.alert_id, 0)]
        for each in missing:
            await self.send(each.alert_id.encode(), msgspec.json.encode(each))
            self.told[each.alert_id] = each.revision
        return missing


def _revisions(latest: dict[bytes, bytes]) -> dict[str, int]:
    found = {}
    for value in latest.values():
        try:
            alert = decode_alert(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # somebody else's: an alert that is told again does no harm
        found[alert.alert_id] = alert.revision
    return found
