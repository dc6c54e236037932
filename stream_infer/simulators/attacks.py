"""Payments that somebody else makes in a customer's name, on top of the customer's own.

An account that was taken over is used at night, far from home: some payments within an
hour, each larger than the one before. A card whose number was stolen is first tested with
many tiny payments within minutes, at a merchant that day's thieves all use, and when
they pass, a large payment follows elsewhere.

Every attack ends on the day on which it began, so that a day's payments can be put in
order without looking at the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.simulators.habits import Habits

TAKEOVER_NIGHTS = (1, 3)
_HOUR_MS = 3_600_000
_MINUTE_MS = 60_000
_TAKEOVER_PAYMENTS = (4, 8)
_TAKEOVER_FIRST_HOURS = (0.0, 4.0)
_TAKEOVER_FIRST_FACTOR = (1.0, 2.5)
_TAKEOVER_GROWTH = (1.3, 1.8)
_TEST_PAYMENTS = (8, 25)
_TEST_CENTS = (50, 300)
_TEST_MINUTES = (2, 10)
_TEST_MERCHANTS = 3
_LARGE_AFTER_MINUTES = (3, 40)
_LARGE_CENTS = (25_000, 120_000)
CENTS_MAX = 900_000


@dataclass(frozen=True, slots=True)
class Payments:
    """``n`` payments of attackers, in no order.

    time      (n,) int64, ms since midnight
    customer  (n,) int64, whose account or card it is
    terminal  (n,) int64
    cents     (n,) int64
    """

    time: NDArray[np.int64]
    customer: NDArray[np.int64]
    terminal: NDArray[np.int64]
    cents: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.time)


def takeovers(random: np.random.Generator, habits: Habits, victims: NDArray[np.int64]) -> Payments:
    """Return one night's payments from the accounts of these customers."""
    count = len(victims)
    many = random.integers(_TAKEOVER_PAYMENTS[0], _TAKEOVER_PAYMENTS[1] + 1, count)
    begin = random.uniform(*_TAKEOVER_FIRST_HOURS, count) * _HOUR_MS
    first = habits.amount[victims] * random.uniform(*_TAKEOVER_FIRST_FACTOR, count)
    growth = random.uniform(*_TAKEOVER_GROWTH, count)
    attack, rank = _members(many)
    # Equal parts of the hour, each payment somewhere in its own: the order is that of the ranks.
    part = (rank + random.uniform(0.1, 0.9, len(rank))) / many[attack]
    customer = victims[attack]
    return Payments(
        time=(begin[attack] + part * _HOUR_MS).astype(np.int64),
        customer=customer,
        terminal=habits.far_away(random, customer),
        cents=np.minimum(first[attack] * growth[attack] ** rank, CENTS_MAX).astype(np.int64),
    )


def card_tests(random: np.random.Generator, habits: Habits, victims: NDArray[np.int64]) -> Payments:
    """Return one day's payments with the stolen card numbers of these customers."""
    count = len(victims)
    many = random.integers(_TEST_PAYMENTS[0], _TEST_PAYMENTS[1] + 1, count)
    begin = random.uniform(0, 23, count) * _HOUR_MS
    length = random.uniform(*_TEST_MINUTES, count) * _MINUTE_MS
    merchants = random.integers(0, habits.terminals, _TEST_MERCHANTS)
    merchant = merchants[random.integers(0, _TEST_MERCHANTS, count)]
    attack, rank = _members(many)
    part = (rank + random.uniform(0.0, 1.0, len(rank))) / many[attack]
    tiny = random.integers(_TEST_CENTS[0], _TEST_CENTS[1] + 1, len(attack))
    after = random.uniform(*_LARGE_AFTER_MINUTES, count) * _MINUTE_MS
    large = random.uniform(*_LARGE_CENTS, count)
    return Payments(
        time=np.concatenate([begin[attack] + part * length[attack], begin + length + after]).astype(
            np.int64
        ),
        customer=np.concatenate([victims[attack], victims]),
        terminal=np.concatenate([merchant[attack], habits.far_away(random, victims)]),
        cents=np.concatenate([tiny, large.astype(np.int64)]),
    )


def _members(many: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the attack that each payment belongs to, and its rank within it from 0."""
    attack = np.repeat(np.arange(len(many)), many)
    ends = np.cumsum(many)
    return attack, np.arange(len(attack)) - (ends - many)[attack]
