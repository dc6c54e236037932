"""What a terminal does not show of records: fields that a pipeline declares sensitive.

Which pipeline a topic belongs to cannot be seen from its records, so the one that a command is
given and the one that the settings name are asked; the built-in ones declare nothing
sensitive. What cannot be looked into, a key or a value in a form of its own, is hidden whole
where anything is sensitive: better nothing than a card number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_infer.pipeline import Pipeline
    from stream_infer.settings.loading import Settings


@dataclass(frozen=True, slots=True)
class Masking:
    """Hides what is sensitive in a topic's records.

    fields     names of sensitive fields, wherever in a value they stand
    keys_show  whether the topic's keys are of no sensitive field
    """

    fields: frozenset[str]
    keys_show: bool

    def key(self, key: bytes | None) -> bytes | None:
        """Return what is shown of a key."""
        from stream_infer.events.sensitive import HIDDEN

        return key if key is None or self.keys_show else HIDDEN.encode()

    def value(self, value: bytes | None) -> bytes | None:
        """Return what is shown of a value: the JSON object with fields masked, or nothing of it."""
        import msgspec

        from stream_infer.cli.records import value_json
        from stream_infer.events.sensitive import HIDDEN, mask_fields

        if value is None or not self.fields:
            return value
        found: Any = value_json(value)
        if isinstance(found, dict):
            return msgspec.json.encode(mask_fields(found, self.fields))
        return HIDDEN.encode()


SHOWN = Masking(frozenset(), keys_show=True)


def masking_of(topic: str, pipelines: Iterable[Pipeline], settings: Settings) -> Masking:
    """Return what is hidden of a topic's records."""
    fields: set[str] = set()
    keys_show = True
    mapping = settings.field_mapping()
    for pipeline in pipelines:
        sensitive = pipeline.events.sensitive
        if not sensitive or not _has(pipeline, topic):
            continue
        fields |= set(sensitive)
        if mapping is not None:
            # In the user's own JSON the field stands under another name.
            fields |= {mapping.source(field).path[-1] for field in sensitive}
        keys_show &= topic in _keys_of_no_field(pipeline)
    return Masking(frozenset(fields), keys_show) if fields else SHOWN


def known_pipelines(settings: Settings, given: Pipeline | None) -> list[Pipeline]:
    """Return the pipelines that may have declared what is sensitive."""
    known = [] if given is None else [given]
    if settings.pipeline.file is not None:
        from stream_infer.pipelines.loading import load_pipeline

        known.append(settings.applied_to(load_pipeline(settings.pipeline.file)))
    return known


def _has(pipeline: Pipeline, topic: str) -> bool:
    from stream_infer.kafka.topic_specs import pipeline_topics

    return topic in {spec.name for spec in pipeline_topics(pipeline)}


def _keys_of_no_field(pipeline: Pipeline) -> set[str]:
    """Return the topics that are keyed by the id of an event or of an alert."""
    alerts, labels, events = pipeline.alerts, pipeline.labels, pipeline.events
    found = set() if alerts is None else {alerts.topic, alerts.current_topic}
    if labels is not None and events.id not in events.sensitive:
        found.add(labels.topic)
    keyed = {events.topic, pipeline.scored}
    return found if events.key in events.sensitive else found | keyed
