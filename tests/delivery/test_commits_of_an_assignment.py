"""At least once, what was done in an assignment is committed in its name, or never."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest
from aiokafka.errors import CommitFailedError

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.ledger import Ledger
from stream_infer.dataplane.lifecycle import Phase
from stream_infer.dataplane.offsets import StartPoint
from stream_infer.dataplane.transport import BatchConsumer
from stream_infer.settings.worker import WorkerSettings
from stream_infer.worker import Worker
from support.dataplane import record
from support.pipelines import own_pipeline
from support.worker import make_topics, serving, until

P0 = Partition("payments", 0)
AT_LEAST_ONCE = WorkerSettings(delivery="at_least_once")


class Group:
    """Takes commits, but for those that come while it is elsewhere."""

    def __init__(self) -> None:
        self.has_moved_on = False
        self.offsets: dict[Partition, int] = {}

    async def commit(self, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        if self.has_moved_on:
            raise CommitFailedError
        self.offsets |= {partition: offset for partition, (offset, _) in offsets.items()}


def ledger_of(group: Group) -> Ledger:
    ledger = Ledger(1_000_000, lambda _partition, _offset: None)
    ledger.commit_positions = group.commit
    return ledger


def begin(ledger: Ledger, offset: int) -> None:
    ledger.assign({P0: StartPoint(0, 0, offset, must_commit=False, end=offset)})


def do(ledger: Ledger, first: int, end: int) -> None:
    """Have the records of some offsets handed out, and their outputs acknowledged."""
    records = [record(offset) for offset in range(first, end)]
    for batch in ledger.open(P0, records, lambda: True):
        ledger.done(P0, batch.last + 1)


async def test_what_the_group_refused_is_not_committed_in_the_next_generation() -> None:
    """Another worker may have come further meanwhile: the offset of the group would go back."""
    group = Group()
    ledger = ledger_of(group)
    begin(ledger, 0)
    do(ledger, 0, 7)
    group.has_moved_on = True
    await ledger.commit()  # as the last thing of a revocation does
    ledger.revoked()
    group.has_moved_on, group.offsets[P0] = False, 90
    await ledger.commit()  # as each interval does, before the next assignment is opened
    assert group.offsets == {P0: 90}
    begin(ledger, 90)
    do(ledger, 90, 95)
    await ledger.commit()
    assert group.offsets == {P0: 95}


@pytest.mark.kafka
async def test_a_worker_that_is_another_member_by_now_commits_nothing_of_the_old_one(
    kafka: str,
) -> None:
    pipeline = own_pipeline()
    await make_topics(kafka, pipeline, partitions=1)
    source = Partition(pipeline.events.topic, 0)
    async with serving(kafka, pipeline, AT_LEAST_ONCE) as serves:
        await until(lambda: runs(serves.worker), alive=serves.alive)
        app = serves.worker.app
        assert app is not None
        consumer = cast("BatchConsumer", app.consumer)
        member = consumer.member
        assert member is not None
        await consumer.commit_positions({source: (0, "ours")})
        for other in (
            member._replace(generation_id=member.generation_id - 1),
            member._replace(generation_id=-1, member_id=""),
        ):
            consumer.member = other
            with pytest.raises(CommitFailedError):
                await consumer.commit_positions({source: (0, "not ours")})
        consumer.member = member
        [found] = (await consumer.committed([source])).values()
        assert found is not None
        assert found.metadata == "ours"


def runs(worker: Worker) -> bool:
    tasks = {} if worker.app is None else worker.app.plane.tasks
    return bool(tasks) and all(task.phase is Phase.RUNNING for task in tasks.values())
