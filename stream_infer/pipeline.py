"""What a user declares: where events come from, what is computed, which model scores.

A `Pipeline` is a frozen value. It knows no Kafka and runs nothing: the data plane,
the file runner and the topic administration each read what they need from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from stream_infer.alerts.spec import Alerts
from stream_infer.events.known_keys import KnownKeys
from stream_infer.features.spec import Feature

Partitioning = Literal["checked", "trusted", "rekey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """The events that a pipeline scores.

    topic     the input topic
    type      msgspec type of one event; a field's constraint makes bad input a dead letter
    id        field with the event's id; the key itself where a key's events are told apart by
              their time (a sensor sends one reading at a time)
    time      field with the event time (epoch ms, or RFC 3339 text)
    key       the entity that the input topic is keyed and partitioned by
    entities  every entity field, `key` first
    decimals  value field -> decimals it is declared with: values are int64 fixed point inside
    partitioning  ``checked``: a record must lie in the partition of its key's hash;
                  ``trusted``: it is not looked at; ``rekey``: a stage in front puts it there
    measures  those of `decimals` that are measurements: each may be absent, but not all of
              them, and they are rounded to their decimals instead of refused
    known     the keys that there are, None when there may be any. An unknown key is a dead
              letter, and the log is placed by `known.place` instead of by the key
    sensitive  fields that logs, alert texts and terminals show masked; topics hold them as
              they are
    """

    topic: str
    type: type[msgspec.Struct]
    id: str
    time: str
    key: str
    entities: tuple[str, ...]
    decimals: dict[str, int] = field(default_factory=dict)
    partitioning: Partitioning = "checked"
    measures: tuple[str, ...] = ()
    known: KnownKeys | None = None
    sensitive: tuple[str, ...] = ()

    @property
    def time_is_id(self) -> bool:
        """Whether a key's events are told apart by their time alone."""
        return self.id == self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Labels that arrive later, joined to events by id.

    topic  the label topic, keyed by the event's id
    type   msgspec type of one label; it has the event's id, time and entity fields
    by     the entity whose stage folds the labels
    truth  bool field: the label
    time   field with the time the label became known
    """

    topic: str
    type: type[msgspec.Struct]
    by: str
    truth: str
    time: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """When a key that says nothing is told.

    intervals     in how many of its usual intervals between events it must have said nothing
    forget_after  a key that is silent for longer is forgotten
    """

    intervals: float = 3.0
    forget_after: str = "7d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What is said about a reading: measured, judged and forecast.

    horizons   how far ahead the model looks, such as ``("15m", "30m", "60m")``
    anomaly    feature with the anomaly score, 0 to 1
    level      feature with the level of service, 0 (A) to 5 (F), NaN where none can be told
    base       feature with the present value as a share of the scale: the model answers with
               differences to it
    scale      feature with the scale, in the unit of `of`
    of         the value that is forecast; absent values have no forecast

    The model has three outputs a horizon: mean, low and high.
    """

    horizons: tuple[str, ...]
    anomaly: str
    level: str
    base: str
    scale: str
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A chain of stages from one input topic to one topic of scored events.

    name        lower-case word; prefix of internal topics and of the consumer group
    events      the input
    labels      delayed truth, or None
    features    declared features; their order is the order of the model's columns
    scored      output topic
    model       name of the model, or None: then features are published and nothing is scored
    lateness    an event this far behind its key's newest one is late
    future_max  an event this far ahead of its record's timestamp is a dead letter
    duplicates  whether an id seen before is published as `duplicate_of` and not folded again
    conditions  what the model's outputs mean where it forecasts; None where it answers with the
                probability of an event being positive
    alerts      alerts, limits and lists, or None
    silence     when keys that say nothing are told; None for never
    """

    name: str
    events: Events
    features: tuple[Feature, ...]
    scored: str
    labels: Labels | None = None
    model: str | None = None
    lateness: str = "1d"
    future_max: str = "1h"
    duplicates: bool = True
    conditions: Conditions | None = None
    alerts: Alerts | None = None
    silence: Silence | None = None

    @property
    def rekeys(self) -> bool:
        """Whether a stage without state stands in front of the first one.

        Also where the first stage folds labels, or decides by lists: events and these must meet
        in one log, and the input topic is not ours to write to. And where keys are placed by
        something that only the table knows.
        """
        folds_first = self.labels is not None and self.labels.by == self.events.key
        placed = self.events.known is not None
        rekeys = self.events.partitioning == "rekey" or folds_first or placed
        return rekeys or (self._has_lists and self._has_one_stage)

    @property
    def _has_lists(self) -> bool:
        return self.alerts is not None and bool(self.alerts.lists)

    @property
    def _has_one_stage(self) -> bool:
        return {getattr(item, "by", self.events.key) for item in self.features} <= {self.events.key}

    def with_partitioning(self, partitioning: Partitioning | None) -> Pipeline:
        """Return the pipeline with another partitioning of its input; None changes nothing."""
        if partitioning is None:
            return self
        return replace(self, events=replace(self.events, partitioning=partitioning))
