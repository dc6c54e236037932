"""Whatever happens at any step, what readers of committed records see is each record once.

The property that every test here ends with: for each input partition, exactly the outputs of the
input below its committed offset are visible, in the order of the input. It holds after each commit,
not only at the end.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from aiokafka import errors as kafka_errors

from stream_infer.dataplane import transaction_commit, transaction_gate, transaction_producer
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.outputs import NO_HEADERS, Outputs, Refused
from stream_infer.dataplane.sender import SENDER_STOPPED
from stream_infer.dataplane.transaction_gate import not_known
from stream_infer.dataplane.transaction_rules import AssignmentMovedOnError
from stream_infer.dataplane.transaction_waves import Delivery
from stream_infer.dataplane.transactions import TransactionSender
from stream_infer.errors import BrokerError
from support import fake_transactions
from support.fake_transactions import FAULTS, FAULTS_MOST, FakeTransactionalKafka
from support.worker import until

LONG, SHORT = Partition("by-terminal", 2), Partition("scored", 0)
DEAD, TICKS = Partition("dead-letters", 0), Partition("by-customer", 0)
SOURCES = [Partition("transactions", number) for number in range(3)]

STEPS = ([3, 1, 4], [1, 5], [2, 2, 2])
"""Rows of each step of each input partition; three records are a full batch."""

FIRST = 10
"""Offset at which each input partition begins."""

AT_THE_END, EACH_TIME = 3600.0, 0.0
"""Intervals: one transaction until `commit` is called, and one for each thing that comes."""


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction_producer, "RETRY_SECONDS", 0)
    monkeypatch.setattr(transaction_producer, "ABORT_SECONDS_MAX", 0.002)
    monkeypatch.setattr(transaction_commit, "COMMIT_SECONDS_MAX", 0.002)


@dataclass
class Stage:
    """A sender and what it is given: row `i` of an input writes to LONG, even ones to SHORT too."""

    kafka: FakeTransactionalKafka
    interval_s: float = EACH_TIME
    is_drained: Callable[[], bool] = not_known
    told: dict[Partition, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kafka.on_settled = self.check
        self.sender = TransactionSender(
            "customer",
            self.kafka.producer,
            member=self.kafka.member,
            metadata=str,
            committed=self.told.update,
            read_committed_offsets=self.kafka.read_committed_offsets,
            interval_s=self.interval_s,
            markers_per_s_max=math.inf,
            is_drained=self.is_drained,
        )
        for source in SOURCES:
            self.kafka.offsets[source] = (FIRST, str(source))
            self.sender.own(source, FIRST)

    async def run(self, steps: Sequence[Sequence[int]] = STEPS) -> None:
        """Do all steps, the partitions beside each other, with a tick and a commit at the end."""
        await asyncio.gather(
            *(self.work(source, each) for source, each in zip(SOURCES, steps, strict=True))
        )
        outputs = Outputs()
        outputs.add(TICKS, None, b"tick", NO_HEADERS, 0)
        await self.sender.deliver(outputs, None, self.replace)
        await self.sender.commit()

    async def work(self, source: Partition, steps: Sequence[int]) -> None:
        offset = FIRST
        for rows in steps:
            outputs = Outputs()
            for row in range(rows):
                value = value_of(source, offset + row)
                outputs.add(LONG, None, value, NO_HEADERS, row)
                if (offset + row) % 2 == 0:
                    outputs.add(SHORT, None, value, NO_HEADERS, row)
            offset += rows
            await self.sender.deliver(outputs, (source, offset), self.replace)
        # The last input has no outputs.
        await self.sender.deliver(Outputs(), (source, offset + 1), self.replace)

    def replace(self, refused: Sequence[Refused]) -> Outputs:
        outputs = Outputs()
        for destination, writes, _ in refused:
            assert len(writes) == 1
            assert destination != DEAD
            value = b"%s %s" % (destination.topic.encode(), writes.values[0])
            outputs.add(DEAD, None, value, NO_HEADERS, writes.rows[0])
        return outputs

    def check(self) -> None:
        """Hold what is visible against what is committed."""
        dead = [value for value in self.kafka.visible.get(DEAD, ()) if value is not None]
        assert len(set(dead)) == len(dead)
        for source in SOURCES:
            committed, metadata = self.kafka.offsets[source]
            assert metadata == str(source)
            end = min(committed, FIRST + sum(STEPS[source.partition]))
            for destination, every in ((LONG, 1), (SHORT, 2)):
                expected = [
                    value
                    for offset in range(FIRST, end, every)
                    if b"%s %s" % (destination.topic.encode(), value := value_of(source, offset))
                    not in dead
                ]
                assert of(source, self.kafka.visible.get(destination, [])) == expected

    def check_all(self) -> None:
        """Check that all was committed too, and the sender was told."""
        self.check()
        ends = {s: FIRST + sum(STEPS[s.partition]) + 1 for s in SOURCES}
        assert {s: offset for s, (offset, _) in self.kafka.offsets.items()} == ends
        assert self.told == ends
        ticks = [*self.kafka.visible.get(TICKS, []), *self.kafka.visible.get(DEAD, [])]
        assert b"tick" in ticks or b"by-customer tick" in ticks


def value_of(source: Partition, offset: int) -> bytes:
    return f"{source.partition}:{offset:03d}".encode()


def of(source: Partition, values: Sequence[bytes | None]) -> list[bytes]:
    prefix = f"{source.partition}:".encode()
    return [value for value in values if value is not None and value.startswith(prefix)]


async def run_with(faults: dict[int, int], interval_s: float) -> Stage:
    stage = Stage(FakeTransactionalKafka(faults=faults), interval_s)
    await stage.run()
    stage.check_all()
    await stage.sender.stop()
    assert stage.kafka.running == 0
    return stage


@pytest.mark.parametrize("interval_s", [EACH_TIME, AT_THE_END])
async def test_without_a_fault_each_record_is_visible_once_with_its_offset(
    interval_s: float,
) -> None:
    stage = await run_with({}, interval_s)
    assert stage.kafka.visible[TICKS] == [b"tick"]
    assert stage.sender.aborts == 0
    assert stage.sender.commits == stage.kafka.calls.count("commit")
    assert (stage.sender.commits == 1) is (interval_s == AT_THE_END)
    assert stage.sender.open_since_s is None
    assert stage.sender.transactional_id == "group.stage.0"


@pytest.mark.parametrize("interval_s", [EACH_TIME, AT_THE_END])
@pytest.mark.parametrize("picked", range(FAULTS_MOST))
async def test_a_fault_at_any_step_neither_loses_nor_doubles_nor_reorders(
    picked: int, interval_s: float
) -> None:
    calls = (await run_with({}, interval_s)).kafka.calls
    happened = 0
    for at, kind in enumerate(calls):
        if picked < len(FAULTS[kind]):
            stage = await run_with({at: picked}, interval_s)
            happened += len(stage.kafka.happened)
            if kind != "commit" and (kind, "refused") not in stage.kafka.happened:
                assert stage.kafka.visible[TICKS] == [b"tick"]
    assert happened > 0


@pytest.mark.parametrize("interval_s", [EACH_TIME, AT_THE_END])
@pytest.mark.parametrize("first", range(FAULTS_MOST))
async def test_a_fault_on_the_way_out_of_a_fault_neither_loses_nor_doubles_nor_reorders(
    first: int, interval_s: float
) -> None:
    calls = (await run_with({}, interval_s)).kafka.calls
    for at, kind in enumerate(calls):
        if first < len(FAULTS[kind]):
            for second in range(FAULTS_MOST):
                for gap in (1, 2, 3):
                    await run_with({at: first, at + gap: second}, interval_s)


@pytest.mark.parametrize("seed", range(8))
async def test_many_faults_neither_lose_nor_double_nor_reorder(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    # Every delivery counts as much, or none does: waves beside each other, and one after another.
    monkeypatch.setattr(transaction_gate, "ALONE_ROWS", 2 if seed % 2 else 1000)
    for _ in range(40):
        faults = {at: draw.randrange(FAULTS_MOST) for at in range(200) if draw.random() < 0.15}
        await run_with(faults, draw.choice([EACH_TIME, AT_THE_END]))


def rows_of(source: Partition, first: int, count: int) -> Outputs:
    outputs = Outputs()
    for row in range(count):
        outputs.add(LONG, None, value_of(source, first + row), NO_HEADERS, row)
    return outputs


@dataclass
class Few(Stage):
    """As `Stage`, for tests that deliver by hand, and to LONG only."""

    interval_s: float = AT_THE_END

    def __post_init__(self) -> None:
        super().__post_init__()
        self.kafka.on_settled = lambda: None

    async def give(self, number: int, first: int, count: int) -> None:
        source = SOURCES[number]
        outputs = rows_of(source, FIRST + first, count)
        await self.sender.deliver(outputs, (source, FIRST + first + count), self.replace)

    def visible(self) -> list[bytes | None]:
        return self.kafka.visible.get(LONG, [])

    def committed(self) -> list[int]:
        return [self.kafka.offsets[source][0] - FIRST for source in SOURCES]


# -- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize("row", range(8))
async def test_only_the_refused_record_is_replaced_and_its_neighbours_are_visible_in_order(
    row: int,
) -> None:
    bad = value_of(SOURCES[0], FIRST + row)
    stage = Stage(FakeTransactionalKafka(refuses=lambda _, value: value == bad), AT_THE_END)
    await stage.run()
    stage.check_all()
    expected = {b"by-terminal " + bad} | ({b"scored " + bad} if row % 2 == 0 else set())
    assert set(stage.kafka.visible[DEAD]) == expected
    await stage.sender.stop()


async def test_a_topic_that_takes_fewer_at_a_time_gets_all_of_them_and_nothing_is_replaced() -> (
    None
):
    stage = Stage(FakeTransactionalKafka(most={LONG: 1, SHORT: 2}), AT_THE_END)
    await stage.run()
    stage.check_all()
    assert DEAD not in stage.kafka.visible
    await stage.sender.stop()


async def test_a_replacement_that_is_refused_is_replaced_too() -> None:
    bad = value_of(SOURCES[0], FIRST + 1)
    refused: list[tuple[Partition, bytes | None]] = []

    def replace(found: Sequence[Refused]) -> Outputs:
        refused.extend((destination, writes.values[0]) for destination, writes, _ in found)
        outputs = Outputs()
        outputs.add(DEAD, None, b"stub" if len(refused) > 1 else b"large", NO_HEADERS, 1)
        return outputs

    stage = Few(FakeTransactionalKafka(refuses=lambda _, value: value in (bad, b"large")))
    await stage.sender.deliver(rows_of(SOURCES[0], FIRST, 3), (SOURCES[0], FIRST + 3), replace)
    await stage.sender.commit()
    assert refused == [(LONG, bad), (DEAD, b"large")]
    assert stage.kafka.visible[DEAD] == [b"stub"]
    assert stage.visible() == [value_of(SOURCES[0], FIRST + n) for n in (0, 2)]
    await stage.sender.stop()


async def test_what_cannot_be_replaced_ends_the_sender_and_nothing_of_it_is_visible() -> None:
    def replace(_: Sequence[Refused]) -> Outputs:
        raise BrokerError("stub_refused", "Not even the stub.")

    stage = Few(FakeTransactionalKafka(refuses=lambda _, value: value == b"0:011"))
    with pytest.raises(BrokerError, match="Not even the stub"):
        await stage.sender.deliver(rows_of(SOURCES[0], FIRST, 3), (SOURCES[0], FIRST + 3), replace)
    with pytest.raises(BrokerError, match="Not even the stub"):
        await stage.give(1, 0, 1)
    await stage.sender.stop()
    assert stage.visible() == []
    assert stage.committed() == [0, 0, 0]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (kafka_errors.TopicAuthorizationFailedError, "write_forbidden"),
        (kafka_errors.InvalidTimestampError, "clock_ahead"),
    ],
)
async def test_what_no_record_is_to_blame_for_ends_the_sender_with_a_named_cause(
    monkeypatch: pytest.MonkeyPatch, answer: type[Exception], code: str
) -> None:
    monkeypatch.setitem(fake_transactions._ERRORS, "refused", answer)
    stage = Few(FakeTransactionalKafka(refuses=lambda _, value: value == b"0:011"))
    with pytest.raises(BrokerError) as raised:
        await stage.give(0, 0, 3)
    assert raised.value.code == code
    await stage.sender.stop()
    assert stage.visible() == []


# -- what is in a transaction ------------------------------------------------------------------


async def test_a_delivery_returns_before_the_commit_and_the_next_joins_its_transaction() -> None:
    stage = Few(FakeTransactionalKafka())
    await stage.give(0, 0, 2)
    await stage.give(0, 2, 5)
    assert stage.visible() == []
    assert stage.sender.open_since_s is not None
    await stage.sender.commit()
    assert stage.visible() == [value_of(SOURCES[0], FIRST + n) for n in range(7)]
    assert stage.committed() == [7, 0, 0]
    assert stage.told == {SOURCES[0]: FIRST + 7}
    assert (stage.sender.commits, stage.kafka.calls.count("begin")) == (1, 1)
    await stage.sender.stop()


async def test_what_was_delivered_is_committed_when_the_interval_is_over() -> None:
    stage = Few(FakeTransactionalKafka(), interval_s=0.001)
    await stage.give(0, 0, 2)
    await until(lambda: stage.committed() == [2, 0, 0])
    await stage.sender.stop()


async def test_when_nothing_more_comes_it_is_committed_before_the_interval_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transaction_gate, "QUIET_INTERVAL_SHARE", 0.0)
    stage = Few(FakeTransactionalKafka(), interval_s=AT_THE_END)
    await stage.give(0, 0, 2)
    await until(lambda: stage.committed() == [2, 0, 0])
    assert stage.sender.commits == 1
    await stage.sender.stop()


async def test_quiet_ends_no_transaction_whose_markers_would_be_too_many() -> None:
    gate = transaction_gate.Gate("customer", 0.0, markers_per_s_max=30.0)
    delivery = Delivery(None, lambda _refused: Outputs(), asyncio.Future())
    outputs = Outputs()
    outputs.add(LONG, None, b"value", NO_HEADERS, 0)
    delivery.add(outputs)
    gate.kept, gate.open_since_s, gate._committed_s = [delivery], 100.9, 100.0
    # One destination and two markers more: a quarter of 30 a second, since the commit before.
    assert gate._quiet_at() == pytest.approx(100.4)


async def test_an_answer_that_is_late_is_waited_for_without_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0
    look = transaction_gate.Gate._is_closed

    def looking(gate: transaction_gate.Gate) -> bool:
        nonlocal looks
        looks += 1
        return look(gate)

    monkeypatch.setattr(transaction_gate.Gate, "_is_closed", looking)
    stage = Few(FakeTransactionalKafka(), interval_s=0.001)
    stage.kafka.held = []
    giving = asyncio.create_task(stage.give(0, 0, 2))
    await until(lambda: bool(stage.kafka.held))
    await asyncio.sleep(0.1)
    assert looks < 10, "its interval is long over"
    stage.kafka.release()
    await giving
    await until(lambda: stage.committed() == [2, 0, 0])
    await stage.sender.stop()


async def test_with_nothing_left_to_come_it_is_committed_without_a_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transaction_gate, "QUIET_S", AT_THE_END)
    monkeypatch.setattr(transaction_gate, "QUIET_INTERVAL_SHARE", 0.0)
    stage = Few(FakeTransactionalKafka(), interval_s=AT_THE_END, is_drained=lambda: is_drained)
    is_drained = True
    await stage.give(0, 0, 2)
    await until(lambda: stage.committed() == [2, 0, 0])
    is_drained = False
    await stage.give(0, 2, 2)
    await asyncio.sleep(0.05)
    assert stage.committed() == [2, 0, 0], "the worker has more to write"
    await stage.sender.stop()


async def test_input_of_which_nothing_is_written_goes_with_what_is_written_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transaction_gate, "QUIET_INTERVAL_SHARE", 0.0)
    stage = Few(FakeTransactionalKafka(), interval_s=AT_THE_END, is_drained=lambda: True)
    await stage.sender.deliver(Outputs(), (SOURCES[1], FIRST + 7), stage.replace)
    await asyncio.sleep(0.05)
    assert stage.committed() == [0, 0, 0]
    await stage.give(0, 0, 2)
    await until(lambda: stage.committed() == [2, 7, 0])
    assert stage.sender.commits == 1
    await stage.sender.stop()


async def test_where_nothing_is_delivered_nothing_is_begun() -> None:
    stage = Few(FakeTransactionalKafka())
    await stage.sender.start()
    await stage.sender.deliver(Outputs(), None, stage.replace)
    await stage.sender.commit()
    assert stage.kafka.calls == ["start"]
    await stage.sender.stop()


async def test_a_tick_alone_commits_the_known_position_so_that_a_zombies_is_refused() -> None:
    stage = Few(FakeTransactionalKafka(generation=4))
    stage.kafka.generation = 5
    outputs = Outputs()
    outputs.add(TICKS, None, b"tick", NO_HEADERS, 0)
    await stage.sender.deliver(outputs, None, stage.replace)
    with pytest.raises(AssignmentMovedOnError):
        await stage.sender.commit()
    assert TICKS not in stage.kafka.visible
    await stage.sender.stop()


async def test_offsets_that_go_back_are_refused() -> None:
    stage = Few(FakeTransactionalKafka())
    await stage.give(0, 0, 5)
    with pytest.raises(ValueError, match="delivered up to 15"):
        await stage.give(0, 2, 2)
    await stage.sender.stop()


async def test_a_caller_that_is_cancelled_takes_back_only_what_nothing_was_written_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RETRY_SECONDS", "RETRY_SECONDS_MAX"):
        monkeypatch.setattr(transaction_producer, name, 0.01)
    stage = Few(FakeTransactionalKafka(faults=dict.fromkeys(range(1000), 0)))
    waiting = asyncio.create_task(stage.give(1, 0, 2))
    await until(lambda: bool(stage.kafka.happened))  # the producer does not start
    waiting.cancel()
    await asyncio.wait([waiting])
    stage.kafka.faults = {}
    stage.kafka.held = []
    begun = asyncio.create_task(stage.give(0, 0, 2))
    await until(lambda: bool(stage.kafka.held))
    begun.cancel()
    await asyncio.wait([begun])
    assert begun.cancelled()
    stage.kafka.release()
    await stage.sender.commit()
    assert stage.visible() == [value_of(SOURCES[0], FIRST + n) for n in range(2)]
    assert stage.committed() == [2, 0, 0]
    await stage.sender.stop()


async def test_after_an_abort_nothing_newer_goes_with_what_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else what is kept in memory would grow with each transaction that fails."""
    monkeypatch.setattr(transaction_producer, "RETRY_SECONDS", 0.01)
    stage = Few(FakeTransactionalKafka())
    seen: list[list[bytes | None]] = []
    stage.kafka.on_settled = lambda: seen.append([*stage.visible()])
    await stage.give(0, 0, 2)
    stage.kafka.fence()
    stage.kafka.faults = dict.fromkeys(range(1000), 0)
    broken = asyncio.create_task(stage.give(0, 2, 2))
    await until(lambda: stage.sender.aborts == 1)
    newer = asyncio.create_task(stage.give(1, 0, 2))
    await asyncio.sleep(0)
    stage.kafka.faults = {}
    await asyncio.gather(broken, newer)
    await stage.sender.commit()
    assert seen[0] == [value_of(SOURCES[0], FIRST + n) for n in range(4)]
    assert stage.committed() == [4, 2, 0]
    assert (stage.sender.commits, stage.sender.aborts) == (2, 1)
    await stage.sender.stop()


