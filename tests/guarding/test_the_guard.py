"""The guard moves an alias back by itself, says why, and never fights with another one."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from stream_infer.events.evidence import decode_evidence, encode_evidence
from stream_infer.events.told import Told
from stream_infer.guarding.guard import Guard
from stream_infer.guarding.publishing import evidence_of
from stream_infer.guardrails.deciding import DeciderRules
from stream_infer.registry.registry import Registry
from stream_infer.scoring.reference import describe_rows
from stream_infer.scoring.session import Scorer
from stream_infer.serving.router import Router, Serving
from support.guarding import evidence
from support.onnx_models import FEATURES, FINGERPRINT, write_model
from support.registries import (
    NOON_MS,
    CutOff,
    memory_store,
    model_content,
    registry_with,
)

BAD: dict[str, Any] = {"errors": 500, "rows": 500}
RULES = DeciderRules(held=3, watch_ms=10 * 86_400_000)


class Guarded:
    """A guard and what it told the workers."""

    def __init__(self, registry: Registry) -> None:
        self.told: list[Told] = []
        self.now_ms = NOON_MS + 60_000
        self.guard = Guard(
            registry, "tiny", self.tell, pipeline="p", who="guard of p on w", rules=RULES
        )

    async def tell(self, told: Told) -> None:
        self.told.append(told)

    def see(self, version: str = "2", **of: Any) -> None:
        self.now_ms += 1_000
        self.guard.take(encode_evidence(evidence(version, self.now_ms, **of)))

    async def look(self, times: int = 1) -> bool:
        """Look so many times; say whether anything was decided."""
        return any([await self.guard.look(self.now_ms + n) is not None for n in range(times)])


def promoted(store: Any = None) -> Registry:
    registry = registry_with("1", "2", store=store)
    registry.promote("tiny", "1")
    registry.promote("tiny", "2")
    return registry


async def test_a_version_that_fails_is_rolled_back_and_barred_and_the_history_says_why() -> None:
    registry = promoted()
    guarded = Guarded(registry)
    guarded.see(**BAD)
    assert not await guarded.look(2)
    assert await guarded.look()
    last = registry.history("tiny")[-1]
    assert (last.action, last.automatic, last.who) == ("rollback", True, "guard of p on w")
    assert "it failed at 500 of 1000 rows" in last.why
    standing = registry.standing("tiny")
    assert (standing.champion, list(standing.barred)) == ("1", ["2"])
    assert [(told.number, told.served["champion"].version) for told in guarded.told] == [(3, "1")]
    # What is still on its way of the version that was left moves nothing any more.
    guarded.see(**BAD)
    guarded.see("1", **BAD)
    assert not await guarded.look(5)


async def test_a_version_that_is_well_stays() -> None:
    registry = promoted()
    guarded = Guarded(registry)
    for _ in range(10):
        guarded.see("1")
        guarded.see("2")
    assert not await guarded.look(5)
    assert len(registry.history("tiny")) == 2


async def test_a_challenger_that_fails_is_taken_off() -> None:
    registry = registry_with("1", "2")
    registry.promote("tiny", "1")
    registry.assign("tiny", "challenger", "2", share=0.1)
    guarded = Guarded(registry)
    guarded.see("1")
    guarded.see("2", **BAD)
    assert await guarded.look(3)
    standing = registry.standing("tiny")
    assert (standing.champion, standing.aliases.get("challenger")) == ("1", None)
    assert list(standing.barred) == ["2"]
    assert guarded.told[-1].served.keys() == {"champion"}


async def test_many_guards_at_once_move_an_alias_once() -> None:
    store = memory_store()
    promoted(store)
    all_guarded = [Guarded(Registry(store)) for _ in range(6)]
    for each in all_guarded:
        each.see(**BAD)
        await each.look(2)
    decided = await asyncio.gather(*(each.look() for each in all_guarded))
    assert sum(decided) == 1
    for each in all_guarded:
        each.see(**BAD)
        assert not await each.look(5)
    assert [entry.action for entry in Registry(store).history("tiny")] == [
        "promote",
        "promote",
        "rollback",
    ]


async def test_a_person_who_was_quicker_has_the_last_word() -> None:
    store = memory_store()
    registry = promoted(store)
    guarded = Guarded(Registry(store))
    guarded.see(**BAD)
    await guarded.look(2)
    registry.roll_back("tiny", who="ada")
    assert not await guarded.look()
    assert [entry.who for entry in registry.history("tiny")][-1] == "ada"


async def test_a_registry_that_is_cut_off_is_asked_again_at_the_next_look() -> None:
    store = CutOff(memory_store())
    registry = promoted(store)
    guarded = Guarded(registry)
    guarded.see(**BAD)
    await guarded.look(2)
    store.is_cut_off = True
    assert not await guarded.look(2)
    store.is_cut_off = False
    assert await guarded.look()
    assert registry.standing("tiny").champion == "1"


@pytest.mark.parametrize("value", [None, b"", b"{}", b'{"rows": -1}', b"\xff"])
async def test_a_record_that_is_no_evidence_is_passed_over(value: bytes | None) -> None:
    guarded = Guarded(promoted())
    guarded.guard.take(value)
    guarded.see(**BAD)
    assert await guarded.look(3)


async def test_evidence_of_other_pipelines_and_models_is_not_looked_at() -> None:
    guarded = Guarded(promoted())
    guarded.see(**BAD, pipeline="other")
    guarded.see(**BAD, model="other")
    assert not await guarded.look(5)


def test_what_a_worker_saw_is_told_by_version(tmp_path: Any) -> None:
    matrix = np.random.default_rng(1).uniform(0, 50, (2_000, 3))
    scorers = [
        Scorer(
            write_model(
                tmp_path / version,
                model_content(number),
                version=version,
                reference=describe_rows(FEATURES, matrix),
            ),
            FEATURES,
            FINGERPRINT,
        )
        for number, version in enumerate(("1", "2"), 1)
    ]
    router = Router(Serving(scorers[0], scorers[1], 0.5), counts=True)
    router.route([f"k{n}" for n in range(2_000)], matrix)
    found = evidence_of(router.take(), router, pipeline="p", worker="w", at_ms=NOON_MS)
    assert {each.role: each.version for each in found} == {"champion": "1", "challenger": "2"}
    assert sum(each.rows for each in found) == 2_000
    for each in found:
        assert decode_evidence(encode_evidence(each)) == each
        assert set(each.features) == set(FEATURES)
        assert sum(each.features["amount"].counts) <= 256
    assert router.take() == {}
