"""Reads what a stage has published, by name and digest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from aiokafka import TopicPartition

from stream_infer.audit.recompute.found import FoundOutputs, Place
from stream_infer.audit.recompute.origins import Content, Naming, name_of
from stream_infer.dataplane.stage import Stage
from stream_infer.events.topic_names import candidates_topic
from stream_infer.kafka.reading import LogReader
from stream_infer.kafka.stretch import Stretch
from stream_infer.pipeline import Pipeline

FEATURES = b',"features":{'


class Published:
    """The output topics of one pipeline.

    namings        destination topic -> how its records are named
    logs           what is read of each partition
    note           called with the number of records read
    writers        the topics that the pipeline's stages read
    with_features  whether a scored event of the stage that was read last carries features
    """

    def __init__(
        self,
        pipeline: Pipeline,
        namings: Mapping[str, Naming],
        reader: LogReader,
        logs: Mapping[TopicPartition, Stretch],
        note: Callable[[int], None],
    ) -> None:
        self.writers: Collection[str] = ()
        self.with_features = False
        self._pipeline = pipeline
        self._namings = namings
        self._reader = reader
        self._logs = logs
        self._note = note

    async def of(self, stage: Stage, *, scores: bool) -> FoundOutputs:
        """Return the outputs of a stage.

        scores  whether it is the stage that scores
        """
        found = FoundOutputs()
        topics = self._destinations(stage, scores=scores)
        stretches = {tp: log for tp, log in self._logs.items() if tp.topic in topics and len(log)}
        self.with_features = False
        async for tp, records in self._reader.read(stretches):
            for record in records:
                self._enter(found, stage, record)
            if tp.topic == self._pipeline.scored and not self.with_features:
                self.with_features = any(FEATURES in (each.value or b"") for each in records)
            self._note(len(records))
        found.close()
        return found

    def _destinations(self, stage: Stage, *, scores: bool) -> set[str]:
        pipeline, side = self._pipeline, stage.side
        topics = {side.dead_letters.name, side.late_events.name}
        if stage.feeds is not None:
            topics.add(stage.feeds)
        if scores:
            topics.add(pipeline.scored)
        if pipeline.alerts is not None and stage.topic == candidates_topic(pipeline):
            topics |= {pipeline.alerts.topic, pipeline.alerts.current_topic}
        return topics

    def _enter(self, found: FoundOutputs, stage: Stage, record: Any) -> None:
        content = Content(record.key, record.value, record.headers)
        origin = name_of(self._namings[record.topic], content)
        if not origin.ours or not self._wrote(stage, record.topic, origin.writer):
            return
        place = Place(record.topic, record.partition, record.offset)
        # One that says nothing about itself is like no other, and nobody expects it.
        name = place if origin.name is None else origin.name
        found.add(
            place,
            hash((record.topic, record.partition, name)),
            content.digest(),
            origin.stamp,
            refused=origin.refused,
        )

    def _wrote(self, stage: Stage, topic: str, writer: str | None) -> bool:
        if writer is None:
            return True
        if stage.side.owns(topic):
            return writer == stage.name
        # A record that names no stage's topic is nobody's: whoever feeds the log tells it.
        return writer == stage.topic or writer not in self.writers
