"""Whatever happens to a batch, a partition's outputs arrive in order and none is missing."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import errors as kafka_errors

from stream_infer.dataplane import sender as sending
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.outputs import Writes
from stream_infer.dataplane.sender import StageSender
from stream_infer.errors import BrokerError
from support import fake_kafka
from support.fake_kafka import FAULTS, FakeKafka, Fault, outputs_of
from support.worker import until

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
    sender = StageSender("customer", kafka.producer)
    assert await sender.deliver(outputs_of(VALUES)) == []
    await sender.stop()
    assert kafka.logs == VALUES
    assert (kafka.sends, kafka.running) == (SENDS, 0)


@pytest.mark.parametrize("at", range(SENDS))
@pytest.mark.parametrize("fault", FAULTS)
async def test_one_fault_at_any_step_neither_loses_nor_reorders(fault: Fault, at: int) -> None:
    kafka = FakeKafka(faults={at: fault})
    sender = StageSender("customer", kafka.producer)
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
        sender = StageSender("customer", kafka.producer)
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
    sender = StageSender("customer", kafka.producer)
    [(destination, writes, cause)] = await sender.deliver(outputs_of(values))
    assert (destination, writes.values, writes.rows) == (LONG, [VALUES[LONG][row]], [row])
    assert cause == "MessageSizeTooLargeError"
    assert kafka.logs[LONG] == [value for value in VALUES[LONG] if value != VALUES[LONG][row]]
    assert kafka.logs[SHORT] == [b"x"]


async def test_a_batch_of_which_all_is_refused_is_given_back_record_by_record_in_order() -> None:
    kafka = FakeKafka(refuses=frozenset(VALUES[LONG]))
    sender = StageSender("customer", kafka.producer)
    refused = await sender.deliver(outputs_of({LONG: VALUES[LONG]}))
    assert [writes.rows for _, writes, _ in refused] == [[row] for row in range(10)]


async def test_what_may_not_be_written_stops_the_worker_with_a_named_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forbidden = kafka_errors.TopicAuthorizationFailedError
    monkeypatch.setitem(fake_kafka._ERRORS, "lost", forbidden)
    sender = StageSender("customer", FakeKafka(faults={0: "lost"}).producer)
    with pytest.raises(BrokerError, match="does not let this worker write"):
        await sender.deliver(outputs_of({LONG: VALUES[LONG]}))


async def test_a_clock_that_kafka_does_not_believe_stops_the_worker_and_refuses_no_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(fake_kafka._ERRORS, "lost", kafka_errors.InvalidTimestampError)
    sender = StageSender("customer", FakeKafka(faults={0: "lost"}).producer)
    with pytest.raises(BrokerError) as caught:
        await sender.deliver(outputs_of({LONG: VALUES[LONG]}))
    assert caught.value.code == "clock_ahead"


async def test_a_producer_that_is_cancelled_while_it_starts_is_stopped() -> None:
    started = asyncio.Event()

    class Slow:
        stopped = False

        async def start(self) -> None:
            started.set()
            await asyncio.Event().wait()

        async def stop(self) -> None:
            Slow.stopped = True

    sender = StageSender("customer", Slow)
    starting = asyncio.create_task(sender.start())
    await started.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert Slow.stopped


async def _deliver_at_once(
    kafka: FakeKafka, parts: list[dict[Partition, list[bytes]]]
) -> list[set[tuple[Partition, bytes | None]]]:
    """Deliver what several input partitions have at the same time; return what each got back."""
    sender = StageSender("customer", kafka.producer)
    answers = await asyncio.gather(*(sender.deliver(outputs_of(part)) for part in parts))
    await sender.stop()
    assert kafka.running == 0
    return [given_back(refused) for refused in answers]


PARTS: list[dict[Partition, list[bytes]]] = [
    {LONG: [b"a0", b"a1"], SHORT: [b"a2"]},
    {LONG: [b"b0", b"b1", b"b2", b"b3", b"b4"]},
    {LONG: [b"c0"], SHORT: [b"c1", b"c2", b"c3"]},
]


def of_part(log: list[bytes | None], letter: bytes) -> list[bytes | None]:
    return [value for value in log if value is not None and value.startswith(letter)]


async def test_what_several_partitions_write_at_once_goes_out_together() -> None:
    kafka = FakeKafka()
    assert await _deliver_at_once(kafka, PARTS) == [set(), set(), set()]
    # Eight records for one destination and four for the other, three a batch.
    assert kafka.sends == 3 + 2
    for letter, part in zip((b"a", b"b", b"c"), PARTS, strict=True):
        assert {d: of_part(log, letter) for d, log in kafka.logs.items() if d in part} == part


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_under_several_partitions_neither_loses_nor_reorders_any(
    fault: Fault, at: int
) -> None:
    kafka = FakeKafka(faults={at: fault})
    answers = await _deliver_at_once(kafka, PARTS)
    for letter, part, gone in zip((b"a", b"b", b"c"), PARTS, answers, strict=True):
        for destination, values in part.items():
            folded = as_folded(of_part(kafka.logs[destination], letter))
            assert folded == [v for v in values if (destination, v) not in gone]


async def test_a_refused_record_is_given_back_to_the_partition_that_it_came_from() -> None:
    kafka = FakeKafka(refuses=frozenset({b"b3", b"c2"}))
    assert await _deliver_at_once(kafka, PARTS) == [set(), {(LONG, b"b3")}, {(SHORT, b"c2")}]


async def test_a_delivery_whose_caller_was_cancelled_does_not_hold_up_the_others() -> None:
    kafka = FakeKafka(start_faults=3)
    sender = StageSender("customer", kafka.producer)
    gone, stays = (asyncio.create_task(sender.deliver(outputs_of(part))) for part in PARTS[:2])
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == []
    assert of_part(kafka.logs[LONG], b"b") == PARTS[1][LONG]
    await sender.stop()


async def test_a_sender_that_is_abandoned_waits_for_no_answer() -> None:
    class Silent(fake_kafka.FakeProducer):
        async def send_batch(
            self, batch: fake_kafka.FakeBatch, topic: str, *, partition: int
        ) -> asyncio.Future[None]:
            return asyncio.get_running_loop().create_future()

    kafka = FakeKafka()
    sender = StageSender("customer", lambda: Silent(kafka))
    waiting = asyncio.create_task(sender.deliver(outputs_of(PARTS[0])))
    await until(lambda: kafka.running == 1)
    waiting.cancel()
    await sender.abandon()
    assert kafka.running == 0


async def test_stopping_does_not_wait_for_what_nobody_answers() -> None:
    """A tick is under way while Kafka is away: the worker must still come to its end."""

    class Silent(fake_kafka.FakeProducer):
        async def send_batch(self, *_args: object, **_options: object) -> asyncio.Future[None]:
            return asyncio.get_running_loop().create_future()

        async def stop(self) -> None:
            await asyncio.Event().wait()

    kafka = FakeKafka()
    sender = StageSender("customer", lambda: Silent(kafka))
    ticking = asyncio.create_task(sender.deliver(outputs_of({SHORT: [b"tick"]})))
    await until(lambda: kafka.running == 1)
    await asyncio.wait_for(sender.stop(), timeout=30)
    with pytest.raises(BrokerError) as stopped:
        await ticking
    assert stopped.value.code == sending.SENDER_STOPPED
    with pytest.raises(BrokerError):
        await sender.deliver(outputs_of({SHORT: [b"later"]}))
