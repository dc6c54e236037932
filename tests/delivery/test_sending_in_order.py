"""Whatever happens to a batch, a partition's outputs arrive in order and none is missing."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import errors as kafka_errors

from stream_infer.dataplane import sender as sending
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.outputs import Writes
from stream_infer.dataplane.sender import PartitionSender
from stream_infer.errors import BrokerError
from support import fake_kafka
from support.fake_kafka import FAULTS, FakeKafka, Fault, outputs_of

SOURCE = Partition("in", 0)
LONG, SHORT = Partition("by-terminal", 2), Partition("dead-letters", 0)
VALUES = {LONG: [f"{i:02d}".encode() for i in range(10)], SHORT: [b"00", b"01", b"02", b"03"]}
SENDS = 6
"""Calls of `send_batch` without a fault: three records a batch, so 4 and 2."""


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "RETRY_SECONDS", 0)


def as_folded(log: list[bytes | None]) -> list[bytes]:
    """Return what a stage downstream folds: nothing that is not above the highest it has seen."""
    folded: list[bytes] = []
    for value in log:
        if value is not None and (not folded or value > folded[-1]):
            folded.append(value)
    return folded


def given_back(
    refused: list[tuple[Partition, Writes, str]],
) -> set[tuple[Partition, bytes | None]]:
    assert all(len(writes) == 1 for _, writes, _ in refused)
    return {(destination, writes.values[0]) for destination, writes, _ in refused}


async def test_without_a_fault_everything_is_written_once_in_order() -> None:
    kafka = FakeKafka()
    sender = PartitionSender(SOURCE, kafka.producer)
    assert await sender.deliver(outputs_of(VALUES)) == []
    await sender.stop()
    assert kafka.logs == VALUES
    assert (kafka.sends, kafka.running) == (SENDS, 0)


@pytest.mark.parametrize("at", range(SENDS))
@pytest.mark.parametrize("fault", FAULTS)
async def test_one_fault_at_any_step_neither_loses_nor_reorders(fault: Fault, at: int) -> None:
    kafka = FakeKafka(faults={at: fault})
    sender = PartitionSender(SOURCE, kafka.producer)
    # A record that is refused when it is alone is given back: its place is the caller's matter.
    gone = given_back(await sender.deliver(outputs_of(VALUES)))
    await sender.stop()
    assert not kafka.faults
    assert len(gone) <= (fault == "refused")
    expected = {d: [v for v in values if (d, v) not in gone] for d, values in VALUES.items()}
    assert {d: as_folded(log) for d, log in kafka.logs.items()} == expected
    if fault != "not answered":
        assert kafka.logs == expected
    assert kafka.running == 0


@pytest.mark.parametrize("second", FAULTS)
@pytest.mark.parametrize("first", FAULTS)
async def test_a_fault_on_the_way_out_of_a_fault_neither_loses_nor_reorders(
    first: Fault, second: Fault
) -> None:
    for at in range(SENDS):
        kafka = FakeKafka(faults={at: first, at + 1: second, at + 3: first}, start_faults=2)
        sender = PartitionSender(SOURCE, kafka.producer)
        gone = given_back(await sender.deliver(outputs_of(VALUES)))
        for destination, values in VALUES.items():
            folded = as_folded(kafka.logs[destination])
            # One that was written without an answer may be refused when it is sent again.
            assert folded == [v for v in values if v in folded]
            assert set(values) - set(folded) <= {v for d, v in gone if d == destination}


@pytest.mark.parametrize("row", range(10))
async def test_only_the_refused_record_is_given_back_and_its_neighbours_are_written(
    row: int,
) -> None:
    kafka = FakeKafka(refuses=frozenset({VALUES[LONG][row]}))
    values = {LONG: VALUES[LONG], SHORT: [b"x"]}
    sender = PartitionSender(SOURCE, kafka.producer)
    [(destination, writes, cause)] = await sender.deliver(outputs_of(values))
    assert (destination, writes.values, writes.rows) == (LONG, [VALUES[LONG][row]], [row])
    assert cause == "MessageSizeTooLargeError"
    assert kafka.logs[LONG] == [value for value in VALUES[LONG] if value != VALUES[LONG][row]]
    assert kafka.logs[SHORT] == [b"x"]


async def test_a_batch_of_which_all_is_refused_is_given_back_record_by_record_in_order() -> None:
    kafka = FakeKafka(refuses=frozenset(VALUES[LONG]))
    sender = PartitionSender(SOURCE, kafka.producer)
    refused = await sender.deliver(outputs_of({LONG: VALUES[LONG]}))
    assert [writes.rows for _, writes, _ in refused] == [[row] for row in range(10)]


async def test_what_may_not_be_written_stops_the_worker_with_a_named_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forbidden = kafka_errors.TopicAuthorizationFailedError
    monkeypatch.setitem(fake_kafka._ERRORS, "lost", forbidden)
    sender = PartitionSender(SOURCE, FakeKafka(faults={0: "lost"}).producer)
    with pytest.raises(BrokerError, match="does not let this worker write"):
        await sender.deliver(outputs_of({LONG: VALUES[LONG]}))


async def test_a_producer_that_is_cancelled_while_it_starts_is_stopped() -> None:
    started = asyncio.Event()

    class Slow:
        stopped = False

        async def start(self) -> None:
            started.set()
            await asyncio.Event().wait()

        async def stop(self) -> None:
            Slow.stopped = True

    sender = PartitionSender(SOURCE, Slow)
    starting = asyncio.create_task(sender.start())
    await started.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert Slow.stopped