# -- the group moves on ------------------------------------------------------------------------


@pytest.mark.parametrize("abort_fault", [None, 0, 1])
async def test_when_the_group_has_moved_on_nothing_is_visible_and_every_delivery_says_so(
    abort_fault: int | None,
) -> None:
    stage = Few(FakeTransactionalKafka())
    await stage.give(0, 0, 2)
    stage.kafka.generation += 1
    if abort_fault is not None:
        at = len(stage.kafka.calls) + stage.kafka.calls.count("abort")
        stage.kafka.faults = {at: abort_fault}
    with pytest.raises(AssignmentMovedOnError):
        await stage.sender.commit()
    with pytest.raises(AssignmentMovedOnError):
        await stage.give(1, 0, 2)
    await stage.sender.stop()
    assert stage.visible() == []
    assert stage.committed() == [0, 0, 0]
    assert stage.sender.aborts == 1
    assert "commit" not in stage.kafka.calls
    assert (stage.kafka.open is None) is (abort_fault is None)


async def test_a_member_that_joined_anew_does_not_commit_what_it_made_before() -> None:
    """Its new generation would be taken by the group, but the partitions may be others'."""
    stage = Few(FakeTransactionalKafka())
    await stage.give(0, 0, 2)
    stage.kafka.generation += 1
    with pytest.raises(AssignmentMovedOnError, match="joined it anew"):
        await stage.sender.commit()
    assert stage.visible() == []
    await stage.sender.stop()


