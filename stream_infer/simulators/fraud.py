"""Card transactions with frauds, by seed: a small world whose people have habits.

Customers live in towns. Each has a usual amount, a pace, an hour of the day and a few
terminals of the town that it prefers; now and then it pays elsewhere. Three things go
wrong, each a `fraud` kind of a transaction:

    AMOUNT    single payments far above what the customer spends
    TERMINAL  a terminal is compromised for two to five weeks: most payments there are frauds
    CARD      a card is compromised for two weeks: a third of its payments are five times as large

The truth about a transaction becomes known `label_delay_ms` after it, plus up to
`label_spread_ms`. Compromises began before the first day, so that the first day looks
like any other.

Everything is drawn per day from ``(seed, day)``: the same settings give the same world
whether it is generated at once or streamed, on one NumPy release (its generators may
change their streams between releases, NEP 19).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ConfigError

HONEST, AMOUNT, TERMINAL, CARD = range(4)

DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_TERMINALS_PER_TOWN = 40
_FAVOURITES = 8
_AWAY_SHARE = 0.05
_TERMINAL_DAYS = (14, 35)
_TERMINAL_SHARE = 0.9
_CARD_DAYS = 14
_CARD_SHARE = 1 / 3
_CARD_FACTOR = 5
# Compromises are drawn from so many days before the first one: the longest that may still last.
_WARM_UP_DAYS = _TERMINAL_DAYS[1]


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


@dataclass(slots=True)
class Transactions:
    """``n`` transactions as columns, in event-time order unless a method says otherwise.

    number        (n,) int64, running number in the world; the id is made from it
    event_time    (n,) int64, ms since the epoch
    customer      (n,) int64, index of the customer
    terminal      (n,) int64, index of the terminal
    amount_cents  (n,) int64, at least 1
    fraud         (n,) int8, HONEST, AMOUNT, TERMINAL or CARD
    label_time    (n,) int64, ms since the epoch, when the truth becomes known
    id_prefix     opening of the ids
    """

    number: NDArray[np.int64]
    event_time: NDArray[np.int64]
    customer: NDArray[np.int64]
    terminal: NDArray[np.int64]
    amount_cents: NDArray[np.int64]
    fraud: NDArray[np.int8]
    label_time: NDArray[np.int64]
    id_prefix: str = "t"

    def __len__(self) -> int:
        return len(self.number)

    def take(self, rows: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Transactions:
        """Return the chosen rows, in the order of `rows`."""
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return Transactions(**columns, id_prefix=self.id_prefix)

    def by_label_time(self) -> Transactions:
        """Return the same rows in the order in which their labels become known."""
        return self.take(np.argsort(self.label_time, kind="stable"))

    @property
    def ids(self) -> list[str]:
        """Transaction ids."""
        return [f"{self.id_prefix}{number}" for number in self.number.tolist()]

    @property
    def customer_ids(self) -> list[str]:
        """Customer ids."""
        return _names("c", self.customer)

    @property
    def terminal_ids(self) -> list[str]:
        """Terminal ids."""
        return _names("m", self.terminal)

    @property
    def is_fraud(self) -> NDArray[np.bool_]:
        """(n,) bool, the truth."""
        truth: NDArray[np.bool_] = self.fraud != HONEST
        return truth


_COLUMNS = tuple(each.name for each in fields(Transactions) if each.name != "id_prefix")


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


def concatenate(parts: list[Transactions], id_prefix: str = "t") -> Transactions:
    """Return the rows of all parts, one part after the other."""
    columns: dict[str, Any] = {
        name: np.concatenate(
            [getattr(part, name) for part in parts]
            or [np.zeros(0, np.int8 if name == "fraud" else np.int64)]
        )
        for name in _COLUMNS
    }
    return Transactions(**columns, id_prefix=id_prefix)


@dataclass(frozen=True, slots=True)
class _Habits:
    """What a customer usually does.

    pace        (customers,) float64, transactions per day
    amount      (customers,) float64, mean amount in cents
    hour_ms     (customers,) float64, usual time of day
    favourites  (customers, _FAVOURITES) int64, terminals, the most used first
    """

    pace: NDArray[np.float64]
    amount: NDArray[np.float64]
    hour_ms: NDArray[np.float64]
    favourites: NDArray[np.int64]


def _habits(world: World) -> _Habits:
    random = np.random.default_rng([world.seed, 0])
    customers = world.customers
    towns = max(1, world.terminals // _TERMINALS_PER_TOWN)
    town = random.integers(0, towns, customers)
    # Terminal i stands in town i % towns, so every town has some and the last has no fewer.
    per_town = max(1, world.terminals // towns)
    chosen = random.integers(0, per_town, (customers, _FAVOURITES))
    return _Habits(
        pace=world.pace * random.gamma(2.0, 0.5, customers),
        amount=np.clip(random.lognormal(np.log(4_000.0), 0.6, customers), 500, 12_000),
        hour_ms=np.clip(random.normal(14, 4, customers), 0, 24) * _HOUR_MS,
        favourites=chosen * towns + town[:, None],
    )


def _days(world: World) -> Iterator[Transactions]:
    """Yield the transactions of each day, sorted by time."""
    habits = _habits(world)
    terminal_until = np.full(world.terminals, -1, np.int64)
    card_until = np.full(world.customers, -1, np.int64)
    number = 0
    for day in range(_WARM_UP_DAYS + world.days):
        random = np.random.default_rng([world.seed, 1 + day])
        _compromise(random, terminal_until, world.terminals_lost, day, _TERMINAL_DAYS)
        _compromise(random, card_until, world.cards_lost, day, (_CARD_DAYS, _CARD_DAYS))
        if day < _WARM_UP_DAYS:
            continue
        start_ms = world.start_ms + (day - _WARM_UP_DAYS) * DAY_MS
        rows = _one_day(world, habits, random, terminal_until >= day, card_until >= day)
        rows.number += number
        rows.event_time += start_ms
        rows.label_time += start_ms
        number += len(rows)
        yield rows


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
    habits: _Habits,
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
    rank = np.minimum(random.geometric(0.4, n) - 1, _FAVOURITES - 1)
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
        label_time=time
        + world.label_delay_ms
        + random.integers(0, world.label_spread_ms, n, endpoint=True),
        id_prefix=world.id_prefix,
    )


def _names(prefix: str, index: NDArray[np.int64]) -> list[str]:
    """Return ``prefix + index`` for every row; equal rows share one string."""
    if len(index) == 0:
        return []
    distinct, rows = np.unique(index, return_inverse=True)
    words = np.array([f"{prefix}{each}" for each in distinct.tolist()], dtype=object)
    names: list[str] = words[rows].tolist()
    return names
