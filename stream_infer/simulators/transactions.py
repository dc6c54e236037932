"""Transactions as columns, and the kinds of fraud that may be behind one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

HONEST, AMOUNT, TERMINAL, CARD, ACCOUNT, TESTING = range(6)
FRAUD_NAMES = ("honest", "amount", "terminal", "card", "account", "testing")


@dataclass(slots=True)
class Transactions:
    """``n`` transactions as columns, in event-time order unless a method says otherwise.

    number        (n,) int64, running number in the world; the id is made from it
    event_time    (n,) int64, ms since the epoch
    customer      (n,) int64, index of the customer
    terminal      (n,) int64, index of the terminal
    amount_cents  (n,) int64, at least 1
    fraud         (n,) int8, HONEST or the kind of fraud
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


def _names(prefix: str, index: NDArray[np.int64]) -> list[str]:
    """Return ``prefix + index`` for every row; equal rows share one string."""
    if len(index) == 0:
        return []
    distinct, rows = np.unique(index, return_inverse=True)
    words = np.array([f"{prefix}{each}" for each in distinct.tolist()], dtype=object)
    names: list[str] = words[rows].tolist()
    return names
