"""Makes the senders of an assignment: with which producer, in whose name, how often they commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.exactly_once import ExactlyOnceSenders
from stream_infer.dataplane.sender import BATCH_BYTES_MAX, StageSender
from stream_infer.dataplane.senders import Assigned, AtLeastOnceSenders, Senders
from stream_infer.dataplane.transaction_rules import MARKERS_PER_S_MAX
from stream_infer.dataplane.transactions import TransactionSender
from stream_infer.kafka.bulk_producer import BulkProducer
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.transactions import GroupMember, GroupTransactionalProducer
from stream_infer.settings.worker import WorkerSettings


@dataclass(frozen=True, slots=True)
class SenderMaker:
    """Makes senders that write to Kafka, as the settings ask for.

    connection  where Kafka is
    group       consumer group of the worker
    instance    name of the worker, its own within the group
    settings    how the stages run
    partitions  topic -> number of partitions
    member      returns who this worker is in the group, as of the current assignment
    read_committed_offsets  reads what the group has committed now of some partitions
    """

    connection: Connection
    group: str
    instance: str
    settings: WorkerSettings
    partitions: Mapping[str, int]
    member: Callable[[], GroupMember]
    read_committed_offsets: Callable[[Collection[Partition]], Awaitable[dict[Partition, int]]]

    def make(self, assigned: Assigned) -> Senders:
        """Return the senders of an assignment; none is started."""
        if self.settings.delivery == "exactly_once":
            return ExactlyOnceSenders(assigned, self._transaction_sender)
        return AtLeastOnceSenders(
            assigned, lambda name: StageSender(name, self._producer, assigned.handing_on)
        )

    def _transaction_sender(self, name: str, assigned: Assigned) -> TransactionSender:
        member = self.member()
        return TransactionSender(
            name,
            partial(
                GroupTransactionalProducer,
                **self._producer_options(),
                # Not the partition's: whether this worker may commit, its membership of the
                # group says.
                transactional_id=f"{self.group}.{name}.{self.instance}",
                transaction_timeout_ms=self.settings.transaction_timeout_ms,
            ),
            member=lambda: member,
            metadata=assigned.metadata,
            committed=assigned.committed,
            read_committed_offsets=self.read_committed_offsets,
            interval_s=self.settings.commit_interval_s,
            is_drained=assigned.is_drained,
            markers_per_s_max=MARKERS_PER_S_MAX * share_of_commits(name, assigned, self.partitions),
        )

    def _producer(self) -> BulkProducer:
        return BulkProducer(**self._producer_options())

    def _producer_options(self) -> dict[str, Any]:
        options = self.connection.client_options()
        return {**options, "linger_ms": 0, "max_batch_size": BATCH_BYTES_MAX}


def share_of_commits(name: str, assigned: Assigned, partitions: Mapping[str, int]) -> float:
    """Return a stage's and this worker's share of what all of the group's workers may write.

    name        of the stage
    partitions  topic -> number of partitions

    Told by the partitions: whoever has a quarter of them is one of about four.
    """
    ours = [p for p in assigned.positions if assigned.names[p.topic] == name]
    total = sum(partitions[topic] for topic in {p.topic for p in ours})
    return len(ours) / total / len(assigned.names)
