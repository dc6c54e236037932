"""Operations are told of each version that was moved back, once, until a person has cleared it."""

from __future__ import annotations

from typing import Any

from stream_infer.alerts.wire import decode_alert
from stream_infer.errors import BrokerError
from stream_infer.events.evidence import encode_evidence
from stream_infer.events.told import Told
from stream_infer.guarding.guard import Guard
from stream_infer.guarding.operations import OperationsDesk, operations_alerts
from stream_infer.guardrails.deciding import DeciderRules
from stream_infer.registry.registry import Registry
from support.guarding import evidence
from support.registries import NOON_MS, registry_with

RULES = DeciderRules(held=1, watch_ms=10 * 86_400_000)


class Topic:
    """A compacted topic, and how many records were ever written to it."""

    def __init__(self) -> None:
        self.newest: dict[bytes, bytes] = {}
        self.written = 0
        self.is_away = False

    async def read(self) -> dict[bytes, bytes]:
        self._reach()
        return dict(self.newest)

    async def send(self, key: bytes, value: bytes) -> None:
        self._reach()
        self.newest[key] = value
        self.written += 1

    def _reach(self) -> None:
        if self.is_away:
            raise BrokerError("broker_unreachable", "nobody there", "wait")


async def tell_nobody(_: Told) -> None:
    pass


def guard_with(registry: Registry, topic: Topic) -> Guard:
    desk = OperationsDesk("p", topic.read, topic.send)
    return Guard(
        registry,
        "tiny",
        tell_nobody,
        pipeline="p",
        who="guard of p on w",
        rules=RULES,
        operations=desk,
    )


def see(guard: Guard, version: str = "2") -> None:
    bad: dict[str, Any] = {"errors": 500, "rows": 500}
    guard.take(encode_evidence(evidence(version, NOON_MS + 60_000, **bad)))


def promoted() -> Registry:
    registry = registry_with("1", "2")
    registry.promote("tiny", "1")
    registry.promote("tiny", "2")
    return registry


async def test_a_rollback_opens_an_alert_in_the_same_look_and_a_person_ends_it() -> None:
    registry, topic = promoted(), Topic()
    guard = guard_with(registry, topic)
    see(guard)
    assert await guard.look(NOON_MS + 61_000)
    [value] = topic.newest.values()
    alert = decode_alert(value)
    assert (alert.kind, alert.change, alert.status) == ("model_moved_back", "opened", "open")
    assert (alert.model, alert.version, alert.severity) == ("tiny", "2", "critical")
    assert "rolled back to 1" in alert.text
    assert "failed at 500 of 1000 rows" in alert.text
    for _ in range(3):
        await guard.look(NOON_MS + 62_000)
    assert topic.written == 1
    registry.clear("tiny", "2", who="ada", why="the feed was wrong")
    await guard.look(NOON_MS + 63_000)
    [value] = topic.newest.values()
    cleared = decode_alert(value)
    assert (cleared.alert_id, cleared.revision) == (alert.alert_id, 2)
    assert (cleared.status, cleared.facts["cleared_by"]) == ("cleared", "ada")
    assert cleared.cleared_time is not None


async def test_a_decider_that_died_between_the_move_and_the_alert_loses_nothing() -> None:
    registry, topic = promoted(), Topic()
    first = guard_with(registry, topic)
    topic.is_away = True
    see(first)
    assert await first.look(NOON_MS + 61_000)
    assert (registry.standing("tiny").champion, topic.written) == ("1", 0)
    topic.is_away = False
    second = guard_with(registry, topic)
    await second.look(NOON_MS + 62_000)
    assert topic.written == 1
    # The first one was not dead: what both wrote is the same record under the same key.
    before = dict(topic.newest)
    await first.look(NOON_MS + 63_000)
    assert topic.newest == before
    third = guard_with(registry, topic)
    await third.look(NOON_MS + 64_000)
    assert topic.written == 1


async def test_a_challenger_that_was_taken_off_is_told_too() -> None:
    registry, topic = registry_with("1", "2"), Topic()
    registry.promote("tiny", "1")
    registry.assign("tiny", "challenger", "2", share=0.1)
    guard = guard_with(registry, topic)
    see(guard)
    assert await guard.look(NOON_MS + 61_000)
    [value] = topic.newest.values()
    assert (decode_alert(value).kind, decode_alert(value).severity) == (
        "challenger_rejected",
        "high",
    )


def test_what_a_person_rolls_back_is_no_news_to_operations() -> None:
    registry = promoted()
    registry.roll_back("tiny", who="ada")
    assert operations_alerts("p", registry.history("tiny")) == []


def test_a_version_that_is_barred_again_opens_another_alert() -> None:
    registry = promoted()
    for _ in range(2):
        registry.roll_back("tiny", who="guard", automatic=True)
        registry.clear("tiny", "2", who="ada", why="again")
        registry.promote("tiny", "2")
    found = operations_alerts("p", registry.history("tiny"))
    assert [each.change for each in found] == ["opened", "cleared"] * 2
    assert len({each.alert_id for each in found}) == 2


async def test_records_of_others_in_the_topic_do_no_harm() -> None:
    registry, topic = promoted(), Topic()
    topic.newest = {b"x": b"no alert", b"y": b"\xff"}
    guard = guard_with(registry, topic)
    see(guard)
    assert await guard.look(NOON_MS + 61_000)
    assert topic.written == 1
