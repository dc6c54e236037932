"""Which senders an assignment gets, and how much of the group's commits are theirs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.exactly_once import ExactlyOnceSenders
from stream_infer.dataplane.sender_making import SenderMaker, share_of_commits
from stream_infer.dataplane.senders import Assigned, AtLeastOnceSenders
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.transactions import GroupMember
from stream_infer.settings.worker import WorkerSettings

NAMES = {"payments": "customer", "payments.by-terminal": "terminal"}
COUNTS = {"payments": 4, "payments.by-terminal": 8}


def assigned(*partitions: Partition) -> Assigned:
    return Assigned(
        positions=dict.fromkeys(partitions, 0),
        names=NAMES,
        metadata=lambda _partition: "",
        done=lambda _partition, _offset: None,
        acknowledged=lambda _partition, _offset: None,
        committed=lambda _offsets: None,
    )


def maker(**settings: Any) -> SenderMaker:
    async def committed(_partitions: Collection[Partition]) -> dict[Partition, int]:
        return {}

    return SenderMaker(
        Connection(),
        group="payments",
        instance="first",
        settings=WorkerSettings(**settings),
        partitions=COUNTS,
        member=lambda: GroupMember("payments", 3, "member"),
        read_committed_offsets=committed,
    )


async def test_exactly_once_a_stage_has_one_transaction_however_many_partitions() -> None:
    ours = assigned(*(Partition(topic, number) for topic in NAMES for number in range(2)))
    senders = maker(delivery="exactly_once").make(ours)
    assert isinstance(senders, ExactlyOnceSenders)
    assert [facts.stage for facts in senders.facts()] == ["customer", "terminal"]


async def test_at_least_once_nothing_is_transacted() -> None:
    senders = maker(delivery="at_least_once").make(assigned(Partition("payments", 0)))
    assert isinstance(senders, AtLeastOnceSenders)
    assert senders.facts() == ()


@pytest.mark.parametrize(
    ("stage", "partitions", "share"),
    [
        ("customer", [Partition("payments", 0)], 1 / 4 / 2),
        ("customer", [Partition("payments", number) for number in range(4)], 1 / 2),
        ("terminal", [Partition("payments.by-terminal", 1)], 1 / 8 / 2),
        ("terminal", [Partition("payments", 0), Partition("payments.by-terminal", 1)], 1 / 8 / 2),
    ],
)
def test_the_share_of_commits_is_that_of_the_partitions_divided_by_the_stages(
    stage: str, partitions: list[Partition], share: float
) -> None:
    assert share_of_commits(stage, assigned(*partitions), COUNTS) == pytest.approx(share)
