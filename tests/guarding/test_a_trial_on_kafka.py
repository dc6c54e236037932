"""A trial is fed from topics, and goes on in other hands when the worker that decides is killed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Iterable

import msgspec
import pytest

from stream_infer.events.evidence import encode_evidence
from stream_infer.events.told import Told
from stream_infer.events.topic_names import (
    MODEL_EVIDENCE,
    SHADOW_SCORES,
    guard_group,
    guard_topic,
)
from stream_infer.guarding import feeding, owning
from stream_infer.guarding.feeding import TrialFeed
from stream_infer.guarding.guard import Guard
from stream_infer.guarding.latest import read_latest
from stream_infer.guarding.owning import Owning
from stream_infer.guarding.topic import guard_forever
from stream_infer.guarding.trial_records import TrialRecords
from stream_infer.guarding.trials import TrialKeeper
from stream_infer.kafka.connection import Connection
from stream_infer.pipeline import Pipeline
from stream_infer.registry.registry import Registry
from stream_infer.settings.model import ModelSettings
from support.guarding import evidence
from support.kafka import Message, aproduce
from support.pipelines import own_pipeline
from support.registries import NOON_MS, memory_store, registry_with
from support.worker import make_topics, until

pytestmark = pytest.mark.kafka

EVENTS = 400
SETTINGS = ModelSettings(trial="promote", trial_labels_min=EVENTS)
"""Nothing is answered before the last label: an answer proves that none was lost."""


def truth(n: int) -> bool:
    return n % 2 == 0


class Counting(TrialKeeper):
    """Counts the labels that are read for it."""

    read = 0

    def take_labels(self, labels: Iterable[tuple[str, bool]], partition: int, end: int) -> None:
        found = list(labels)
        self.read += len(found)
        super().take_labels(found, partition, end)


class Decider:
    """A guard with all that an owner does, as each worker has one."""

    def __init__(self, name: str, registry: Registry, pipeline: Pipeline, kafka: str) -> None:
        connection, own = Connection(bootstrap=kafka), guard_topic(pipeline)
        self.keeper = Counting("tiny", SETTINGS)
        self.told: list[Told] = []
        self.guard = Guard(
            registry, "tiny", self.tell, pipeline=pipeline.name, who=name, trial=self.keeper
        )
        feed = TrialFeed(connection, self.keeper, TrialRecords(pipeline, None), own)
        beside = Owning(connection, self.guard, own, feed).work
        self._task = asyncio.create_task(
            guard_forever(
                connection,
                MODEL_EVIDENCE,
                self.guard,
                group=guard_group(pipeline.name),
                every_s=0.1,
                beside=beside,
            )
        )

    async def tell(self, told: Told) -> None:
        self.told.append(told)

    def alive(self) -> None:
        if self._task.done():
            self._task.result()

    @property
    def labels(self) -> int:
        return 0 if self.keeper.state is None else self.keeper.state.trial.steps

    async def kill(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


def scores(pipeline: Pipeline, events: Iterable[int], version: str, better: float) -> list[Message]:
    def record(n: int) -> Message:
        said = {
            "event_id": f"{pipeline.events.topic}-0-{n}",
            "transaction_id": f"t-{n}",
            "event_time": NOON_MS + n,
            "score": better if truth(n) else 1 - better,
            "version": version,
            "duplicate_of": None,
        }
        return f"t-{n}".encode(), msgspec.json.encode(said), None, ()

    return [record(n) for n in events]


def labels(events: Iterable[int]) -> list[Message]:
    known = [
        {
            "transaction_id": f"t-{n}",
            "customer_id": "c",
            "terminal_id": "t",
            "event_time": NOON_MS + n,
            "is_fraud": truth(n),
            "label_time": NOON_MS + n + 1,
        }
        for n in events
    ]
    return [(None, msgspec.json.encode(each), None, ()) for each in known]


async def test_a_trial_outlives_the_worker_that_decides_and_counts_each_label_once(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "WRITE_EVERY_S", 0.05)
    pipeline = own_pipeline()
    assert pipeline.labels is not None
    await make_topics(kafka, pipeline, 2)
    store = memory_store()
    registry = registry_with("1", "2", store=store, now=True)
    registry.promote("tiny", "1")
    registry.assign("tiny", "challenger", "2")
    registry.assign("tiny", "shadow", "2")

    def decider(name: str) -> Decider:
        return Decider(name, Registry(store), pipeline, kafka)

    deciders = [decider("first"), decider("second")]
    try:
        half, rest = range(EVENTS // 2), range(EVENTS // 2, EVENTS)
        await aproduce(kafka, pipeline.scored, scores(pipeline, range(EVENTS), "1", 0.5))
        await aproduce(kafka, SHADOW_SCORES, scores(pipeline, range(EVENTS), "2", 0.9))
        # Of another pipeline, of another version, and of a record that came twice.
        other = dataclasses.replace(
            pipeline, events=dataclasses.replace(pipeline.events, topic="else")
        )
        await aproduce(kafka, SHADOW_SCORES, scores(other, range(EVENTS), "2", 0.1))
        await aproduce(kafka, pipeline.scored, scores(pipeline, range(EVENTS), "3", 0.1))
        await aproduce(kafka, pipeline.labels.topic, [*labels(half), (None, b"nonsense", None, ())])

        def everybody_lives() -> None:
            for each in deciders:
                each.alive()

        await until(
            lambda: any(each.labels == len(half) for each in deciders), alive=everybody_lives
        )
        topic = guard_topic(pipeline)
        assert topic is not None

        async def is_written() -> bool:
            word = (await read_latest(Connection(bootstrap=kafka), topic)).get(b"tiny/trial")
            return word is not None and msgspec.json.decode(word)["steps"] == len(half)

        await until(is_written, alive=everybody_lives)
        [owner] = [each for each in deciders if each.guard.decides]
        deciders.remove(owner)
        [heir] = deciders
        await owner.kill()
        await aproduce(kafka, pipeline.labels.topic, labels(rest))
        await until(lambda: registry.standing("tiny").champion == "2", alive=everybody_lives)
        last = registry.history("tiny")[-1]
        assert (last.action, last.automatic) == ("promote", True)
        assert f"{EVENTS} labelled events ({EVENTS // 2} positive)" in last.why
        # The heir knew what was counted: it read again what was scored, and no label.
        assert heir.keeper.read == len(rest)
        await until(lambda: bool(heir.told), alive=everybody_lives)
        assert heir.told[-1].served["champion"].version == "2"
        assert len(registry.history("tiny")) == 4
    finally:
        for each in deciders:
            await each.kill()


async def test_hours_that_an_owner_saw_are_known_to_the_next(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owning, "HOURS_EVERY_S", 0.05)
    pipeline = own_pipeline()
    await make_topics(kafka, pipeline, 1)
    store = memory_store()
    registry_with("1", store=store, now=True).promote("tiny", "1")
    first = Decider("first", Registry(store), pipeline, kafka)
    try:
        await until(lambda: first.guard.decides, alive=first.alive)
        one = evidence("1", NOON_MS, pipeline=pipeline.name, scores=(7, 8, 9))
        await aproduce(kafka, MODEL_EVIDENCE, [(b"k", encode_evidence(one), 0, ())])
        topic = guard_topic(pipeline)
        assert topic is not None

        async def is_written() -> bool:
            found = await read_latest(Connection(bootstrap=kafka), topic)
            return any(key.startswith(b"tiny/hours/") for key in found)

        await until(is_written, alive=first.alive)
    finally:
        await first.kill()
    second = Decider("second", Registry(store), pipeline, kafka)
    try:
        week_ms = 168 * 3_600_000

        def knows() -> bool:
            usual = second.guard.hours.usual_scores("1", NOON_MS + week_ms)
            return list(usual) == [7, 8, 9]

        await until(knows, alive=second.alive)
    finally:
        await second.kill()
