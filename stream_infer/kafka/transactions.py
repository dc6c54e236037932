"""A transactional producer whose commits the consumer group can refuse (KIP-447).

aiokafka fences a producer by its transactional id alone: it speaks TxnOffsetCommit v0, which does
not say which member of which generation commits. With one producer for many input partitions that
is not enough, since the partitions move and the producer stays. `GroupTransactionalProducer` sends
TxnOffsetCommit v3, so that the group's coordinator refuses what comes from a generation that is
over, and keeps the transaction such that it can be aborted then.

Three more things differ from aiokafka:

- a refused offset commit leaves the transaction open for `abort_transaction`. aiokafka ends the
  producer for good instead; and after its own "abortable" errors its abort forgets what is in the
  transaction and tells Kafka nothing, so that the next commit would publish the aborted records;
- what follows a commit at once is repeated after 3 ms while Kafka still writes the markers of that
  commit, not after 20 or 100;
- `drop` closes without waiting for answers that may never come.

Private names of aiokafka 0.14 (the version is pinned) that this module relies on:

    AIOKafkaProducer   ._sender ._txn_manager ._message_accumulator
    MessageAccumulator ._batches ._pending_batches, fail_all; MessageBatch._drain_waiter
    Sender             ._txn_manager ._find_coordinator ._coordinator_dead ._in_flight
                       ._maybe_do_transactional_request ._do_add_partitions_to_txn
                       ._do_add_offsets_to_txn ._do_txn_offset_commit
    handlers of it     ._sender ._default_backoff ._offsets ._group_id, create_request,
                       handle_response, handle_error
    TransactionManager ._pending_txn_offsets (group, offsets, future), ._txn_consumer_group,
                       txn_partitions, is_in_transaction, offset_committed
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiokafka import errors as kafka_errors
from aiokafka.client import CoordinationType
from aiokafka.producer import sender as client
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from stream_infer.kafka.bulk_producer import BulkProducer, BulkSender
from stream_infer.kafka.group_members import (
    CONCURRENT_TRANSACTIONS,
    NONE,
    GroupMember,
    GroupMovedOnError,
    reaction_to,
)
from stream_infer.kafka.transaction_requests import TxnOffsetCommit

__all__ = ["GroupMember", "GroupMovedOnError", "GroupTransactionalProducer"]

MARKERS_BACKOFF_S = 0.003
"""Between a commit and the next transaction, while Kafka writes the markers of the first."""

DROP_SECONDS_MAX = 1.0
"""For each of the two steps of dropping a producer; nothing depends on how they end."""


class GroupTransactionalProducer(BulkProducer):
    """A transactional producer that commits offsets as a member of a group.

    Takes what `BulkProducer` takes; `transactional_id` is required. Needs Kafka 2.5 or later.
    """

    def __init__(self, *, transactional_id: str, **options: Any) -> None:
        super().__init__(transactional_id=transactional_id, sender_type=_GroupSender, **options)
        self.transactional_id = transactional_id
        self._must_abort = False

    async def send_offsets(
        self, offsets: Mapping[TopicPartition, tuple[int, str]], member: GroupMember
    ) -> None:
        """Put offsets, each with its metadata, into the open transaction.

        A coordinator that has moved, loads or is busy is asked again, without an end: bound it.
        Raises GroupMovedOnError when the member's generation is over, another KafkaError when
        Kafka refuses otherwise; either way the transaction can only be aborted. ProducerFenced
        and its like, after which this producer is of no use.
        """
        if not member.is_joined:
            # Kafka lets a commit without a generation pass, as one of a client that knows none.
            self._must_abort = True
            raise GroupMovedOnError(member, "this process is no member of it now")
        self._sender.member = member
        try:
            await self.send_offsets_to_transaction(
                {TopicPartition(*tp): OffsetAndMetadata(*found) for tp, found in offsets.items()},
                member.group_id,
            )
        except BaseException:
            self._must_abort = True
            # Who gives up waiting leaves the answer to nobody, and an error may still come.
            for _, _, answer in self._txn_manager._pending_txn_offsets:
                answer.add_done_callback(_look_at)
            raise

    async def begin_transaction(self) -> None:
        """Begin a transaction; Kafka hears of it with the first record or offset."""
        self._check_alive()
        self._must_abort = False
        await super().begin_transaction()

    async def commit_transaction(self) -> None:
        """Commit. Look at every answer to what was sent before: the client does not.

        After any error but IllegalOperation it is not known whether it was committed.
        """
        if self._must_abort:
            raise kafka_errors.IllegalOperation("The offsets are not in: abort the transaction.")
        self._check_alive()
        await super().commit_transaction()

    async def abort_transaction(self) -> None:
        """Abort, also after `send_offsets` was refused."""
        self._check_alive()
        await super().abort_transaction()

    def _check_alive(self) -> None:
        # aiokafka asserts where it could say so.
        if self._txn_manager.is_fatal_error():
            raise kafka_errors.IllegalOperation("This producer has ended: start another.")

    async def drop(self) -> None:
        """Close without ending the transaction, waiting for no answer. Safe to repeat.

        What is open is aborted by the start of the next producer of the same id, or by Kafka
        when the transaction time-out is over.
        """
        with suppress(kafka_errors.KafkaError, TimeoutError):
            # An idempotent producer repeats a batch for as long as it lives, and `stop` waits for
            # that, so what sends is closed first.
            await asyncio.wait_for(self._sender.close(), DROP_SECONDS_MAX)
        # `stop` leaves a task behind that waits for the answers.
        _fail_batches(self._message_accumulator, kafka_errors.ProducerClosed())
        with suppress(kafka_errors.KafkaError, TimeoutError):
            await asyncio.wait_for(self.stop(), DROP_SECONDS_MAX)
        waiter = self._txn_manager.wait_for_transaction_end()
        if waiter is not None and waiter.done() and not waiter.cancelled():
            waiter.exception()  # else the loop complains that nobody looked at it


class _GroupSender(BulkSender):
    """The part of the producer that talks to coordinators.

    member  in whose name offsets are committed, set before they are
    """

    member: GroupMember | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_flight: _NoNodes = _NoNodes()

    def _fail_all(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _fail_batches(self._message_accumulator, error)
            self._txn_manager.fatal_error(error)

    def _maybe_do_transactional_request(self) -> asyncio.Task[Any] | None:
        task: asyncio.Task[Any] | None = super()._maybe_do_transactional_request()
        manager = self._txn_manager
        if (
            task is not None
            or self.member is None
            or not manager.is_in_transaction()
            or not manager.txn_partitions
            or manager._txn_consumer_group is not None
        ):
            return task
        # The group is made part of the transaction while its records are on their way, so that a
        # commit, during which nothing may be sent, takes two round trips and not three.
        return asyncio.create_task(self._do_add_offsets_to_txn(self.member.group_id))

    async def _do_add_partitions_to_txn(self, tps: Any) -> Any:
        node = await self._find_coordinator(
            CoordinationType.TRANSACTION, self._txn_manager.transactional_id
        )
        return await _AddPartitions(self, tps).do(node)

    async def _do_add_offsets_to_txn(self, group_id: str) -> Any:
        node = await self._find_coordinator(
            CoordinationType.TRANSACTION, self._txn_manager.transactional_id
        )
        return await _AddOffsets(self, group_id).do(node)

    async def _do_txn_offset_commit(self, offsets: Any, group_id: str) -> None:
        if not offsets:
            return
        try:
            node = await self._find_coordinator(CoordinationType.GROUP, group_id)
        except kafka_errors.GroupAuthorizationFailedError as error:
            _refuse_offsets(self._txn_manager, error)
            return
        await _CommitOffsets(self, offsets, group_id).do(node)


class _NoNodes(set[int]):
    """The nodes that get no further request until they have answered: none.

    aiokafka has one produce request under way to a node, and what comes meanwhile waits for its
    answer. Each partition still has one batch under way at a time, which is what keeps the order.
    """

    def add(self, _node: int) -> None:
        """Hold nothing back."""

    def remove(self, _node: int) -> None:
        """Hold nothing back."""


class _AddPartitions(client.AddPartitionsToTxnHandler):  # type: ignore[misc] # as above
    def handle_response(self, response: Any) -> float | None:
        backoff_s: float | None = super().handle_response(response)
        return MARKERS_BACKOFF_S if backoff_s == client.BACKOFF_OVERRIDE else backoff_s


class _AddOffsets(client.AddOffsetsToTxnHandler):  # type: ignore[misc] # as above
    def handle_response(self, response: Any) -> float | None:
        if response.error_code == CONCURRENT_TRANSACTIONS:
            return MARKERS_BACKOFF_S
        if kafka_errors.for_code(response.error_code) is kafka_errors.GroupAuthorizationFailedError:
            _refuse_offsets(
                self._sender._txn_manager,
                kafka_errors.GroupAuthorizationFailedError(self._group_id),
            )
            return None
        backoff_s: float | None = super().handle_response(response)
        return backoff_s


class _CommitOffsets(client.TxnOffsetCommitHandler):  # type: ignore[misc] # as above
    def create_request(self) -> TxnOffsetCommit:
        manager = self._sender._txn_manager
        by_topic: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for tp, found in sorted(self._offsets.items()):
            by_topic[tp.topic].append((tp.partition, found.offset, -1, found.metadata, {}))
        member: GroupMember = self._sender.member
        return TxnOffsetCommit(
            transactional_id=manager.transactional_id,
            group_id=self._group_id,
            producer_id=manager.producer_id,
            producer_epoch=manager.producer_epoch,
            generation_id=member.generation_id,
            member_id=member.member_id,
            group_instance_id=member.instance_id,
            topics=[(topic, partitions, {}) for topic, partitions in by_topic.items()],
            tags={},
        )

    def handle_response(self, response: Any) -> float | None:
        manager = self._sender._txn_manager
        answers = {
            TopicPartition(topic, partition): code
            for topic, partitions, _ in response.errors
            for partition, code, _ in partitions
        }
        reaction = reaction_to(set(answers.values()), self._sender.member)
        if reaction.fatal is not None:
            raise reaction.fatal
        if reaction.refusal is not None:
            _refuse_offsets(manager, reaction.refusal)
            return None
        if reaction.is_coordinator_dead:
            self._sender._coordinator_dead(CoordinationType.GROUP)
        for tp, code in answers.items():
            if code == NONE:
                manager.offset_committed(tp, self._offsets[tp].offset, self._group_id)
        backoff_s: float = self._default_backoff
        return backoff_s if reaction.again else None


def _refuse_offsets(manager: Any, error: Exception) -> None:
    """Fail what waits for its offsets, and leave the transaction as it is for the abort."""
    while manager._pending_txn_offsets:
        _, _, waiting = manager._pending_txn_offsets.popleft()
        if not waiting.done():
            waiting.set_exception(error)


def _look_at(answer: asyncio.Future[None]) -> None:
    """Look at an answer that nobody waits for, of which the loop would complain otherwise."""
    if not answer.cancelled():
        answer.exception()


def _leave_out(_batch: Any) -> None:
    """Send nothing again: nothing more is sent."""


def _fail_batches(accumulator: Any, error: BaseException) -> None:
    """Fail what waits to be sent, and look at those answers that nobody else will look at.

    The client has one beside each batch's own, for a batch that was full; the event loop would
    log each as never retrieved.
    """
    # One that was sent before and waits to be sent again is not among those on their way, where
    # the client looks for it as soon as it has an answer.
    for batches in accumulator._batches.values():
        accumulator._pending_batches.update(batches)
    waiting = list(accumulator._pending_batches)
    accumulator.fail_all(error)
    # A request whose answer was "again" may be waiting to put its batches back: they have failed.
    accumulator.reenqueue = _leave_out
    for batch in waiting:
        if batch._drain_waiter.done() and not batch._drain_waiter.cancelled():
            batch._drain_waiter.exception()
