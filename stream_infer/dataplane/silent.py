"""Candidates of keys that say nothing: what a fold's watch over silence found, for alerts.

They have the record that showed the silence as their origin, like the candidates of that
record itself, and stand behind those.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stream_infer.alerts.candidate import Candidate, encode_candidates
from stream_infer.alerts.declared import AlertPlan
from stream_infer.alerts.maker import candidate_key
from stream_infer.dataplane.stage import ReadEvents
from stream_infer.errors import ConfigError
from stream_infer.features.silence import Silences
from stream_infer.pipeline import Events

SILENT = "silent"
"""Level of alerts: for how many of its usual intervals a key has said nothing."""


class Found(NamedTuple):
    """A candidate to write.

    offset  of the record that it comes from, by which candidates are in order
    row     of that record in its batch
    """

    offset: int
    key: str
    value: bytes
    row: int


class SilenceCandidates:
    """Makes the candidates of one pipeline's silent keys.

    plan    what is declared about alerts
    events  the pipeline's events
    Raises  ConfigError for an alert on silence that is about something else than the key
    """

    def __init__(self, plan: AlertPlan, events: Events) -> None:
        self._kinds = [kind for kind in plan.kinds.values() if kind.spec.level == SILENT]
        self._subs_before = len(plan.kinds)
        self._known = events.known
        self._key = events.key
        places = {None, events.key} | (set() if events.known is None else {events.known.place})
        for kind in self._kinds:
            if kind.spec.entity != events.key or kind.spec.group not in places:
                raise ConfigError(
                    "bad_alerts",
                    f"The alert kind {kind.name!r} is about silence, and silent is who is named "
                    f"by {events.key!r}.",
                    f"Write entity={events.key!r}, and a group that follows from it or none.",
                )

    def make(self, read: ReadEvents, silences: Silences) -> Iterator[Found]:
        """Yield the candidates of one partition's batch, by row and then by key."""
        source, times = read.batch.source, read.columns.event_time
        last, at = -1, 0
        for row, name, level in zip(silences.rows, silences.keys, silences.levels, strict=True):
            at = at + 1 if row == last else 0
            last = row
            # One number for each key and kind: a fold takes what has the same for a repeat.
            first_sub = self._subs_before + at * len(self._kinds)
            for sub, kind in enumerate(self._kinds, first_sub):
                if level < kind.keep_at:
                    continue
                group = self._group(kind.spec.group, name)
                candidate = Candidate(
                    kind=kind.name,
                    upstream_topic=source.topic,
                    upstream_partition=source.partition,
                    upstream_offset=int(read.offsets[row]),
                    sub=sub,
                    event_time=int(times[row]),
                    entity=name,
                    group=group,
                    level=level,
                )
                [value] = encode_candidates([candidate])
                yield Found(
                    candidate.upstream_offset,
                    candidate_key(kind, name, group),
                    value,
                    int(read.rows[row]),
                )

    def _group(self, group: str | None, name: str) -> str:
        if group is None:
            return ""
        if group == self._key or self._known is None:
            return name
        return self._known.places_of([name])[0]
