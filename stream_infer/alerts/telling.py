"""From what the alert stage remembers of an alert to the record that tells it."""

from __future__ import annotations

from stream_infer.alerts.declared import KindPlan
from stream_infer.alerts.lifecycle import Status
from stream_infer.alerts.state import GROUP, Living
from stream_infer.alerts.wire import Alert, AlertReason, Change


def alert_of(
    state: Living,
    kind: KindPlan,
    pipeline: str,
    change: Change,
    merged_into: str | None = None,
) -> Alert:
    """Return the record of an alert as it is now; its text is the emitter's to write.

    merged_into  id of the group's alert that takes it over
    """
    best = state.best
    return Alert(
        alert_id=state.alert_id,
        revision=state.revision,
        pipeline=pipeline,
        kind=kind.name,
        change=change,
        status="open" if state.status is Status.OPEN else "cleared",
        severity=kind.words[state.severity],
        scope="group" if state.key.scope == GROUP else "entity",
        entity_type=kind.spec.entity if state.is_single else kind.spec.group,
        entity=state.key.name,
        group=state.group,
        opened_time=state.opened_time,
        updated_time=state.last_time,
        cleared_time=state.cleared_time,
        level=best.level,
        score=best.score,
        decision=best.decision,
        rule=best.rule,
        model=best.model,
        version=best.version,
        count=state.count,
        members=state.members,
        member_ids=tuple(state.member_ids),
        member_type=kind.spec.other if state.is_single else kind.spec.entity,
        reopened=state.reopened,
        reasons=tuple(
            AlertReason(
                feature=reason.feature,
                value=reason.value,
                usual=reason.usual,
                contribution=reason.contribution,
            )
            for reason in best.reasons
        ),
        facts=best.facts,
        event_ids=tuple(state.event_ids),
        merged_into=merged_into,
    )
