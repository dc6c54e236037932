"""The words in which alerts, limits and lists are declared.

Like a feature, an alert is a value, not a program. `Alerts` stands in a pipeline's file;
`stream_infer.alerts.declared` checks it and turns it into what the stages run.

A *level* is the number that an alert's thresholds are compared with, and larger is worse:

    score       the model's answer
    decision    0 approve, 1 review, 2 decline, and the score behind the point: 2.97 is a decline
                with a score of 0.97. Where decisions change is the model's own matter, so alerts
                on it stay right when another version of the model serves
    any other   a feature of that name, or a column that a stage computes (congestion, say)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SCORE = "score"
DECISION = "decision"
MODEL_LEVELS = frozenset({SCORE, DECISION})
"""Levels that come of the model and of the rules beside it, and have reasons."""

RuleDecision = Literal["approve", "review", "decline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """When single alerts of one kind become one alert for their group.

    single_max  so many may open within the time; the next ones join the group's alert
    within      the time, on the partition's clock
    absorb      whether single alerts that are open then join it too: right for sensors, where
                one cause silences many; wrong where people already work on the single ones
    """

    single_max: int = 100
    within: str = "10m"
    absorb: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertKind:
    """One kind of alert, at most one open alert for each entity.

    name          lower-case word, such as ``card_fraud``
    entity        the event's field that the alert is about, such as ``customer_id``
    group         the field whose entities a storm is counted over (``corridor``); None counts
                  over the whole partition
    level         what is compared, see above
    open_at       an alert opens at this level or above
    keep_at       an open alert stays open at this level or above; None is `open_at`
    severities    (level, word), rising; the word of an alert never falls while it lives
    count_min     so many candidates within `within` before it opens
    distinct_min  of so many different `other` within `within` before it opens
    within        the time for the two above
    other         the event's field that `distinct_min` counts, such as ``customer_id``
    hold          cleared when nothing at `keep_at` came for so long
    open_min      never cleared sooner than this after it opened
    quiet         within this time of its clearing, the same alert is opened again
    update_every  an open alert says no more than this often that it goes on; a higher severity
                  and a doubled count are told at once
    storm         when single alerts become one for the group; None never
    text          the sentence that opens the alert's text: names in braces are of `facts`, or
                  ``entity``, ``level``, ``count``, ``members``
    facts         fields, values or features of the event, or columns that the stage computes,
                  that the alert carries for its text
    tells         where the level is not the model's: features, or columns that the stage
                  computes, that the alert tells as reasons, with their value and what is usual,
                  and without a contribution
    """

    name: str
    entity: str
    open_at: float
    severities: tuple[tuple[float, str], ...] = ((0.0, "high"),)
    keep_at: float | None = None
    group: str | None = None
    level: str = DECISION
    count_min: int = 1
    distinct_min: int = 1
    within: str = "1h"
    other: str | None = None
    hold: str = "1h"
    open_min: str = "0s"
    quiet: str = "0s"
    update_every: str = "1m"
    storm: Storm | None = Storm()
    text: str = ""
    facts: tuple[str, ...] = ()
    tells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A bound on a value or a feature that decides beside the model.

    name      the rule's name, as decisions and alerts tell it
    of        a value of the event, or a feature
    above     the rule applies above this (in the value's own unit)
    below     the rule applies below this
    decision  what it decides; a limit makes a decision stricter, never milder
    score     the score that its candidates count as at least
    """

    name: str
    of: str
    above: float | None = None
    below: float | None = None
    decision: RuleDecision = "decline"
    score: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityList:
    """Entities that are decided by being on a list, whatever the model says.

    name    the list's name in records and rules, such as ``blocked-customers``
    entity  the event's field that is looked up
    kind    ``block`` declines, ``allow`` approves and raises no candidate; block comes first
    score   the score that candidates of a block list count as at least
    """

    name: str
    entity: str
    kind: Literal["block", "allow"]
    score: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class UsualConstant:
    """A feature's usual value: always this number."""

    value: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsualOf:
    """A feature's usual value: another feature of the same row, times a factor.

    A count over a day has the usual value ``UsualOf(of="count_30d", times=1 / 30)``.
    """

    of: str
    times: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsualMean:
    """A value's usual value: the entity's mean without the event itself.

    The mean that is a feature holds the event too, so that a card's second payment would be
    measured against itself. It is ``(mean * count - value) / (count - 1)``.

    mean, count, value  features of the same window: its mean, its count, the event's own value
    otherwise           what is usual for a first event
    """

    mean: str
    count: str
    value: str
    otherwise: float | None = None


Usual = UsualConstant | UsualOf | UsualMean


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A feature that may explain a score, together with those that say the same.

    feature  named in the alert, with its value and its usual value
    along    features put to their usual values with it: a terminal's risk over 1, 7 and 30
             days tells one thing, and putting one of them back alone would change nothing
    phrase   how a person says it: braces may name ``value``, ``usual`` and ``times`` (their
             ratio); empty gives a plain sentence
    """

    feature: str
    along: tuple[str, ...] = ()
    phrase: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """All that a pipeline declares about alerts and about rules beside the model.

    topic        the append log of alerts; their current state is in ``<topic>-current``
    kinds        kinds of alerts
    limits       bounds that decide beside the model, the first that applies is named
    lists        allow and block lists
    usual        feature, or column that the stage computes -> what is usual for the entity
    reasons      what may explain a score; empty: each feature of `usual` for itself
    reasons_max  so many reasons an alert tells
    """

    topic: str
    kinds: tuple[AlertKind, ...]
    limits: tuple[Limit, ...] = ()
    lists: tuple[EntityList, ...] = ()
    usual: Mapping[str, Usual] = field(default_factory=dict)
    reasons: tuple[Reason, ...] = ()
    reasons_max: int = 3

    @property
    def current_topic(self) -> str:
        """The compacted topic with the current state of each alert."""
        return f"{self.topic}-current"
