"""A simulation as pieces of records, ready to be fed to topics or files.

A piece holds what happens in one stretch of time: events, and the labels and truth that
become known meanwhile. Everything in it is in the order of time, and nothing but events
is later than the piece's last event, unless the piece is the last of its block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from stream_infer.errors import UsageError
from stream_infer.simulators import fraud, traffic
from stream_infer.simulators.records import (
    Records,
    fraud_truth_records,
    label_records,
    reading_records,
    traffic_truth_records,
    transaction_records,
)
from stream_infer.simulators.road_plan import FAULT_NAMES

Role = Literal["events", "labels", "truth"]
ROWS_PER_PIECE = 1_000
"""A millisecond of work: whoever shares the process is not kept waiting longer."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a simulation.

    records  by role; `events` and `truth` are always there, and their timestamps never fall
    kinds    what each truth record is about, such as ``card`` or ``incident``
    """

    records: dict[Role, Records]
    kinds: list[str]

    def count_kinds(self, start: int, end: int) -> Counter[str]:
        """Count the kinds of a stretch of truth records."""
        return Counter(self.kinds[start:end])


def fraud_pieces(
    world: fraud.World, *, since_ms: int | None = None, rows_max: int = ROWS_PER_PIECE
) -> Iterator[Piece]:
    """Yield the payments of a world, with labels and truth.

    since_ms  leave out what happened before
    """
    since_ms = world.start_ms if since_ms is None else since_ms
    for part in fraud.stream(world, rows_max):
        made = part.transactions.take(part.transactions.event_time >= since_ms)
        known = part.labels.take(part.labels.event_time >= since_ms)
        if len(made) + len(known):
            yield Piece(
                {
                    "events": transaction_records(made),
                    "labels": label_records(known),
                    "truth": fraud_truth_records(made),
                },
                [fraud.FRAUD_NAMES[kind] for kind in made.fraud[made.is_fraud].tolist()],
            )


def traffic_pieces(
    roads: traffic.Roads,
    *,
    rows_max: int = ROWS_PER_PIECE,
    note: Callable[[traffic.Readings], None] = lambda _readings: None,
) -> Iterator[Piece]:
    """Yield the readings of roads, with the truth about incidents and faults.

    note  called with each piece's readings: the true speeds in them are on no topic
    """
    sensor_ids = [str(row["sensor_id"]) for row in traffic.sensor_table(roads)]
    for part in traffic.stream(roads, rows_max):
        note(part.readings)
        begins = sorted(
            [(each.start_ms, "incident") for each in part.incidents]
            + [(each.start_ms, FAULT_NAMES[each.kind]) for each in part.faults],
            key=lambda pair: pair[0],
        )
        yield Piece(
            {
                "events": reading_records(part.readings, sensor_ids),
                "truth": traffic_truth_records(part.incidents, part.faults, sensor_ids),
            },
            [kind for _, kind in begins],
        )


def whole_days(start_ms: int, days: float) -> tuple[int, int]:
    """Return the midnight at or before `start_ms` and how many days from it are needed.

    days  from `start_ms` on; more than zero
    """
    if not 0 < days <= 36_500:
        raise UsageError(
            "days_impossible", f"{days:g} days cannot be simulated.", "Give --days up to 36500."
        )
    midnight = start_ms - start_ms % fraud.DAY_MS
    return midnight, int(np.ceil((start_ms - midnight) / fraud.DAY_MS + days))


def until(pieces: Iterator[Piece], end_ms: int) -> Iterator[Piece]:
    """Yield the pieces up to, and without, what happens at `end_ms`."""
    for piece in pieces:
        events = piece.records["events"].timestamps
        if not events or events[-1] < end_ms:
            yield piece
            continue
        records = {role: _before(each, end_ms) for role, each in piece.records.items()}
        yield replace(piece, records=records, kinds=piece.kinds[: len(records["truth"])])
        return


def _before(records: Records, end_ms: int) -> Records:
    count = int(np.searchsorted(records.timestamps, end_ms))
    return Records(records.keys[:count], records.values[:count], records.timestamps[:count])
