"""What customers usually do: their pace, amounts, hours and terminals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FAVOURITES = 8
_TERMINALS_PER_TOWN = 40
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Habits:
    """What each customer usually does.

    pace        (customers,) float64, transactions per day
    amount      (customers,) float64, mean amount in cents
    hour_ms     (customers,) float64, usual time of day
    favourites  (customers, FAVOURITES) int64, terminals, the most used first
    towns       how many; terminal i stands in town i % towns
    terminals   how many
    """

    pace: NDArray[np.float64]
    amount: NDArray[np.float64]
    hour_ms: NDArray[np.float64]
    favourites: NDArray[np.int64]
    towns: int
    terminals: int

    def far_away(
        self, random: np.random.Generator, customer: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Draw a terminal for each of these customers, in another town if there is one."""
        terminal = random.integers(0, self.terminals, len(customer))
        at_home = (terminal - self.favourites[customer, 0]) % self.towns == 0
        if self.towns > 1:
            terminal = np.where(at_home, (terminal + 1) % self.terminals, terminal)
        return terminal


def draw_habits(seed: int, customers: int, terminals: int, pace: float) -> Habits:
    """Draw the habits of a world's customers; `pace` is their mean."""
    random = np.random.default_rng([seed, 0])
    towns = max(1, terminals // _TERMINALS_PER_TOWN)
    town = random.integers(0, towns, customers)
    # Terminal i stands in town i % towns, so every town has some and the last has no fewer.
    per_town = max(1, terminals // towns)
    chosen = random.integers(0, per_town, (customers, FAVOURITES))
    return Habits(
        pace=pace * random.gamma(2.0, 0.5, customers),
        amount=np.clip(random.lognormal(np.log(4_000.0), 0.6, customers), 500, 12_000),
        hour_ms=np.clip(random.normal(14, 4, customers), 0, 24) * _HOUR_MS,
        favourites=chosen * towns + town[:, None],
        towns=towns,
        terminals=terminals,
    )
