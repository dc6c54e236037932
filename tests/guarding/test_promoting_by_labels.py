"""A challenger that is better on labels is promoted without a person, once, and says why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from stream_infer.errors import BrokerError
from stream_infer.events.told import Told
from stream_infer.guarding.guard import Guard
from stream_infer.guarding.trials import ScoreRead, TrialKeeper
from stream_infer.registry.registry import Registry
from stream_infer.settings.model import ModelSettings
from support.registries import NOON_MS, CutOff, memory_store, registry_with

SETTINGS = ModelSettings(trial="promote", trial_labels_min=50)
BETTER, WORSE, SAME = 0.9, 0.1, 0.5


def tried(store: Any = None) -> Registry:
    registry = registry_with("1", "2", "3", store=store)
    registry.promote("tiny", "1")
    registry.assign("tiny", "challenger", "2")
    registry.assign("tiny", "shadow", "2")
    return registry


class Conducted:
    """A guard with a trial, fed by hand."""

    def __init__(self, registry: Registry, settings: ModelSettings = SETTINGS) -> None:
        self.told: list[Told] = []
        self.keeper = TrialKeeper("tiny", settings)
        self.guard = Guard(
            registry, "tiny", self.tell, pipeline="p", who="guard of p on w", trial=self.keeper
        )
        self.events = 0

    async def tell(self, told: Told) -> None:
        self.told.append(told)

    async def look(self) -> str | None:
        decision = await self.guard.look(NOON_MS + 60_000)
        if self.keeper.tried is not None and self.keeper.state is None:
            self.keeper.restore(self.keeper.tried, None)
        return None if decision is None else decision.action

    def see(self, challenger: float, events: int = 400) -> None:
        """See events that the champion scores 0.5, and the challenger so for the truth."""
        for n in range(self.events, self.events + events):
            truth = n % 2 == 0
            score = challenger if truth else 1 - challenger
            self.keeper.take_scores(
                [
                    ScoreRead(f"e{n}", n, 0.5, by_challenger=False),
                    ScoreRead(f"e{n}", n, score, by_challenger=True),
                ]
            )
            self.keeper.take_labels([(f"e{n}", truth)], 0, n + 1)
        self.events += events


async def test_a_better_challenger_becomes_champion_and_the_history_says_why() -> None:
    registry = tried()
    conducted = Conducted(registry)
    assert await conducted.look() is None
    conducted.see(BETTER)
    assert await conducted.look() == "promote"
    standing = registry.standing("tiny")
    # Its trial is over in every role.
    assert dict(standing.aliases) == {"champion": "2", "previous": "1"}
    last = registry.history("tiny")[-1]
    assert (last.action, last.automatic, last.who) == ("promote", True, "guard of p on w")
    assert "400 labelled events (200 positive)" in last.why
    assert [told.served["champion"].version for told in conducted.told] == ["2"]
    assert await conducted.look() is None


async def test_a_worse_challenger_is_taken_off_and_barred() -> None:
    registry = tried()
    conducted = Conducted(registry)
    await conducted.look()
    conducted.see(WORSE)
    assert await conducted.look() == "reject"
    standing = registry.standing("tiny")
    assert dict(standing.aliases) == {"champion": "1"}
    assert list(standing.barred) == ["2"]


async def test_an_equal_challenger_goes_on_being_tried() -> None:
    conducted = Conducted(tried())
    await conducted.look()
    conducted.see(SAME, events=2_000)
    assert await conducted.look() is None


@pytest.mark.parametrize("mode", ["off", "watch"])
async def test_nothing_moves_unless_it_was_asked_for(mode: Any) -> None:
    assert ModelSettings().trial == "off"
    registry = tried()
    conducted = Conducted(registry, ModelSettings(trial=mode, trial_labels_min=50))
    await conducted.look()
    conducted.see(BETTER)
    assert await conducted.look() is None
    assert conducted.keeper.answer() == "promote"
    assert registry.standing("tiny").champion == "1"


def swap_champion(registry: Registry) -> None:
    registry.promote("tiny", "3", who="ada")


def take_off(registry: Registry) -> None:
    registry.assign("tiny", "challenger", None, who="ada")


def bar(registry: Registry) -> None:
    registry.reject("tiny", "2", alias="challenger", who="ada", why="no")


@pytest.mark.parametrize("move", [swap_champion, take_off, bar])
async def test_a_person_who_was_quicker_has_the_last_word(
    move: Callable[[Registry], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between what the guard has read and what it writes, somebody moves an alias."""
    store = memory_store()
    conducted = Conducted(tried(store))
    await conducted.look()
    conducted.see(BETTER)
    registry = conducted.guard._registry
    promote = registry.promote

    def late(*words: Any, **of: Any) -> Any:
        move(Registry(store))
        return promote(*words, **of)

    monkeypatch.setattr(registry, "promote", late)
    assert await conducted.look() is None
    assert [entry.who for entry in Registry(store).history("tiny")][-1] == "ada"
    monkeypatch.undo()
    # What it knew of the trial is forgotten with it.
    assert await conducted.look() is None
    assert conducted.keeper.answer() == "go on"


async def test_many_guards_that_know_the_same_promote_once() -> None:
    store = memory_store()
    tried(store)
    guards = [Conducted(Registry(store)) for _ in range(6)]
    for each in guards:
        await each.look()
        each.see(BETTER)
    actions = await asyncio.gather(*(each.look() for each in guards))
    assert [each for each in actions if each] == ["promote"]
    for each in guards:
        assert await each.look() is None
    entries = Registry(store).history("tiny")
    assert [entry.action for entry in entries].count("promote") == 2
    assert len(entries) == 4


async def test_a_version_that_was_rolled_back_is_never_tried_until_a_person_clears_it() -> None:
    registry = registry_with("1", "2")
    registry.promote("tiny", "1")
    registry.promote("tiny", "2")
    registry.roll_back("tiny", who="guard", automatic=True)
    conducted = Conducted(registry)
    await conducted.look()
    assert conducted.keeper.tried is None
    registry.clear("tiny", "2", who="ada", why="the feed was wrong")
    registry.assign("tiny", "challenger", "2")
    registry.assign("tiny", "shadow", "2")
    await conducted.look()
    conducted.see(BETTER)
    assert await conducted.look() == "promote"


async def test_a_registry_that_is_cut_off_is_asked_again_and_the_trial_is_not_forgotten() -> None:
    store = CutOff(memory_store())
    registry = tried(store)
    conducted = Conducted(registry)
    await conducted.look()
    conducted.see(BETTER)
    store.is_cut_off = True
    assert await conducted.look() is None
    store.is_cut_off = False
    assert await conducted.look() == "promote"


async def test_workers_are_told_again_where_kafka_did_not_take_the_word() -> None:
    conducted = Conducted(tried())
    away = [BrokerError("broker_unreachable", "nobody there", "wait")]
    tell = conducted.tell

    async def tell_later(told: Told) -> None:
        if away:
            raise away.pop()
        await tell(told)

    conducted.guard._tell = tell_later
    await conducted.look()
    conducted.see(BETTER)
    await conducted.look()
    assert conducted.told == []
    await conducted.look()
    assert [told.served["champion"].version for told in conducted.told] == ["2"]
