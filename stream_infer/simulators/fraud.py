"""Card transactions with frauds, by seed: a small world whose people have habits.

Customers live in towns. Each has a usual amount, a pace, an hour of the day and a few
terminals of the town that it prefers; now and then it pays elsewhere. Five things go
wrong, each a `fraud` kind of a transaction:

    AMOUNT    single payments far above what the customer spends
    TERMINAL  a terminal is compromised for two to five weeks: most payments there are frauds
    CARD      a card is compromised for two weeks: a third of its payments are five times as large
    ACCOUNT   an account is taken over for one to three nights: payments far away that grow
    TESTING   a stolen card number is tried with many tiny payments, then a large one follows

The first three change payments that customers make, the last two are payments more
(`stream_infer.simulators.attacks`) and happen only where a world asks for them.

The truth about a transaction becomes known `label_delay_ms` after it, plus up to
`label_spread_ms`. Compromises began before the first day, so that the first day looks
like any other.

Everything is drawn per day from ``(seed, day)``: the same settings give the same world
whether it is generated at once or streamed, on one NumPy release (its generators may
change their streams between releases, NEP 19).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ConfigError
from stream_infer.simulators.attacks import TAKEOVER_NIGHTS, Payments, card_tests, takeovers
from stream_infer.simulators.habits import FAVOURITES, Habits, draw_habits
from stream_infer.simulators.transactions import (
    ACCOUNT,
    AMOUNT,
    CARD,
    FRAUD_NAMES,
    HONEST,
    TERMINAL,
    TESTING,
    Transactions,
    concatenate,
)

__all__ = [
    "ACCOUNT",
    "AMOUNT",
    "CARD",
    "DAY_MS",
    "FRAUD_NAMES",
    "HONEST",
    "TERMINAL",
    "TESTING",
    "Slice",
    "Transactions",
    "World",
    "concatenate",
    "generate",
    "stream",
]


DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_AWAY_SHARE = 0.05
_TERMINAL_DAYS = (14, 35)
_TERMINAL_SHARE = 0.9
_CARD_DAYS = 14
_CARD_SHARE = 1 / 3
_CARD_FACTOR = 5
# Compromises are drawn from so many days before the first one: the longest that may still last.
_WARM_UP_DAYS = _TERMINAL_DAYS[1]
_ATTACKS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Settings of a world; equal settings give equal transactions.

    seed               non-negative
    customers          how many
    terminals          how many
    days               how many days of transactions
    start_ms           first midnight, ms since the epoch
    pace               mean transactions per customer and day
    amount_frauds      share of transactions that are AMOUNT frauds
    terminals_lost     share of terminals that become compromised each day
    cards_lost         share of customers whose card becomes compromised each day
    accounts_lost      share of customers whose account is taken over each day
    cards_tested       share of customers whose card number is tested each day
    label_delay_ms     shortest time from a transaction to its label
    label_spread_ms    longest time on top of it
    id_prefix          opening of every transaction's id; two runs into one topic need two of them
    """

    seed: int = 7
    customers: int = 5_000
    terminals: int = 10_000
    days: int = 60
    start_ms: int = 1_767_225_600_000  # 2026-01-01T00:00:00Z
    pace: float = 2.0
    amount_frauds: float = 0.0006
    terminals_lost: float = 0.0002
    cards_lost: float = 0.0006
    accounts_lost: float = 0.0
    cards_tested: float = 0.0
    label_delay_ms: int = 6 * DAY_MS
    label_spread_ms: int = 12 * _HOUR_MS
    id_prefix: str = "t"

    def __post_init__(self) -> None:
        if self.seed < 0 or self.customers < 1 or self.terminals < 1 or self.days < 0:
            raise ConfigError(
                "world_impossible",
                "A generated world needs a seed of 0 or more, a customer, a terminal and "
                f"no negative number of days; got {self}.",
                "Raise the number that is too low.",
            )
        if not (0 <= self.accounts_lost <= 1 and 0 <= self.cards_tested <= 1):
            raise ConfigError(
                "world_impossible",
                "accounts_lost and cards_tested are shares of the customers, and these are"
                f" none: {self.accounts_lost} and {self.cards_tested}.",
                "Give numbers from 0 to 1.",
            )


@dataclass(slots=True)
class Slice:
    """A stretch of a live world.

    transactions  in event-time order
    labels        transactions whose truth became known since the slice before, in that order
    """

    transactions: Transactions
    labels: Transactions


def generate(world: World) -> Transactions:
    """Return all transactions of the world.

    Cost  about 0.3 µs a transaction at 5,000 customers, 60 bytes each
    """
    return concatenate(list(_days(world)), world.id_prefix)


def stream(world: World, rows_max: int = 1_000) -> Iterator[Slice]:
    """Yield the same world piece by piece, with the labels that became known meanwhile.

    rows_max  transactions per slice; a day's last slice may hold fewer
    Labels that would become known after the last transaction are not yielded.
    Memory is bounded by the transactions of one day and of one label delay.
    """
    waiting = concatenate([], world.id_prefix)
    for day in _days(world):
        waiting = concatenate([waiting, day], world.id_prefix)
        today = waiting.label_time <= day.event_time[-1] if len(day) else waiting.label_time < 0
        due = waiting.take(today).by_label_time()
        waiting = waiting.take(~today)
        done = 0
        for start in range(0, len(day), rows_max):
            piece = day.take(slice(start, start + rows_max))
            until = int(np.searchsorted(due.label_time, piece.event_time[-1], side="right"))
            yield Slice(piece, due.take(slice(done, until)))
            done = until


