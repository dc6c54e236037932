"""The senders of an assignment that is worked on exactly once.

Each stage has one transactional producer in a worker. What its partitions write within a commit
interval is one transaction with the offsets that it comes from, so an input is done when that
transaction is committed, and whoever takes a partition over begins where the last one ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

import structlog

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.outputs import Outputs, Replace
from stream_infer.dataplane.senders import Assigned, Sending
from stream_infer.dataplane.transaction_producer import ABORT_SECONDS_MAX
from stream_infer.dataplane.transaction_rules import AssignmentMovedOnError
from stream_infer.dataplane.transactions import STOP_SECONDS_MAX, TransactionSender
from stream_infer.observability.facts import TransactionFacts

log = structlog.get_logger("stream_infer.sender")

STOP_SECONDS = STOP_SECONDS_MAX + ABORT_SECONDS_MAX
"""Kept of the time for the end of an assignment: to stop, and to abort what is not committed."""

MakeTransactionSender = Callable[[str, Assigned], TransactionSender]
"""Makes the sender of a stage, not yet started."""


class ExactlyOnceSenders:
    """Senders whose input is done when the transaction of its outputs is committed."""

    def __init__(self, assigned: Assigned, make: MakeTransactionSender) -> None:
        self._stages: dict[str, TransactionSender] = {}
        self._acknowledged = assigned.acknowledged
        for partition, position in assigned.positions.items():
            sender = self._stages.get(partition.topic)
            if sender is None:
                name = assigned.names[partition.topic]
                sender = self._stages[partition.topic] = make(name, assigned)
            sender.own(partition, position)

    def of(self, partition: Partition) -> Sending:
        """Return the sender of an input partition."""
        return _PartitionSender(partition, self._stages[partition.topic], self._acknowledged)

    async def end(self, given_up: Collection[Partition], seconds_max: float) -> None:
        """Commit what is written and stop, within a time; abort the stages with something given up.

        What is not committed by then is aborted too, and done again by whoever owns it next.
        """
        topics = {partition.topic for partition in given_up}
        await asyncio.gather(
            *(_end(sender, topic in topics, seconds_max) for topic, sender in self._stages.items())
        )

    def facts(self) -> Sequence[TransactionFacts]:
        """Return how the transactions of each stage stand."""
        now_s = asyncio.get_running_loop().time()
        return [_facts_of(sender, now_s) for sender in self._stages.values()]


class _PartitionSender:
    def __init__(
        self,
        partition: Partition,
        stage: TransactionSender,
        acknowledged: Callable[[Partition, int], None],
    ) -> None:
        self._partition = partition
        self._stage = stage
        self._acknowledged = acknowledged

    async def start(self) -> None:
        await self._stage.start()

    async def deliver(self, outputs: Outputs, until: int | None, replace: Replace) -> None:
        covers = None if until is None else (self._partition, until)
        await self._stage.deliver(outputs, covers, replace)
        if until is not None:
            self._acknowledged(self._partition, until)

    def skip(self, until: int) -> bool:
        return False  # The offset moves with a transaction, like any other.


async def _end(
    sender: TransactionSender,
    is_given_up: bool,  # noqa: FBT001 - of two kinds
    seconds_max: float,
) -> None:
    if is_given_up:
        await sender.abandon()
        return
    try:
        async with asyncio.timeout(max(0.0, seconds_max - STOP_SECONDS)):
            await sender.commit()
    except (AssignmentMovedOnError, TimeoutError) as error:
        # Not done here then: whoever owns the partitions next does it.
        log.warning("commit_given_up", stage=sender.name, cause=str(error))
    await sender.stop()


def _facts_of(sender: TransactionSender, now_s: float) -> TransactionFacts:
    opened, committed = sender.open_since_s, sender.last_commit_s
    return TransactionFacts(
        stage=sender.name,
        transactional_id=sender.transactional_id,
        commits=sender.commits,
        aborts=sender.aborts,
        open_s=None if opened is None else now_s - opened,
        since_commit_s=None if committed is None else now_s - committed,
    )
