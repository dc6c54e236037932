"""Whatever happens at any step, what readers of committed records see is each record once.

The property that every test here ends with: for each input partition, exactly the outputs of the
input below its committed offset are visible, in the order of the input. It holds after each commit,
not only at the end.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from aiokafka import errors as kafka_errors

from stream_infer.dataplane import transaction_producer, transactions
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.outputs import NO_HEADERS, Outputs, Refused
from stream_infer.dataplane.transaction_rules import AssignmentMovedOnError
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
    monkeypatch.setattr(transactions, "COMMIT_SECONDS_MAX", 0.002)


@dataclass
class Stage:
    """A sender and what it is given: row `i` of an input writes to LONG, even ones to SHORT too."""

    kafka: FakeTransactionalKafka
    interval_s: float = EACH_TIME
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
async def test_many_faults_neither_lose_nor_double_nor_reorder(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(40):
        faults = {at: draw.randrange(FAULTS_MOST) for at in range(200) if draw.random() < 0.15}
        await run_with(faults, draw.choice([EACH_TIME, AT_THE_END]))
