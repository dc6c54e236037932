from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stream_infer.kafka import sending
from stream_infer.kafka.sending import BATCHES_IN_FLIGHT_MAX, TopicSender


class FullBatch:
    """Takes one record and is then full."""

    def __init__(self) -> None:
        self.records = 0

    def append(self, **_record: object) -> object | None:
        self.records += 1
        return None if self.records > 1 else object()

    def close(self) -> None:
        pass


class SilentProducer:
    """Takes batches, and answers those whose number is below `answered`, the others never."""

    def __init__(self, answered: int = 0) -> None:
        self.answered = answered
        self.taken: list[asyncio.Future[Any]] = []
        self.sending_stopped = False
        self._sender = self

    def create_batch(self) -> FullBatch:
        return FullBatch()

    async def send_batch(self, _batch: Any, _topic: str, *, partition: int) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if len(self.taken) < self.answered:
            future.set_result(partition)
        self.taken.append(future)
        return future

    async def close(self) -> None:
        self.sending_stopped = True


async def test_a_batch_without_an_answer_ends_the_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "ANSWER_S_MAX", 0.01)
    producer = SilentProducer(answered=1)
    sender = TopicSender(producer, "t", 1)
    await sender.send(["a", "b", "c"], [b"1", b"2", b"3"])
    with pytest.raises(TimeoutError):
        await sender.flush()
    assert not producer.taken[1].cancelled(), "the client may still repeat what it holds"
    await sender.abandon()
    assert producer.sending_stopped
    assert [future.cancelled() for future in producer.taken] == [False, True, True]


async def test_no_more_batches_are_handed_over_than_may_be_unanswered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "ANSWER_S_MAX", 0.01)
    producer = SilentProducer()
    sender = TopicSender(producer, "t", 1)
    many = 3 * BATCHES_IN_FLIGHT_MAX
    with pytest.raises(TimeoutError):
        await sender.send(["a"] * many, [b"x"] * many)
    assert len(producer.taken) == BATCHES_IN_FLIGHT_MAX + 1
    await sender.abandon()
