"""When a fetch is made without partitions whose records nobody has taken yet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.structs import TopicPartition

from stream_infer.dataplane import fetching
from stream_infer.dataplane.beat import Beat, Fed, Gathering
from stream_infer.dataplane.fetching import (
    FULL_BYTES,
    TAKE_IDLE_SECONDS,
    TAKE_SECONDS,
    Fetches,
    pace_fetches,
)

BUSY, LISTS = TopicPartition("transactions", 0), TopicPartition("lists", 0)


class Fetcher:
    """What aiokafka's fetcher has for who changes it; it asks for what is not untaken."""

    def __init__(self) -> None:
        self.now_s = 1.0
        self._client = SimpleNamespace()
        self._prefetch_backoff = 0.1
        self._fetch_max_wait_ms = 0
        self._pending_tasks: set[Any] = set()
        self._in_flight: set[int] = set()
        self._records: dict[TopicPartition, Any] = {}

    def _get_actions_per_node(self, assignment: Any) -> Any:
        wanted = [tp for tp in assignment.tps if tp not in self._records]
        request = SimpleNamespace(topics=[(tp.topic, [(tp.partition, 0, 0)]) for tp in wanted])
        return ([(0, request)] if wanted else []), [], 10.0

    def decide(self) -> tuple[list[str], float]:
        """Return the topics that are asked for now, and how long it waits."""
        assignment = SimpleNamespace(tps={BUSY, LISTS}, state_value=None)
        requests, _, timeout, *_ = self._get_actions_per_node(assignment)
        return sorted(topic for _, each in requests for topic, _ in each.topics), timeout

    def brings(self, tp: TopicPartition, *, then_s: float = 0.0) -> None:
        """Have something fetched of a partition, that nobody takes; then so much time passes."""
        self._records[tp] = SimpleNamespace(_partition_records=SimpleNamespace())
        self.now_s += then_s


@pytest.fixture
def fetcher(monkeypatch: pytest.MonkeyPatch) -> Fetcher:
    """Return one that has asked for both, a beat ago; nothing is due later."""
    made = Fetcher()
    monkeypatch.setattr(fetching, "time", SimpleNamespace(monotonic=lambda: made.now_s))
    gathering = Gathering(1, 12, lambda: made.now_s, lambda: 0.0)
    pace_fetches(made, lambda _topic: False, Beat(gathering, Fed()))
    assert made.decide()[0] == ["lists", "transactions"]
    made.now_s += 0.003
    return made


def test_a_topic_that_brought_nothing_is_not_asked_for_alone(fetcher: Fetcher) -> None:
    fetcher.brings(BUSY, then_s=2 * TAKE_SECONDS)
    topics, timeout = fetcher.decide()
    assert topics == []
    assert 0 < timeout <= TAKE_IDLE_SECONDS


def test_but_after_a_while_it_is(fetcher: Fetcher) -> None:
    fetcher.brings(BUSY, then_s=2 * TAKE_IDLE_SECONDS)
    assert fetcher.decide()[0] == ["lists"]


def test_and_together_with_what_was_taken(fetcher: Fetcher) -> None:
    fetcher.brings(BUSY, then_s=2 * TAKE_SECONDS)
    del fetcher._records[BUSY]
    assert fetcher.decide()[0] == ["lists", "transactions"]


def test_one_that_brought_something_waits_only_for_who_is_about_to_take_it(
    fetcher: Fetcher,
) -> None:
    fetcher.brings(LISTS)
    del fetcher._records[LISTS]
    fetcher.brings(BUSY)
    assert fetcher.decide()[0] == []
    fetcher.now_s += 2 * TAKE_SECONDS
    assert fetcher.decide()[0] == ["lists"]


@pytest.mark.parametrize(("size", "is_full"), [(FULL_BYTES - 1, False), (FULL_BYTES, True)])
def test_a_fetch_of_about_as_much_as_it_may_bring_says_that_there_is_more(
    size: int, *, is_full: bool
) -> None:
    told: list[tuple[TopicPartition, bool]] = []

    def brings(tp: TopicPartition, *, is_full: bool) -> None:
        told.append((tp, is_full))

    client = SimpleNamespace(take=lambda _tp: bytes(size))
    fetches = Fetches(lambda _topic: True, cast("Any", client), brings)
    fetches[BUSY] = SimpleNamespace(_partition_records=SimpleNamespace())
    assert told == [(BUSY, is_full)]
