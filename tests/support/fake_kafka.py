"""A Kafka of a few lists, with faults named by what they do, for tests of what sends to it.

It checks what an idempotent producer may not do: after a batch of a partition failed, the
same producer must not write a later one there, since its sequence numbers have a hole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal

from aiokafka import errors as kafka_errors

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.outputs import Outputs, Writes

Fault = Literal["not sent", "not answered", "lost", "timed out", "refused", "no leader"]
FAULTS: tuple[Fault, ...] = (
    "not sent",  # the client raises at once
    "not answered",  # written, and the answer got lost
    "lost",  # neither written nor answered
    "timed out",
    "no leader",
    "refused",  # this very batch is refused, whatever is in it
)
_ERRORS: dict[Fault, type[Exception]] = {
    "not sent": kafka_errors.KafkaConnectionError,
    "not answered": kafka_errors.RequestTimedOutError,
    "lost": kafka_errors.KafkaConnectionError,
    "timed out": kafka_errors.KafkaTimeoutError,
    "no leader": kafka_errors.NotLeaderForPartitionError,
    "refused": kafka_errors.MessageSizeTooLargeError,
}


@dataclass
class FakeKafka:
    """Logs by partition, and the faults that are still to happen.

    faults         number of a call of `send_batch`, counted from 0 -> what happens then
    refuses        values that no batch may hold
    start_faults   how many starts of a producer fail
    """

    logs: dict[Partition, list[bytes | None]] = field(default_factory=dict)
    faults: dict[int, Fault] = field(default_factory=dict)
    refuses: frozenset[bytes] = frozenset()
    start_faults: int = 0
    sends: int = 0
    running: int = 0

    def producer(self) -> Any:
        return FakeProducer(self)

    def write(self, destination: Partition, values: Sequence[bytes | None]) -> None:
        self.logs.setdefault(destination, []).extend(values)


class FakeBatch:
    """Three records are a full batch; appended to as the client's compiled builder is."""

    def __init__(self) -> None:
        self.values: list[bytes | None] = []
        self._builder = self

    def append(
        self, offset: int, timestamp: int, key: Any, value: bytes | None, headers: Any
    ) -> Any:
        if len(self.values) == 3:
            return None
        assert offset == len(self.values)
        self.values.append(value)
        return True


class FakeProducer:
    def __init__(self, kafka: FakeKafka) -> None:
        self._kafka = kafka
        self._holes: set[Partition] = set()
        self._started = False
        self._sender = SimpleNamespace(close=self._close)

    async def start(self) -> None:
        if self._kafka.start_faults:
            self._kafka.start_faults -= 1
            raise kafka_errors.KafkaConnectionError
        self._started = True
        self._kafka.running += 1

    async def stop(self) -> None:
        self._kafka.running -= self._started
        self._started = False

    async def _close(self) -> None:
        await asyncio.sleep(0)

    def create_batch(self) -> FakeBatch:
        return FakeBatch()

    async def send_batch(
        self, batch: FakeBatch, topic: str, *, partition: int
    ) -> asyncio.Future[None]:
        assert self._started
        destination = Partition(topic, partition)
        assert destination not in self._holes, f"sequence numbers of {destination} have a hole"
        fault = self._kafka.faults.pop(self._kafka.sends, None)
        self._kafka.sends += 1
        if self._kafka.refuses.intersection(batch.values):
            fault = "refused"
        if fault in (None, "not answered"):
            self._kafka.write(destination, batch.values)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if fault is None:
            answer.set_result(None)
            return answer
        self._holes.add(destination)
        if fault == "not sent":
            raise _ERRORS[fault]
        answer.set_exception(_ERRORS[fault]())
        return answer


def outputs_of(values: Mapping[Partition, Sequence[bytes]]) -> Outputs:
    """Return outputs with these values; row i of the input is the i-th of each destination."""
    outputs = Outputs()
    for destination, each in values.items():
        for row, value in enumerate(each):
            outputs.add(destination, None, value, [], row)
    return outputs


class FakeSender:
    """Stands in for a `StageSender`: keeps what it is given, and answers when it is told to.

    answers  set: every delivery is acknowledged at once
    refuses  tells whether a record is refused: (topic, value) -> bool
    fails    raised by the next delivery
    """

    def __init__(self) -> None:
        self.delivered: list[tuple[Partition, bytes | None]] = []
        self.headers: list[dict[str, bytes | None]] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.refuses: Callable[[str, bytes | None], bool] = lambda _topic, _value: False
        self.fails: Exception | None = None
        self.under_way = 0
        self.calls = 0
        self.stopped = False

    async def start(self) -> None:
        self.stopped = False

    async def stop(self) -> None:
        self.stopped = True

    async def abandon(self) -> None:
        self.stopped = True

    async def deliver(self, outputs: Outputs) -> list[tuple[Partition, Writes, str]]:
        assert not self.stopped
        assert self.under_way == 0, "outputs were sent while those before them had no answer"
        self.under_way += 1
        self.calls += 1
        try:
            await self.answers.wait()
        finally:
            self.under_way -= 1
        if self.fails is not None:
            raise self.fails
        refused = []
        for destination, writes in outputs.items():
            for at, value in enumerate(writes.values):
                if self.refuses(destination.topic, value):
                    refused.append((destination, writes.slice(at, at + 1), "TooLarge"))
                else:
                    self.delivered.append((destination, value))
                    self.headers.append(dict(writes.headers[at]))
        return refused

    def topics(self) -> list[str]:
        """Return the topic of each record that was written."""
        return [destination.topic for destination, _ in self.delivered]
