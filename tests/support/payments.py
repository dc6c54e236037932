"""Generated payments in a file, and what a command that learns of them is told about it."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from stream_infer.simulators.fraud import World, generate

WORLD = World(
    seed=3, customers=250, terminals=300, days=34, accounts_lost=0.002, cards_tested=0.002
)
FIELDS = "transaction_id=id,event_time=at:ms,customer_id=who,terminal_id=where,amount=value"
DAYS = ("--train", "2026-01-22..2026-01-28", "--test", "2026-01-31..2026-02-03", "--delay", "2d")
"""Of that world; labels come two days after a payment."""


def write_payments(folder: Path, world: World = WORLD) -> Path:
    """Write a world's payments into a folder, in columns of somebody's own; see `FIELDS`.

    Whether a payment was a fraud says the column ``bad``.
    """
    made = generate(world)
    path = folder / "payments.parquet"
    pl.DataFrame(
        {
            "id": range(len(made)),
            "at": made.event_time,
            "who": made.customer,
            "where": made.terminal,
            "value": made.amount_cents / 100,
            "bad": made.fraud > 0,
        }
    ).write_parquet(path)
    return path