async def test_a_commit_without_an_answer_is_not_repeated_over_what_others_have_committed() -> None:
    stage = Few(FakeTransactionalKafka())
    await stage.give(0, 0, 2)
    at = len(stage.kafka.calls)
    stage.kafka.faults = {at + 1: FAULTS["commit"].index("lost")}

    async def read(_: object) -> dict[Partition, int]:
        return {SOURCES[0]: FIRST + 1}

    stage.sender._commits._read = read
    with pytest.raises(AssignmentMovedOnError):
        await stage.sender.commit()
    assert stage.visible() == []
    await stage.sender.stop()


# -- the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["stop", "abandon"])
async def test_what_is_not_committed_at_the_end_is_aborted_and_what_comes_later_refused(
    way: str,
) -> None:
    stage = Few(FakeTransactionalKafka())
    await stage.give(0, 0, 2)
    await getattr(stage.sender, way)()
    assert stage.kafka.calls[-1] == "abort"
    assert stage.kafka.open is None
    assert stage.kafka.running == 0
    with pytest.raises(BrokerError) as stopped:
        await stage.give(0, 2, 2)
    assert stopped.value.code == SENDER_STOPPED


async def test_the_end_waits_for_no_answer() -> None:
    stage = Few(FakeTransactionalKafka())
    await stage.give(0, 0, 2)
    stage.kafka.faults = dict.fromkeys(
        range(len(stage.kafka.calls), len(stage.kafka.calls) + 9), FAULTS["abort"].index("silent")
    )
    await asyncio.wait_for(stage.sender.stop(), timeout=60)
    assert stage.visible() == []
    assert stage.kafka.running == 0


async def test_a_commit_that_is_cut_off_is_not_aborted_behind_its_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transaction_commit, "COMMIT_SECONDS_MAX", 3600)
    stage = Few(FakeTransactionalKafka())
    await stage.give(0, 0, 2)
    silent = FAULTS["commit"].index("not answered, silent")
    stage.kafka.faults = {len(stage.kafka.calls) + 1: silent}
    committing = asyncio.create_task(stage.sender.commit())
    await until(lambda: stage.kafka.calls[-1] == "commit")
    await stage.sender.abandon()
    with pytest.raises(BrokerError):
        await committing
    assert "abort" not in stage.kafka.calls
    assert stage.committed() == [2, 0, 0]
