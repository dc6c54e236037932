"""What a payment sees at its terminal, where the log has payments and labels out of step.

The log of terminals merges partitions that are read in step to an hour only. In a file the same
records stand in order of time; features of both must be the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_infer.durations import parse_duration
from stream_infer.features.fold import StageFold
from stream_infer.features.plan import compile_plan
from stream_infer.payments import habit, known_frauds
from stream_infer.pipelines.fraud import LABEL_DELAY
from stream_infer.pipelines.fraud_history import pipeline
from support.columns import Row, columns_of, label_row

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
SKEW_MS = HOUR_MS
START_MS = 1_522_540_800_000
ENTITIES = ("customer_id", "terminal_id")
STAGE = compile_plan(pipeline).stages[1]
FRAUDS = STAGE.names.index("TERMINAL_ID_KNOWN_FRAUDS")
SINCE = STAGE.names.index("TERMINAL_ID_DAYS_SINCE_FRAUD")


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment, what it turns out to be, and when that is known."""

    id: str
    time: int
    terminal: str
    ratio: float
    fraud: int
    known: int


def payments(seed: int) -> list[Payment]:
    """Draw fifty days of three terminals, often many payments in one hour."""
    rng = np.random.default_rng(seed)
    n = 400
    hours = np.sort(rng.integers(0, 50 * 24, n))
    waits = rng.integers(1, 7 * 24 - 1, n)
    return [
        Payment(
            id=f"p{i}",
            time=START_MS + int(hours[i]) * HOUR_MS,
            terminal=f"t{rng.integers(3)}",
            ratio=float(rng.choice([1.0, 1.0, 1.0, 5.0])),
            fraud=int(rng.random() < 0.3),
            known=START_MS + int(hours[i] + waits[i]) * HOUR_MS,
        )
        for i in range(n)
    ]


def folded(made: list[Payment], lags: NDArray[np.int64]) -> dict[str, bytes]:
    """Return each payment's features.

    lags  (2, n) how much later than its time each payment and each label stands in the log
    """
    log: list[tuple[int, int, Payment, Row]] = []
    for payment, later, label_later in zip(made, *lags.tolist(), strict=True):
        keys = {"customer_id": "c", "terminal_id": payment.terminal}
        event = Row(payment.time, payment.id, keys, {"amount": 100})
        label = label_row(payment.time, payment.id, keys, payment.fraud, payment.known)
        log.append((payment.time + later, 1, payment, event))
        log.append((payment.known + label_later, 0, payment, label))
    log.sort(key=lambda each: each[:2])
    columns = columns_of([row for *_, row in log], ENTITIES, ("amount",))
    earlier = np.zeros((len(log), len(STAGE.earlier)))
    earlier[:, STAGE.earlier.index(habit.NAMES[0])] = [each.ratio for _, _, each, _ in log]
    said = StageFold(STAGE).fold(replace(columns, features=earlier)).features
    return {
        each.id: said[at].tobytes() for at, (_, is_event, each, _) in enumerate(log) if is_event
    }


@pytest.mark.parametrize("seed", range(4))
def test_features_are_those_of_a_file_where_partitions_are_an_hour_apart(seed: int) -> None:
    made = payments(seed)
    in_order = folded(made, np.zeros((2, len(made)), np.int64))
    rng = np.random.default_rng(seed)
    lags = rng.integers(0, SKEW_MS, (2, len(made)))
    assert folded(made, lags) == in_order


def test_frauds_known_of_payments_seven_days_old_are_counted_and_no_others() -> None:
    made = payments(seed=9)
    said = folded(made, np.zeros((2, len(made)), np.int64))
    for payment in made:
        frauds = [
            each.time
            for each in made
            if each.terminal == payment.terminal
            and each.fraud
            and each.ratio <= known_frauds.EXPLAINED
            and each.time <= payment.time - parse_duration(LABEL_DELAY)
        ]
        values: Any = np.frombuffer(said[payment.id])
        assert values[FRAUDS] == len(frauds)
        since = (payment.time - max(frauds)) / DAY_MS if frauds else known_frauds.DAYS_MAX
        assert values[SINCE] == min(since, known_frauds.DAYS_MAX)


def test_the_terminal_s_labels_are_waited_for_as_long_as_its_rates_do() -> None:
    assert parse_duration(LABEL_DELAY) == known_frauds.DELAY_MS
