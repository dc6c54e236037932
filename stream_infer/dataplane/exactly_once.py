"""The senders of an assignment that is worked on exactly once.

Each stage has one transactional producer in a worker. What its partitions write within a commit
interval is one transaction with the offsets that it comes from, so an input is done when that
transaction is committed, and whoever takes a partition over begins where the last one ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.outputs import Outputs, Replace
from stream_infer.dataplane.senders import Assigned, Sending
from stream_infer.dataplane.transaction_rules import AssignmentMovedOnError
from stream_infer.dataplane.transactions import TransactionSender

log = structlog.get_logger("stream_infer.sender")

COMMIT_SECONDS_MAX = 10.0
"""For the last commit of an assignment."""

MakeTransactionSender = Callable[[str, Assigned], TransactionSender]
"""Makes the sender of a stage, not yet started."""


class ExactlyOnceSenders:
    """Senders whose input is done when the transaction of its outputs is committed."""

    def __init__(self, assigned: Assigned, make: MakeTransactionSender) -> None:
        self._stages: dict[str, TransactionSender] = {}
        for partition, position in assigned.positions.items():
            sender = self._stages.get(partition.topic)
            if sender is None:
                name = assigned.names[partition.topic]
                sender = self._stages[partition.topic] = make(name, assigned)
            sender.own(partition, position)

    def of(self, partition: Partition) -> Sending:
        """Return the sender of an input partition."""
        return _PartitionSender(partition, self._stages[partition.topic])

    async def end(self, unanswered: Collection[Partition]) -> None:
        """Commit what is written and stop; give up the stages with something under way."""
        topics = {partition.topic for partition in unanswered}
        await asyncio.gather(
            *(_end(sender, topic in topics) for topic, sender in self._stages.items())
        )


class _PartitionSender:
    def __init__(self, partition: Partition, stage: TransactionSender) -> None:
        self._partition = partition
        self._stage = stage

    async def start(self) -> None:
        await self._stage.start()

    async def deliver(self, outputs: Outputs, until: int | None, replace: Replace) -> None:
        covers = None if until is None else (self._partition, until)
        await self._stage.deliver(outputs, covers, replace)

    def skip(self, until: int) -> bool:
        return False  # The offset moves with a transaction, like any other.


async def _end(sender: TransactionSender, is_unanswered: bool) -> None:  # noqa: FBT001 - of two kinds
    if is_unanswered:
        await sender.abandon()
        return
    try:
        async with asyncio.timeout(COMMIT_SECONDS_MAX):
            await sender.commit()
    except (AssignmentMovedOnError, TimeoutError) as error:
        # Not done here then: whoever owns the partitions next does it.
        log.warning("commit_given_up", stage=sender.name, cause=str(error))
    await sender.stop()
