"""Commits a transaction with the input that it covers, and finds out what became of it.

`Commits` owns what the group has of each input partition of this assignment. That changes when a
commit is known to have taken place, and not otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

import structlog
from aiokafka import TopicPartition

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.transaction_producer import CurrentProducer
from stream_infer.dataplane.transaction_rules import (
    FAILED,
    AssignmentMovedOnError,
    Outcome,
    outcome_of,
)
from stream_infer.dataplane.transaction_waves import Delivery
from stream_infer.errors import BrokerError
from stream_infer.kafka.transactions import GroupMember, GroupMovedOnError

log = structlog.get_logger("stream_infer.sender")

COMMIT_SECONDS_MAX = 10.0
"""For each of the two requests of a commit. The client has no bound of its own."""

ReadCommittedOffsets = Callable[[Collection[Partition]], Awaitable[Mapping[Partition, int]]]
"""Reads the group's offsets once no transaction can change them; none for a partition without."""


class Commits:
    """The committed input of one assignment of a stage.

    name      of the stage, for logs
    producer  whose transactions are committed
    member    the group's member that this process is now
    metadata  stored with each commit of a partition
    read      reads what is committed
    """

    def __init__(
        self,
        name: str,
        producer: CurrentProducer,
        member: Callable[[], GroupMember],
        metadata: Callable[[Partition], str],
        read: ReadCommittedOffsets,
    ) -> None:
        self.positions: dict[Partition, int] = {}
        self._name = name
        self._producer = producer
        self._member = member
        self._metadata = metadata
        self._read = read
        self._joined: GroupMember | None = None

    def own(self, source: Partition, position: int) -> None:
        """Take on a partition; `position` is what is committed of it."""
        if self._joined is None:
            self._joined = self._member()
        self.positions[source] = position

    async def commit(self, deliveries: Collection[Delivery]) -> dict[Partition, int]:
        """Commit the open transaction, which holds these deliveries; return the offsets they cover.

        Raises one of FAILED when nothing was committed, AssignmentMovedOnError when nothing more
        ever will be.
        """
        # Of each partition the last one counts: its deliveries are in order.
        covered = dict(each.covers for each in deliveries if each.covers is not None)
        # Never nothing: it is by its offsets that the group can refuse a transaction.
        offsets = covered or dict([min(self.positions.items())])
        await self._send_offsets(offsets)
        try:
            async with asyncio.timeout(COMMIT_SECONDS_MAX):
                await self._producer.commit()
        except FAILED as error:
            if not await self._was_committed(offsets, error):
                raise
        self.positions |= covered
        return covered

    async def _send_offsets(self, offsets: Mapping[Partition, int]) -> None:
        member = self._member()
        if member != self._joined:
            # Its new generation may commit, but not what was made in the old one.
            await self._move_on("this process has joined it anew since.")
        producer = await self._producer.in_transaction()
        try:
            async with asyncio.timeout(COMMIT_SECONDS_MAX):
                await producer.send_offsets(
                    {
                        TopicPartition(*source): (offset, self._metadata(source))
                        for source, offset in offsets.items()
                    },
                    member,
                )
        except GroupMovedOnError as error:
            await self._move_on(error.message)

    async def _move_on(self, cause: str) -> None:
        # Not left to the time-out: readers of committed records wait for it.
        await self._producer.abort()
        raise AssignmentMovedOnError(self._name, cause)

    async def _was_committed(self, meant: Mapping[Partition, int], cause: BaseException) -> bool:
        """Find out what became of a commit that was not answered; True if it took place."""
        log.warning("commit_not_answered", stage=self._name, cause=str(cause))
        await self._producer.drop()
        await self._producer.started()  # Kafka has settled the transaction before it answers
        before = {source: self.positions[source] for source in meant}
        outcome = outcome_of(before, meant, await self._read_until_known(meant.keys()))
        log.warning("commit_settled", stage=self._name, outcome=outcome.value)
        if outcome is Outcome.MOVED_ON:
            raise AssignmentMovedOnError(self._name, "others have committed its partitions.")
        return outcome is Outcome.COMMITTED

    async def _read_until_known(self, sources: Collection[Partition]) -> Mapping[Partition, int]:
        while True:
            try:
                return await self._read(sources)
            except (*FAILED, BrokerError) as error:
                log.warning("commit_not_settled", stage=self._name, cause=str(error))
                await self._producer.back_off()
