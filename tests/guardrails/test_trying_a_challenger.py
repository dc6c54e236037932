"""Which trial a model is in, when it answers, and how it goes on in other hands."""

from __future__ import annotations

import pytest

from stream_infer.errors import InvalidDataError
from stream_infer.events.trial_word import decode_trial_word, encode_trial_word
from stream_infer.guardrails.joining import Compared
from stream_infer.guardrails.trial import TrialRules
from stream_infer.guardrails.trying import (
    CLASS_MIN,
    TrialState,
    Tried,
    on_trial,
    state_of,
    trial_word,
)
from stream_infer.registry.registry import Registry
from support.registries import registry_with

RULES = TrialRules(steps_min=50)


def trial_of(registry: Registry) -> Tried | None:
    return on_trial(registry.standing("tiny"), registry.history("tiny"))


def test_a_challenger_is_on_trial_against_the_champion_since_they_met() -> None:
    registry = registry_with("1", "2", "3")
    registry.promote("tiny", "1")
    assert trial_of(registry) is None
    entry = registry.assign("tiny", "challenger", "2", share=0.1)
    assert entry is not None
    registry.assign("tiny", "fast", "3")
    registry.assign("tiny", "challenger", "2", share=0.5)
    assert trial_of(registry) == Tried("1", "2", entry.number, entry.when_ms, paired=False)
    beside = registry.assign("tiny", "shadow", "2")
    assert beside is not None
    registry.assign("tiny", "fast", "1")
    # Nothing of before has a score of the other version beside it.
    assert trial_of(registry) == Tried("1", "2", beside.number, beside.when_ms, paired=True)
    registry.assign("tiny", "shadow", "3")
    assert trial_of(registry) == Tried("1", "2", entry.number, entry.when_ms, paired=False)
    registry.promote("tiny", "3")
    found = trial_of(registry)
    assert found is not None
    assert (found.champion, found.since) == ("3", registry.standing("tiny").number)


def test_a_version_that_was_barred_meanwhile_is_not_on_trial() -> None:
    registry = registry_with("1", "2")
    registry.promote("tiny", "2")
    registry.promote("tiny", "1")
    registry.assign("tiny", "challenger", "2")
    registry.reject("tiny", "2", alias="challenger", who="guard", why="lost")
    assert trial_of(registry) is None


def state(better: float, steps: int = 400, positives: int = 200) -> TrialState:
    compared = [Compared(better, int(n < positives), int(n >= positives)) for n in range(steps)]
    return TrialState().after(compared, RULES)


def test_a_trial_answers_by_its_bets() -> None:
    assert state(0.3).answer(RULES) == "promote"
    assert state(-0.3).answer(RULES) == "reject"
    assert state(0.0).answer(RULES) == "go on"


@pytest.mark.parametrize("positives", [CLASS_MIN - 1, 400 - CLASS_MIN + 1])
def test_labels_of_one_kind_alone_answer_nothing(positives: int) -> None:
    assert state(0.3, positives=positives).answer(RULES) == "go on"


def test_a_trial_goes_on_in_other_hands_as_if_nothing_had_happened() -> None:
    tried = Tried("1", "2", since=3, began_ms=0, paired=True)
    whole = state(0.01).having_read(0, 70).having_read(3, 5)
    word = decode_trial_word(encode_trial_word(trial_word("tiny", tried, whole)))
    again = state_of(word, "tiny", tried)
    assert again == whole
    more = [Compared(0.02, 1, 0)] * 100
    assert again.after(more, RULES) == whole.after(more, RULES)


@pytest.mark.parametrize("other", [("2", "1", 3), ("1", "3", 3), ("1", "2", 4)])
def test_what_was_known_of_another_trial_does_not_count(other: tuple[str, str, int]) -> None:
    tried = Tried("1", "2", since=3, began_ms=0, paired=True)
    champion, challenger, since = other
    word = trial_word("tiny", Tried(champion, challenger, since, 0, paired=True), state(0.3))
    assert state_of(word, "tiny", tried) == TrialState()
    assert state_of(None, "tiny", tried) == TrialState()
    assert state_of(trial_word("other", tried, state(0.3)), "tiny", tried) == TrialState()


@pytest.mark.parametrize("value", [b"", b"{}", b'{"steps": -1}', b"\xff"])
def test_a_word_that_cannot_be_read_is_named(value: bytes) -> None:
    with pytest.raises(InvalidDataError) as caught:
        decode_trial_word(value)
    assert caught.value.code == "trial_word_invalid"


def test_the_reason_says_what_was_seen() -> None:
    tried = Tried("1", "2", since=3, began_ms=0, paired=True)
    text = state(0.3).reason(tried, RULES)
    assert "400 labelled events (200 positive)" in text
    assert "0.3 below that of 1" in text
