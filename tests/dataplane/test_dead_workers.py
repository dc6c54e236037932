"""What dead workers left open is ended, what live ones have open is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiokafka import errors as kafka_errors
from structlog.testing import capture_logs

from stream_infer.dataplane.dead_workers import DeadWorkers, client_id_of, dead_ids, instance_of
from stream_infer.errors import BrokerError
from stream_infer.kafka.dead_transactions import Listed
from support.worker import until

STAGES = ["customer", "terminal"]
MEMBERS = [client_id_of("stream-infer", "a1"), client_id_of("other", "b2")]


@pytest.mark.parametrize(
    ("transactional_id", "instance"),
    [
        ("fraud.customer.a1", "a1"),
        ("fraud.terminal.worker-3", "worker-3"),
        ("fraud.alerts.a1", None),  # no stage of ours
        ("fraud2.customer.a1", None),
        ("fraud.customer.", None),
        ("fraud.customer", None),
        # of group fraud.customer, or of a host with a dot: nobody can tell
        ("fraud.customer.terminal.a1", None),
    ],
)
def test_a_transactional_id_names_the_instance_if_it_is_the_group_s(
    transactional_id: str, instance: str | None
) -> None:
    assert instance_of(transactional_id, "fraud", STAGES) == instance


def test_the_transactions_of_those_that_are_no_members_are_dead() -> None:
    open_ids = ["fraud.customer.a1", "fraud.terminal.gone", "fraud.customer.gone", "else.x.gone"]
    assert dead_ids(open_ids, MEMBERS, "fraud", STAGES) == [
        "fraud.customer.gone",
        "fraud.terminal.gone",
    ]


def test_everybody_is_dead_in_a_group_without_members() -> None:
    assert dead_ids(["fraud.customer.a1"], [], "fraud", STAGES) == ["fraud.customer.a1"]


def test_nobody_is_dead_for_certain_while_a_member_does_not_show_who_it_is() -> None:
    assert dead_ids(["fraud.customer.gone"], [*MEMBERS, "faust-1"], "fraud", STAGES) == []


def test_a_name_that_ends_another_s_is_not_the_other() -> None:
    assert dead_ids(["fraud.customer.1"], MEMBERS, "fraud", STAGES) == ["fraud.customer.1"]


@dataclass
class Kafka:
    """A Kafka that answers what it is told to.

    answers  of `open_ids`, one after the other; the last one stays
    """

    answers: list[Listed | BaseException]
    members_now: list[str] = field(default_factory=lambda: list(MEMBERS))
    ended: list[str] = field(default_factory=list)
    looks: int = 0
    asked: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Kafka]:
        yield self

    async def open_ids(self) -> Listed:
        answer = self.answers[min(self.looks, len(self.answers) - 1)]
        self.looks += 1
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def members(self) -> list[str]:
        self.asked()
        return self.members_now

    async def end(self, transactional_id: str) -> None:
        self.ended.append(transactional_id)


def listed(*ids: str, is_complete: bool = True) -> Listed:
    return Listed(frozenset(ids), is_complete)


async def looked(kafka: Kafka, *, times: int = 1, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look until it is done."""
    monkeypatch.setattr("stream_infer.dataplane.dead_workers.AGAIN_SECONDS", 0.0)
    workers = DeadWorkers("fraud", "a1", 60.0, kafka.open)
    for _ in range(times):
        workers.look(STAGES)
        looking = workers._looking
        assert looking is not None
        await until(looking.done)
        looking.result()
    await workers.close()


async def test_what_a_dead_worker_left_open_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = Kafka([listed("fraud.customer.gone", "fraud.terminal.b2")])
    await looked(kafka, monkeypatch=monkeypatch)
    assert kafka.ended == ["fraud.customer.gone"]


async def test_the_members_are_asked_for_after_what_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else one that joins in between, and begins a transaction, would be taken for dead."""
    kafka = Kafka([listed("fraud.customer.new")], members_now=list(MEMBERS))

    def joined() -> None:
        assert kafka.looks == 1
        kafka.members_now.append(client_id_of("stream-infer", "new"))

    kafka.asked = joined
    await looked(kafka, monkeypatch=monkeypatch)
    assert kafka.ended == []


async def test_one_s_own_transactions_need_no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = Kafka([listed("fraud.customer.a1")], members_now=[])
    kafka.asked = lambda: pytest.fail("asked for members")
    await looked(kafka, monkeypatch=monkeypatch)
    assert kafka.ended == []


async def test_it_looks_again_until_every_broker_has_told(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = Kafka(
        [
            kafka_errors.NodeNotReadyError("away"),
            BrokerError("broker_refused", "away", "wait"),
            TimeoutError(),
            listed(is_complete=False),
            listed("fraud.customer.gone"),
        ]
    )
    await looked(kafka, monkeypatch=monkeypatch)
    assert (kafka.looks, kafka.ended) == (5, ["fraud.customer.gone"])


async def test_a_missing_right_is_told_once_and_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    denied = BrokerError("denied_transactional_id", "Kafka denies it.", "Grant it.")
    kafka = Kafka([denied])
    with capture_logs() as said:
        await looked(kafka, times=2, monkeypatch=monkeypatch)
    assert kafka.looks == 2
    (warned,) = [each for each in said if each["log_level"] == "warning"]
    assert (warned["event"], warned["fix"]) == ("dead_workers_left_alone", "Grant it.")


async def test_an_old_kafka_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    old = BrokerError("broker_refused", "No such request.", "Update Kafka.")
    old.__cause__ = kafka_errors.IncompatibleBrokerVersion("no ListTransactions")
    kafka = Kafka([old])
    with capture_logs() as said:
        await looked(kafka, times=2, monkeypatch=monkeypatch)
    assert len([each for each in said if each["log_level"] == "warning"]) == 1


async def test_a_new_look_takes_the_place_of_one_that_is_under_way() -> None:
    waiting = asyncio.Event()

    class Slow(Kafka):
        async def open_ids(self) -> Listed:
            self.looks += 1
            if self.looks == 1:
                await waiting.wait()
            return listed("fraud.customer.gone")

    kafka = Slow([])
    workers = DeadWorkers("fraud", "a1", 60.0, kafka.open)
    workers.look(STAGES)
    await until(lambda: kafka.looks == 1)
    workers.look(STAGES)
    await until(lambda: kafka.ended == ["fraud.customer.gone"])
    await workers.close()
