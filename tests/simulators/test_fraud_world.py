from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from stream_infer.errors import ConfigError
from stream_infer.simulators.fraud import (
    AMOUNT,
    CARD,
    DAY_MS,
    HONEST,
    TERMINAL,
    Transactions,
    World,
    concatenate,
    generate,
    stream,
)

WORLD = World(customers=400, terminals=300, days=40, seed=3)


@pytest.fixture(scope="module")
def transactions() -> Transactions:
    return generate(replace(WORLD, terminals_lost=0.004, cards_lost=0.004, amount_frauds=0.005))


def same(one: Transactions, other: Transactions) -> bool:
    columns = ("number", "event_time", "customer", "terminal", "amount_cents", "fraud")
    return all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes()
        for name in (*columns, "label_time")
    )


def test_the_same_seed_gives_the_same_world() -> None:
    assert same(generate(WORLD), generate(WORLD))


def test_another_seed_gives_another_world() -> None:
    assert not same(generate(WORLD), generate(replace(WORLD, seed=4)))


def test_more_days_go_on_where_fewer_end() -> None:
    short = generate(replace(WORLD, days=10))
    assert same(short, generate(WORLD).take(slice(0, len(short))))


def test_times_rise_within_the_days_asked_for(transactions: Transactions) -> None:
    times = transactions.event_time
    assert (np.diff(times) >= 0).all()
    assert times[0] >= WORLD.start_ms
    assert times[-1] < WORLD.start_ms + WORLD.days * DAY_MS
    assert len(np.unique((times - WORLD.start_ms) // DAY_MS)) == WORLD.days
    assert len(np.unique(times)) > 0.999 * len(times)


def test_ids_are_distinct_and_open_with_the_prefix() -> None:
    ids = generate(replace(WORLD, days=5, id_prefix="run2-")).ids
    assert len(set(ids)) == len(ids)
    assert all(name.startswith("run2-") for name in ids)


def test_customers_and_terminals_stay_within_the_world(transactions: Transactions) -> None:
    assert set(transactions.customer_ids) <= {f"c{index}" for index in range(400)}
    assert set(transactions.terminal_ids) <= {f"m{index}" for index in range(300)}
    assert len(transactions.customer_ids) == len(transactions)
    assert transactions.amount_cents.min() >= 1


def test_a_customer_keeps_to_a_few_terminals(transactions: Transactions) -> None:
    mine = transactions.terminal[transactions.customer == transactions.customer[0]]
    most_used = np.sort(np.bincount(mine))[::-1][:8].sum()
    assert most_used > 0.8 * len(mine)


def test_amount_frauds_are_far_above_what_the_customer_spends(transactions: Transactions) -> None:
    for row in np.flatnonzero(transactions.fraud == AMOUNT)[:20]:
        honest = (transactions.customer == transactions.customer[row]) & ~transactions.is_fraud
        assert transactions.amount_cents[row] > 3 * transactions.amount_cents[honest].mean()
    assert (transactions.fraud == AMOUNT).mean() == pytest.approx(0.005, rel=0.3)


def test_a_compromised_terminal_is_so_for_two_to_five_weeks() -> None:
    world = replace(WORLD, days=200, terminals_lost=0.0005, cards_lost=0, amount_frauds=0)
    rows = generate(world)
    start = world.start_ms
    whole = 0
    for terminal in np.unique(rows.terminal[rows.fraud == TERMINAL]):
        here = rows.terminal == terminal
        days = np.unique((rows.event_time[here & rows.is_fraud] - start) // DAY_MS)
        if days[0] < 36 or days[-1] > 160 or len(days) > 36:
            continue  # began before, lasts beyond, or was compromised twice
        between = here & (rows.event_time >= start + days[0] * DAY_MS)
        between &= rows.event_time < start + (days[-1] + 1) * DAY_MS
        assert days[-1] - days[0] < 35
        assert rows.is_fraud[between].mean() > 0.5
        whole += 1
    assert whole > 3


def test_a_compromised_card_has_large_payments_for_two_weeks() -> None:
    world = replace(WORLD, days=120, terminals_lost=0, cards_lost=0.0005, amount_frauds=0)
    rows = generate(world)
    lost = np.unique(rows.customer[rows.fraud == CARD])
    assert len(lost) > 5
    spans = []
    for customer in lost:
        here = rows.customer == customer
        frauds = here & rows.is_fraud
        times = rows.event_time[frauds]
        spans.append(int(times[-1] - times[0]))
    assert np.median(spans) < 14 * DAY_MS
    factor = rows.amount_cents[rows.is_fraud].mean() / rows.amount_cents[~rows.is_fraud].mean()
    assert 3.5 < factor < 6.5


def test_the_first_day_has_frauds_of_compromises_from_before_it() -> None:
    first = generate(World(days=1))
    assert (first.fraud == TERMINAL).sum() > 0
    assert (first.fraud == CARD).sum() > 0


def test_a_world_without_crime_is_honest() -> None:
    rows = generate(replace(WORLD, terminals_lost=0, cards_lost=0, amount_frauds=0))
    assert (rows.fraud == HONEST).all()


def test_labels_come_after_the_delay_and_before_the_windows_that_need_them(
    transactions: Transactions,
) -> None:
    delay = transactions.label_time - transactions.event_time
    assert delay.min() >= 6 * DAY_MS
    assert delay.max() < 7 * DAY_MS


@pytest.mark.parametrize("rows_max", [1, 97, 100_000])
def test_the_stream_is_the_same_world_in_pieces(rows_max: int) -> None:
    world = replace(WORLD, days=9, customers=100)
    slices = list(stream(world, rows_max))
    assert same(concatenate([each.transactions for each in slices]), generate(world))
    assert all(0 < len(each.transactions) <= rows_max for each in slices)


def test_each_label_is_streamed_once_when_it_becomes_known() -> None:
    world = replace(WORLD, days=12)
    slices = list(stream(world, 50))
    labels = concatenate([each.labels for each in slices])
    whole = generate(world)
    known = whole.label_time <= whole.event_time[-1]
    assert same(labels, whole.take(known).by_label_time())
    assert len(labels) > 0
    for before, after in pairwise(slices):
        assert (after.labels.label_time > before.transactions.event_time[-1]).all()
        assert (after.labels.label_time <= after.transactions.event_time[-1]).all()


def test_a_label_without_delay_comes_with_its_transaction() -> None:
    world = replace(WORLD, days=3, label_delay_ms=0, label_spread_ms=0)
    for piece in stream(world, 13):
        assert same(piece.labels, piece.transactions)


def test_a_world_of_one_customer_and_one_terminal_works() -> None:
    rows = generate(World(customers=1, terminals=1, days=30))
    assert set(rows.terminal_ids) == {"m0"}


def test_a_world_without_days_is_empty() -> None:
    rows = generate(World(days=0))
    assert len(rows) == 0
    assert rows.ids == rows.customer_ids == []
    assert list(stream(World(days=0))) == []


@pytest.mark.parametrize("change", [{"seed": -1}, {"customers": 0}, {"terminals": 0}])
def test_an_impossible_world_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="Raise the number"):
        World(**change)  # type: ignore[arg-type]  # the numbers are ints, mypy sees all fields
