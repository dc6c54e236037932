"""A Kafka of a few lists with transactions, a group's offsets, and faults at each call.

What is written belongs to a transaction, and readers of committed records see it when that was
committed. As with the real one: a commit does not look at batches that failed; whoever starts a
producer of an id settles what the one before left open, and fences it; a group takes offsets only
from its present generation.

Calls are numbered from 0 in the order in which they are made. `faults` says what happens to which:
the number picks one of the faults that a call of its kind knows, or none if it knows fewer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiokafka import errors as kafka_errors

from stream_infer.dataplane.batch import Partition
from stream_infer.kafka.transactions import GroupMember, GroupMovedOnError
from support.fake_kafka import FakeBatch

Kind = Literal["start", "begin", "send", "offsets", "commit", "abort", "read"]

FAULTS: dict[Kind, tuple[str, ...]] = {
    "start": ("lost",),
    "begin": ("lost",),
    "send": ("lost", "not answered", "not sent", "refused", "fenced", "no leader"),
    # silent: nobody ever answers
    "offsets": ("lost", "not answered", "silent", "fenced"),
    # late: on its way while the next producer of the id starts, and in time
    "commit": ("lost", "not answered", "late", "fenced", "silent", "not answered, silent"),
    "abort": ("lost", "silent"),
    "read": ("lost",),
}
FAULTS_MOST = max(map(len, FAULTS.values()))

_ERRORS: dict[str, type[Exception]] = {
    "lost": kafka_errors.KafkaConnectionError,
    "not sent": kafka_errors.KafkaConnectionError,
    "not answered": kafka_errors.RequestTimedOutError,
    "late": kafka_errors.RequestTimedOutError,
    "refused": kafka_errors.MessageSizeTooLargeError,
    "fenced": kafka_errors.ProducerFenced,
    "no leader": kafka_errors.NotLeaderForPartitionError,
}


_FENCED: type[Exception] = kafka_errors.ProducerFenced
_OUT_OF_ORDER: type[Exception] = kafka_errors.OutOfOrderSequenceNumber


@dataclass(eq=False)
class Transaction:
    """What one producer wrote between two ends.

    commits_late  a commit of it is on its way
    """

    state: Literal["open", "committed", "aborted"] = "open"
    records: list[tuple[Partition, bytes | None]] = field(default_factory=list)
    offsets: dict[Partition, tuple[int, str]] = field(default_factory=dict)
    commits_late: bool = False


@dataclass
class FakeTransactionalKafka:
    """Transactions by id, a group, and the faults that are still to happen.

    refuses     tells whether a batch may not hold a value: (destination, value) -> bool
    most        records that a destination takes in one batch
    on_settled  called after each transaction that was committed
    held        answers to batches that are kept back, None while none is
    """

    faults: dict[int, int] = field(default_factory=dict)
    refuses: Callable[[Partition, bytes | None], bool] = lambda _destination, _value: False
    most: dict[Partition, int] = field(default_factory=dict)
    on_settled: Callable[[], None] = lambda: None
    generation: int = 1
    visible: dict[Partition, list[bytes | None]] = field(default_factory=dict)
    offsets: dict[Partition, tuple[int, str]] = field(default_factory=dict)
    calls: list[Kind] = field(default_factory=list)
    happened: list[tuple[Kind, str]] = field(default_factory=list)
    epoch: int = 0
    open: Transaction | None = None
    held: list[tuple[asyncio.Future[None], Exception | None]] | None = None
    running: int = 0

    def member(self) -> GroupMember:
        return GroupMember("group", self.generation, "member")

    def producer(self) -> Any:
        return FakeTransactionalProducer(self)

    async def read_committed_offsets(
        self, partitions: Collection[Partition]
    ) -> Mapping[Partition, int]:
        if self.call("read"):
            raise kafka_errors.KafkaConnectionError
        assert self.open is None or not self.open.offsets, "read while an offset is not stable"
        return {p: self.offsets[p][0] for p in partitions if p in self.offsets}

    def release(self) -> None:
        """Give the answers that were kept back, and keep back no more."""
        held, self.held = self.held or [], None
        for answer, error in held:
            _answer(answer, error)

    def call(self, kind: Kind) -> str | None:
        """Count a call; return the fault that happens to it."""
        picked = self.faults.pop(len(self.calls), FAULTS_MOST)
        self.calls.append(kind)
        fault = FAULTS[kind][picked] if picked < len(FAULTS[kind]) else None
        if fault is not None:
            self.happened.append((kind, fault))
        return fault

    def end(self, transaction: Transaction, *, is_commit: bool) -> None:
        assert transaction.state == "open"
        transaction.state = "committed" if is_commit else "aborted"
        self.open = None
        if is_commit:
            for destination, value in transaction.records:
                self.visible.setdefault(destination, []).append(value)
            self.offsets |= transaction.offsets
            self.on_settled()

    def fence(self) -> None:
        """Do what the start of a producer of the id does to the one before."""
        self.epoch += 1
        if self.open is not None:
            self.end(self.open, is_commit=self.open.commits_late)


class FakeTransactionalProducer:
    """A producer of the one id that there is."""

    transactional_id = "group.stage.0"

    def __init__(self, kafka: FakeTransactionalKafka) -> None:
        self._kafka = kafka
        self._epoch = -1
        self._holes: set[Partition] = set()
        self._transaction: Transaction | None = None
        self._is_committing = False

    async def start(self) -> None:
        if self._kafka.call("start"):
            raise kafka_errors.KafkaConnectionError
        self._kafka.fence()
        self._epoch = self._kafka.epoch
        self._kafka.running += 1

    async def drop(self) -> None:
        self._kafka.running -= self._epoch >= 0
        self._epoch = -1

    async def begin_transaction(self) -> None:
        assert self._transaction is None
        await self._meet(self._kafka.call("begin"))
        self._check_fenced()
        self._transaction = self._kafka.open = Transaction()

    def create_batch(self) -> FakeBatch:
        return FakeBatch()

    async def send_batch(
        self, batch: FakeBatch, topic: str, *, partition: int
    ) -> asyncio.Future[None]:
        transaction = self._transaction
        if transaction is None or transaction.state != "open":
            raise kafka_errors.IllegalOperation
        destination = Partition(topic, partition)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        error = self._write(transaction, destination, batch.values, self._kafka.call("send"))
        if isinstance(error, kafka_errors.KafkaConnectionError) and error.args:
            raise error
        if error is not None:
            self._holes.add(destination)
        if self._kafka.held is not None:
            self._kafka.held.append((answer, error))
        else:
            asyncio.get_running_loop().call_soon(_answer, answer, error)
        return answer

    def _write(
        self,
        transaction: Transaction,
        destination: Partition,
        values: list[bytes | None],
        fault: str | None,
    ) -> Exception | None:
        kafka = self._kafka
        if fault == "fenced":
            kafka.fence()
        if self._epoch != kafka.epoch:
            return _FENCED()
        if destination in self._holes:
            return _OUT_OF_ORDER()
        if any(kafka.refuses(destination, value) for value in values):
            fault = "refused"
        if len(values) > kafka.most.get(destination, len(values)):
            fault = "refused"
        if fault in (None, "not answered"):
            transaction.records += [(destination, value) for value in values]
        if fault is None:
            return None
        return _ERRORS[fault](*(["not sent"] if fault == "not sent" else []))

    async def send_offsets(
        self, offsets: Mapping[Any, tuple[int, str]], member: GroupMember
    ) -> None:
        transaction = self._open()
        if member.generation_id != self._kafka.generation:
            raise GroupMovedOnError(member, "ILLEGAL_GENERATION")
        fault = self._kafka.call("offsets")
        if fault in (None, "not answered"):
            self._check_fenced()
            transaction.offsets = {Partition(*tp): found for tp, found in offsets.items()}
        await self._meet(fault)

    async def commit_transaction(self) -> None:
        transaction, self._transaction = self._open(), None
        self._is_committing = True
        fault = self._kafka.call("commit")
        if fault is None or fault.startswith("not answered"):
            self._check_fenced()
            self._kafka.end(transaction, is_commit=True)
        transaction.commits_late = fault == "late"
        await self._meet(fault)
        self._is_committing = False

    async def abort_transaction(self) -> None:
        assert not self._is_committing
        transaction, self._transaction = self._open(), None
        fault = self._kafka.call("abort")
        if fault is None:
            self._check_fenced()
            self._kafka.end(transaction, is_commit=False)
        await self._meet(fault)

    def _open(self) -> Transaction:
        self._check_fenced()
        if self._transaction is None or self._transaction.state != "open":
            raise kafka_errors.IllegalOperation
        return self._transaction

    def _check_fenced(self) -> None:
        if self._epoch != self._kafka.epoch:
            raise kafka_errors.ProducerFenced

    async def _meet(self, fault: str | None) -> None:
        await asyncio.sleep(0)
        if fault is None:
            return
        if fault.endswith("silent"):
            await asyncio.Event().wait()
        if fault == "fenced":
            self._kafka.fence()
        raise _ERRORS[fault]


def _answer(answer: asyncio.Future[None], error: Exception | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(None)
    else:
        answer.set_exception(error)
