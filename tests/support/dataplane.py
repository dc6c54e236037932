"""The fraud pipeline's first stage on fakes: no Kafka, no clock, every answer under control."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.build import Parts, build_stages
from stream_infer.dataplane.plane import DataPlane
from stream_infer.dataplane.senders import Assigned, AtLeastOnceSenders
from stream_infer.dataplane.stage import FeatureStage, Stage
from stream_infer.dataplane.surroundings import Surroundings
from stream_infer.features.plan import compile_plan
from stream_infer.kafka.topics import pipeline_topics
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.settings.worker import WorkerSettings
from support.bad import payment
from support.fake_kafka import FakeSender
from support.load import START_MS

PIPELINE = dataclasses.replace(fraud, model=None)
SETTINGS = WorkerSettings(partitioning="trusted")
SOURCE = Partition(PIPELINE.events.topic, 0)
NEXT = f"{PIPELINE.name}.by-terminal"


def stages() -> list[Stage]:
    """Return the stages of the fraud pipeline, without a model, one partition a topic."""
    partitions = {spec.name: 1 for spec in pipeline_topics(PIPELINE)}
    return build_stages(
        Parts(compile_plan(PIPELINE.with_partitioning("trusted")), None, partitions, SETTINGS)
    )


def feature_stages() -> list[FeatureStage]:
    """Return those that compute features or hand rows on."""
    return [stage for stage in stages() if isinstance(stage, FeatureStage)]


def customer_stage() -> FeatureStage:
    """Return the stage that reads the input and feeds the internal topic."""
    return next(stage for stage in feature_stages() if stage.topic == SOURCE.topic)


def record(offset: int, value: bytes | None = None, **fields: Any) -> Any:
    """Return a record as a client would have fetched it; one payment a minute."""
    time = START_MS + 60_000 * offset
    made = payment(**({"transaction_id": f"t{offset}", "event_time": time} | fields))
    return SimpleNamespace(
        offset=offset,
        timestamp=time,
        timestamp_type=0,
        key=b"c0",
        value=made if value is None else value,
        headers=(),
    )


class FakeLog:
    """The log of the source: what a silent replay reads."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.replayed: list[tuple[int, int]] = []

    async def replay(
        self, source: Partition, start: int, end: int, on_batch: Callable[[RecordBatch], None]
    ) -> None:
        self.replayed.append((start, end))
        for at in range(start, end, 3):
            on_batch(RecordBatch(source, [record(o) for o in range(at, min(at + 3, end))]))
            await asyncio.sleep(0)


class Around:
    """What a task needs from outside."""

    def __init__(self, log: FakeLog | None = None) -> None:
        self.log = log or FakeLog(0)
        self.surroundings = Surroundings(
            replay=self.log.replay,
            on_progress=lambda: None,
            wait_progress=lambda: asyncio.sleep(0),
            seconds=lambda: 0.0,
            lived=lambda: 0.0,
            has_unread=lambda _source, _position: False,
            is_restoring=lambda: False,
        )


def assigned(
    positions: Mapping[Partition, int], done: Callable[[Partition, int], None]
) -> Assigned:
    """Return what senders need to know of partitions that start at these positions."""
    return Assigned(
        positions=positions,
        names=dict.fromkeys((partition.topic for partition in positions), "stage"),
        metadata=lambda _partition: "",
        done=done,
        acknowledged=lambda _partition, _offset: None,
        committed=lambda _offsets: None,
    )


def senders_on(about: Assigned, sender: FakeSender) -> AtLeastOnceSenders:
    """Return senders that all write by one."""
    make: Any = lambda _name: sender  # noqa: E731 - stands in for a sender of another class
    return AtLeastOnceSenders(about, make)


class PlaneOnFakes:
    """A data plane with one assigned partition at a time, and what it committed."""

    def __init__(self, log: FakeLog) -> None:
        self.log = log
        self.sender = FakeSender()
        self.failures: list[BaseException] = []
        self.committed = 0
        self.refuse_commits: Exception | None = None
        self.plane = DataPlane(
            SETTINGS,
            replay=log.replay,
            make_senders=lambda assigned: senders_on(assigned, self.sender),
            on_failure=self._failed,
        )
        self.plane.open_stages([customer_stage()])
        self.plane.ledger.commit_positions = self._commit

    async def _failed(self, error: BaseException) -> None:
        self.failures.append(error)

    async def _commit(self, offsets: Any) -> None:
        if self.refuse_commits is not None:
            raise self.refuse_commits
        self.committed = offsets[SOURCE][0]
