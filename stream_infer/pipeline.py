"""What a user declares: where events come from, what is computed, which model scores.

A `Pipeline` is a frozen value. It knows no Kafka and runs nothing: the data plane,
the file runner and the topic administration each read what they need from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from stream_infer.features.spec import Feature

Partitioning = Literal["checked", "trusted", "rekey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """The events that a pipeline scores.

    topic     the input topic
    type      msgspec type of one event; a field's constraint makes bad input a dead letter
    id        field with the event's id
    time      field with the event time (epoch ms, or RFC 3339 text)
    key       the entity that the input topic is keyed and partitioned by
    entities  every entity field, `key` first
    decimals  value field -> decimals it is declared with: values are int64 fixed point inside
    partitioning  ``checked``: a record must lie in the partition of its key's hash;
                  ``trusted``: it is not looked at; ``rekey``: a stage in front puts it there
    """

    topic: str
    type: type[msgspec.Struct]
    id: str
    time: str
    key: str
    entities: tuple[str, ...]
    decimals: dict[str, int] = field(default_factory=dict)
    partitioning: Partitioning = "checked"


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

    @property
    def rekeys(self) -> bool:
        """Whether a stage without state stands in front of the first one.

        Also where the first stage folds labels: events and labels must meet in one log, and
        the input topic is not ours to write labels to.
        """
        folds_first = self.labels is not None and self.labels.by == self.events.key
        return self.events.partitioning == "rekey" or folds_first

    def with_partitioning(self, partitioning: Partitioning | None) -> Pipeline:
        """Return the pipeline with another partitioning of its input; None changes nothing."""
        if partitioning is None:
            return self
        return replace(self, events=replace(self.events, partitioning=partitioning))