def _days(world: World) -> Iterator[Transactions]:
    """Yield the transactions of each day, sorted by time."""
    habits = draw_habits(world.seed, world.customers, world.terminals, world.pace)
    attacked = world.accounts_lost > 0 or world.cards_tested > 0
    account_until = np.full(world.customers, -1, np.int64)
    terminal_until = np.full(world.terminals, -1, np.int64)
    card_until = np.full(world.customers, -1, np.int64)
    number = 0
    for day in range(_WARM_UP_DAYS + world.days):
        random = np.random.default_rng([world.seed, 1 + day])
        _compromise(random, terminal_until, world.terminals_lost, day, _TERMINAL_DAYS)
        _compromise(random, card_until, world.cards_lost, day, (_CARD_DAYS, _CARD_DAYS))
        # Draws of their own, so that a world with attacks has the same payments besides them.
        attacks = np.random.default_rng([world.seed, 1 + day, _ATTACKS])
        if attacked:
            _compromise(attacks, account_until, world.accounts_lost, day, TAKEOVER_NIGHTS)
        if day < _WARM_UP_DAYS:
            continue
        start_ms = world.start_ms + (day - _WARM_UP_DAYS) * DAY_MS
        rows = _one_day(world, habits, random, terminal_until >= day, card_until >= day)
        if attacked:
            rows = _attack(world, habits, attacks, rows, account_until >= day)
        rows.number += number
        rows.event_time += start_ms
        rows.label_time += start_ms
        number += len(rows)
        yield rows


def _attack(
    world: World,
    habits: Habits,
    random: np.random.Generator,
    rows: Transactions,
    account_lost: NDArray[np.bool_],
) -> Transactions:
    """Return the day's transactions and those of the attackers, sorted and numbered anew."""
    many = min(int(random.poisson(world.cards_tested * world.customers)), world.customers)
    tested = random.choice(world.customers, many, replace=False)
    parts = [
        rows,
        _as_rows(world, random, takeovers(random, habits, np.flatnonzero(account_lost)), ACCOUNT),
        _as_rows(world, random, card_tests(random, habits, tested), TESTING),
    ]
    both = concatenate(parts, world.id_prefix)
    both = both.take(np.argsort(both.event_time, kind="stable"))
    both.number = np.arange(len(both), dtype=np.int64)
    return both


def _as_rows(
    world: World, random: np.random.Generator, payments: Payments, kind: int
) -> Transactions:
    n = len(payments)
    return Transactions(
        number=np.zeros(n, np.int64),
        event_time=payments.time,
        customer=payments.customer,
        terminal=payments.terminal,
        amount_cents=payments.cents,
        fraud=np.full(n, kind, np.int8),
        label_time=_label_times(world, random, payments.time),
        id_prefix=world.id_prefix,
    )


def _label_times(
    world: World, random: np.random.Generator, time: NDArray[np.int64]
) -> NDArray[np.int64]:
    spread = random.integers(0, world.label_spread_ms, len(time), endpoint=True)
    times: NDArray[np.int64] = time + world.label_delay_ms + spread
    return times


def _compromise(
    random: np.random.Generator,
    until: NDArray[np.int64],
    share: float,
    day: int,
    days: tuple[int, int],
) -> None:
    """Draw who becomes compromised on `day`, and set the last day of it in `until`."""
    many = min(int(random.poisson(share * len(until))), len(until))
    lost = random.choice(len(until), many, replace=False)
    until[lost] = day - 1 + random.integers(days[0], days[1] + 1, many)


def _one_day(
    world: World,
    habits: Habits,
    random: np.random.Generator,
    terminal_lost: NDArray[np.bool_],
    card_lost: NDArray[np.bool_],
) -> Transactions:
    """Return one day's transactions with times since midnight, sorted, numbered from 0."""
    customer = np.repeat(np.arange(world.customers), random.poisson(habits.pace))
    n = len(customer)
    time = random.normal(habits.hour_ms[customer], 3 * _HOUR_MS).astype(np.int64) % DAY_MS
    order = np.argsort(time, kind="stable")
    customer, time = customer[order], time[order]

    # The most used terminal takes 40 % of the payments, the next 40 % of the rest, and so on.
    rank = np.minimum(random.geometric(0.4, n) - 1, FAVOURITES - 1)
    away = random.random(n) < _AWAY_SHARE
    elsewhere = random.integers(0, world.terminals, n)
    terminal = np.where(away, elsewhere, habits.favourites[customer, rank])

    usual = habits.amount[customer]
    cents = usual * random.gamma(4.0, 0.25, n)
    # Drawn for every row, used for few: what one row draws must not hang on another's fate.
    chance, part, excess = random.random(n), random.random(n), random.uniform(4, 10, n)
    fraud = np.zeros(n, np.int8)
    fraud[terminal_lost[terminal] & (part < _TERMINAL_SHARE)] = TERMINAL
    on_card = card_lost[customer] & (part < _CARD_SHARE)
    fraud[on_card] = CARD
    cents[on_card] *= _CARD_FACTOR
    large = chance < world.amount_frauds
    fraud[large] = AMOUNT
    cents[large] = usual[large] * excess[large] + 15_000

    return Transactions(
        number=np.arange(n, dtype=np.int64),
        event_time=time,
        customer=customer,
        terminal=terminal,
        amount_cents=np.maximum(np.rint(cents), 1).astype(np.int64),
        fraud=fraud,
        label_time=_label_times(world, random, time),
        id_prefix=world.id_prefix,
    )
