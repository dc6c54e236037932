"""Alerts as sentences that a person understands, with sensitive values masked.

    Payment of 912.00 at terminal 4711: amount is 11 times this card's usual 81.40; 9 payments
    within a day, usually 2. Decided by the rule amount-limit. 3 events so far.

What a pipeline declares is filled in; where it declares nothing, or a value is missing, a
plain sentence stands instead: a text must never keep an alert from being published.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from stream_infer.alerts.declared import AlertPlan
from stream_infer.alerts.wire import Alert, AlertReason
from stream_infer.events.sensitive import mask


class AlertTexts:
    """Writes the texts of one pipeline's alerts.

    plan       what is declared
    sensitive  fields whose values are masked
    """

    def __init__(self, plan: AlertPlan, sensitive: Collection[str] = ()) -> None:
        self._kinds = {name: kind.spec for name, kind in plan.kinds.items()}
        self._phrases = {reason.feature: reason.phrase for reason in plan.alerts.reasons}
        self._sensitive = frozenset(sensitive)

    def text(self, alert: Alert) -> str:
        """Return the alert's text: what, why, by which rule, how often, and how it ended."""
        what = self._many(alert) if alert.scope == "group" else self._one(alert)
        why = "; ".join(map(self._reason, alert.reasons))
        sentences = [f"{what}: {why}." if why else f"{what}."]
        if alert.rule is not None:
            sentences.append(f"Decided by the rule {alert.rule}.")
        if alert.count > 1 and alert.scope == "entity":
            sentences.append(f"{alert.count} events so far.")
        if alert.change == "merged":
            sentences.append("It is part of a larger alert now.")
        elif alert.status == "cleared":
            sentences.append("Over.")
        return " ".join(sentences)

    def _one(self, alert: Alert) -> str:
        names: dict[str, Any] = {
            **{name: self._shown(name, value) for name, value in alert.facts.items()},
            "entity": self._shown(alert.entity_type, alert.entity),
            "group": alert.group,
            "level": alert.level,
            "count": alert.count,
            "members": alert.members,
        }
        said = _filled(self._kinds[alert.kind].text, names) if alert.kind in self._kinds else ""
        return said or f"{_words(alert.kind).capitalize()}, {_words(alert.entity_type)} " + str(
            names["entity"]
        )

    def _many(self, alert: Alert) -> str:
        where = f" in {self._shown(alert.entity_type, alert.entity)}" if alert.entity else ""
        number = f"{alert.members:,} {_words(alert.member_type)}" + "s" * (alert.members != 1)
        return f"{_words(alert.kind).capitalize()} for {number}{where}"

    def _reason(self, reason: AlertReason) -> str:
        value, usual = reason.value, reason.usual
        names = {"value": value, "usual": usual, "times": _times(value, usual)}
        hidden = reason.feature in self._sensitive
        said = "" if hidden else _filled(self._phrases.get(reason.feature, ""), names)
        if said:
            return said
        plain = f"{reason.feature} is {self._shown(reason.feature, _number(value))}"
        return plain if usual is None or hidden else f"{plain}, usually {_number(usual)}"

    def _shown(self, field: str | None, value: object) -> object:
        return mask(value) if field in self._sensitive else value


def _filled(template: str, names: Mapping[str, Any]) -> str:
    """Return a template with its names filled in, or "" where one is missing or does not fit."""
    try:
        return template.format_map(names)
    except (KeyError, ValueError, TypeError):
        return ""  # a plain sentence says the rest


def _times(value: float | None, usual: float | None) -> float | None:
    return value / usual if value is not None and usual else None


def _words(name: str | None) -> str:
    """Return a declared name as words: ``terminal_id`` is a terminal."""
    return "entity" if name is None else name.removesuffix("_id").replace("_", " ")


def _number(value: float | None) -> str:
    """Return a number as people write it: no exponent, three digits behind the point at most."""
    if value is None:
        return "unknown"
    return f"{value:,.3f}".rstrip("0").rstrip(".")
