"""Decisions beside the model: lists and limits, and the name of the rule that decided.

A block list comes before an allow list, that before limits, and those before the model. A
limit makes a decision stricter, never milder, so that a generous limit cannot let a payment
pass that the model declines. Of equal limits the first one declared is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_infer.alerts.spec import Alerts, EntityList, Limit
from stream_infer.events.columns import EventColumns
from stream_infer.events.measures import NO_VALUE
from stream_infer.pipeline import Events

STRICTNESS: Mapping[str | None, int] = {None: -1, "approve": 0, "review": 1, "decline": 2}


@dataclass(frozen=True, slots=True)
class Decided:
    """What is decided about ``n`` rows.

    decisions  n words, or None without model and rules
    rules      row -> name of the rule that decided
    scores     row -> score that its candidates count as at least, where a rule decided
    allowed    rows that an allow list lets pass: they are no candidates
    """

    decisions: Sequence[str | None] | None
    rules: Mapping[int, str]
    scores: Mapping[int, float]
    allowed: frozenset[int]

    def rule_column(self, rows: int) -> list[str | None] | None:
        """Return the rule of each row, or None where no rule decided anything."""
        return [self.rules.get(row) for row in range(rows)] if self.rules else None


class Listing(Protocol):
    """Who is on which list."""

    def __len__(self) -> int: ...

    def rows(self, name: str, entities: Sequence[str]) -> list[int]:
        """Return the rows whose entity is on a list."""


class Decider:
    """Applies a pipeline's rules.

    alerts    the declaration
    events    the pipeline's events
    features  names of the matrix's columns
    """

    def __init__(self, alerts: Alerts, events: Events, features: Sequence[str]) -> None:
        self._limits = alerts.limits
        self._scales = {name: 10**digits for name, digits in events.decimals.items()}
        self._columns = {name: column for column, name in enumerate(features)}
        # Lists that come later decide last, so that the first one that is declared has its way.
        self._lists = [
            entry
            for kind in ("allow", "block")
            for entry in reversed(alerts.lists)
            if entry.kind == kind
        ]

    def decide(
        self,
        columns: EventColumns,
        matrix: NDArray[np.float64],
        decisions: Sequence[str | None] | None,
        lists: Listing | None = None,
    ) -> Decided:
        """Return what is decided about each row.

        matrix     (n, features) float64
        decisions  the model's, or None
        lists      what is known of the rows' entities, or None where nobody is listed
        Cost       a comparison of a column for each limit; a look-up a row for each list that
                   is not empty
        """
        applied = [
            (limit, rows) for limit in self._limits if (rows := self._rows(limit, columns, matrix))
        ]
        listed: list[tuple[EntityList, list[int]]] = []
        if lists:
            listed = [
                (entry, rows)
                for entry in self._lists
                if (rows := lists.rows(entry.name, columns.entities[entry.entity]))
            ]
        if not applied and not listed:
            return Decided(decisions, {}, {}, frozenset())
        return _overruled(len(columns), decisions, applied, listed)

    def _rows(self, limit: Limit, columns: EventColumns, matrix: NDArray[np.float64]) -> list[int]:
        scale = self._scales.get(limit.of)
        if scale is None:
            values = matrix[:, self._columns[limit.of]]
        else:
            units = columns.values[limit.of]
            values = np.where(units == NO_VALUE, np.nan, units / scale)
        beyond = np.zeros(len(values), np.bool_)
        if limit.above is not None:
            beyond |= values > limit.above
        if limit.below is not None:
            beyond |= values < limit.below
        rows: list[int] = np.flatnonzero(beyond).tolist()
        return rows


def _overruled(
    n: int,
    decisions: Sequence[str | None] | None,
    applied: Sequence[tuple[Limit, list[int]]],
    listed: Sequence[tuple[EntityList, list[int]]],
) -> Decided:
    words: list[str | None] = [None] * n if decisions is None else list(decisions)
    rules: dict[int, str] = {}
    scores: dict[int, float] = {}
    for limit, rows in applied:
        strictness = STRICTNESS[limit.decision]
        for row in rows:
            now = STRICTNESS[words[row]]
            if strictness > now or (strictness == now and row not in rules):
                words[row], rules[row] = limit.decision, limit.name
                scores[row] = max(scores.get(row, 0.0), limit.score)
    allowed: set[int] = set()
    for entry, rows in listed:
        for row in rows:
            rules[row] = entry.name
            if entry.kind == "allow":
                words[row] = "approve"
                scores.pop(row, None)
                allowed.add(row)
            else:
                words[row], scores[row] = "decline", entry.score
                allowed.discard(row)
    return Decided(words, rules, scores, frozenset(allowed))
