from __future__ import annotations

import hashlib
from dataclasses import fields, replace

import numpy as np
import pytest

from stream_infer.errors import ConfigError
from stream_infer.simulators.fraud import (
    ACCOUNT,
    DAY_MS,
    TESTING,
    Transactions,
    World,
    concatenate,
    generate,
    stream,
)

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
PEACE = World(customers=400, terminals=800, days=20, seed=3)
WAR = replace(PEACE, accounts_lost=0.005, cards_tested=0.005)
COLUMNS = [each.name for each in fields(Transactions) if each.name != "id_prefix"]


@pytest.fixture(scope="module")
def rows() -> Transactions:
    return generate(WAR)


def test_a_world_without_attacks_is_the_one_that_models_and_figures_were_made_from() -> None:
    world = generate(World(customers=300, terminals=200, days=4, seed=5))
    content = hashlib.sha256()
    for name in COLUMNS:
        content.update(getattr(world, name).tobytes())
    # Taken before attacks could be asked for. When it changes, so do the models that ship.
    assert content.hexdigest() == (
        "b39b773a1f9a0d385568bb194df360e9cfc7ede39fe279704ae1498122790a31"
    )


def test_attacks_come_on_top_and_change_no_other_payment(rows: Transactions) -> None:
    others = rows.take((rows.fraud != ACCOUNT) & (rows.fraud != TESTING))
    peace = generate(PEACE)
    for name in COLUMNS:
        if name != "number":
            assert getattr(others, name).tobytes() == getattr(peace, name).tobytes()
    assert len(rows) > len(others)
    assert (np.diff(rows.event_time) >= 0).all()
    assert len(set(rows.ids)) == len(rows)


@pytest.mark.parametrize("rows_max", [97, 100_000])
def test_a_stream_of_attacks_is_the_same_world_in_pieces(rows: Transactions, rows_max: int) -> None:
    pieces = concatenate([each.transactions for each in stream(WAR, rows_max)])
    for name in COLUMNS:
        assert getattr(pieces, name).tobytes() == getattr(rows, name).tobytes()


def test_a_taken_over_account_pays_more_and_more_far_away_at_night(rows: Transactions) -> None:
    towns = PEACE.terminals // 40
    mine = rows.take(rows.fraud == ACCOUNT)
    sessions = 0
    for customer in np.unique(mine.customer):
        here = mine.take(mine.customer == customer)
        honest = rows.take((rows.customer == customer) & ~rows.is_fraud)
        home = np.bincount(honest.terminal % towns).argmax() if len(honest) else -1
        for day in np.unique(here.event_time // DAY_MS):
            night = here.take(here.event_time // DAY_MS == day)
            assert 4 <= len(night) <= 8
            assert night.event_time[-1] - night.event_time[0] < HOUR_MS
            assert (night.event_time % DAY_MS < 5 * HOUR_MS).all()
            assert (np.diff(night.amount_cents) > 0).all()
            if len(honest) > 10:
                assert (night.terminal % towns != home).all()
            sessions += 1
    assert sessions > 20


def test_tested_cards_show_tiny_payments_at_one_merchant_and_then_a_large_one(
    rows: Transactions,
) -> None:
    mine = rows.take(rows.fraud == TESTING)
    tests = 0
    for customer in np.unique(mine.customer):
        here = mine.take(mine.customer == customer)
        large = np.flatnonzero(here.amount_cents >= 25_000)
        if len(large) != 1:
            continue  # tested twice
        tiny = here.take(slice(0, int(large[0])))
        assert 8 <= len(tiny) <= 25
        assert (tiny.amount_cents <= 300).all()
        assert len(np.unique(tiny.terminal)) == 1
        assert tiny.event_time[-1] - tiny.event_time[0] <= 10 * MINUTE_MS
        gap = here.event_time[large[0]] - tiny.event_time[-1]
        assert 0 < gap < 45 * MINUTE_MS
        assert len(here) == len(tiny) + 1
        tests += 1
    assert tests > 20


def test_one_merchant_sees_the_tests_of_several_cards_on_a_day() -> None:
    rows = generate(replace(PEACE, cards_tested=0.05, days=5))
    tiny = rows.take((rows.fraud == TESTING) & (rows.amount_cents <= 300))
    for day in np.unique(tiny.event_time // DAY_MS):
        today = tiny.take(tiny.event_time // DAY_MS == day)
        assert len(np.unique(today.terminal)) <= 3
        assert len(np.unique(today.customer)) > 5


def test_attacks_come_as_often_as_asked_for() -> None:
    rows = generate(replace(PEACE, days=60, accounts_lost=0.01, cards_tested=0.01))
    # nights of a takeover: one to three, two on average
    nights = {
        (customer, day)
        for customer, day in zip(
            rows.customer[rows.fraud == ACCOUNT].tolist(),
            (rows.event_time[rows.fraud == ACCOUNT] // DAY_MS).tolist(),
            strict=True,
        )
    }
    assert len(nights) == pytest.approx(0.01 * 400 * 60 * 2, rel=0.15)
    large = (rows.fraud == TESTING) & (rows.amount_cents >= 25_000)
    assert large.sum() == pytest.approx(0.01 * 400 * 60, rel=0.2)


def test_every_attack_is_labelled_after_the_delay(rows: Transactions) -> None:
    attacks = rows.take(rows.fraud >= ACCOUNT)
    delay = attacks.label_time - attacks.event_time
    assert delay.min() >= WAR.label_delay_ms
    assert delay.max() <= WAR.label_delay_ms + WAR.label_spread_ms


def test_attacks_on_one_customer_of_one_terminal_work() -> None:
    rows = generate(World(customers=1, terminals=1, days=9, accounts_lost=1.0, cards_tested=1.0))
    assert set(rows.terminal_ids) == {"m0"}
    assert {ACCOUNT, TESTING} <= set(rows.fraud.tolist())


@pytest.mark.parametrize("change", [{"accounts_lost": -0.1}, {"cards_tested": 1.5}])
def test_an_impossible_share_of_attacks_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="shares of the customers"):
        World(**change)  # type: ignore[arg-type]  # numbers, mypy sees all fields
