"""The step over readings against its slow twin, and against cuts, snapshots and restarts."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.events.columns import EventColumns
from stream_infer.events.decode import EventDecoder
from stream_infer.features.fold import StageFold
from stream_infer.features.plan import Plan, compile_plan
from stream_infer.pipelines.traffic import traffic_pipeline
from stream_infer.traffic.sensors import SensorTable, sensor_table
from support.folds import assert_pieces_fold_alike
from support.traffic_twin import TrafficTwin

START_MS = 1_767_225_600_000
MINUTE_MS = 60_000
TABLE = sensor_table(
    [
        {"sensor_id": "a", "corridor": "east", "free_flow_kmh": 100, "lanes": 2,
         "downstream": "b"},
        {"sensor_id": "b", "corridor": "east", "free_flow_kmh": 80, "upstream": "a",
         "downstream": "c", "lanes": 3},
        {"sensor_id": "c", "corridor": "east", "free_flow_kmh": 50, "upstream": "b",
         "measure": "flow"},
        {"sensor_id": "d", "corridor": "west", "free_flow_kmh": 120, "measure": "occupancy"},
    ]
)  # fmt: skip


def plan_of(table: SensorTable = TABLE) -> Plan:
    return compile_plan(traffic_pipeline(table, model=None))


def columns_of(plan: Plan, readings: list[dict[str, Any]]) -> EventColumns:
    decoded = EventDecoder(plan.pipeline.events).decode([json.dumps(r).encode() for r in readings])
    assert decoded.bad == []
    decoded.columns.source_partition[:] = 0
    decoded.columns.source_offset[:] = decoded.rows
    return decoded.columns


def reading(sensor: str, time: int, **values: float) -> dict[str, Any]:
    return {"sensor_id": sensor, "event_time": time, **values}


def fold_of(readings: list[dict[str, Any]], plan: Plan | None = None) -> np.ndarray:
    plan = plan or plan_of()
    return StageFold(plan.stages[0]).fold(columns_of(plan, readings)).features


def random_readings(n: int, seed: int, step_ms: int) -> list[dict[str, Any]]:
    """Return readings of all sensors, some of them late, some with values absent."""
    random = np.random.default_rng(seed)
    made: dict[tuple[str, int], dict[str, Any]] = {}
    for i in range(n):
        sensor = "abcd"[random.integers(4)]
        late = int(random.integers(0, 14 * MINUTE_MS)) if random.random() < 0.1 else 0
        time = START_MS + i * step_ms - late
        values = {
            "speed": float(np.round(random.choice([20, 55, 90]) + random.integers(0, 3), 1)),
            "flow": float(random.integers(0, 5_000)),
            "occupancy": float(np.round(random.random() * 0.3, 3)),
        }
        kept = [name for name in values if random.random() < 0.8] or ["speed"]
        made[sensor, time] = reading(sensor, time, **{name: values[name] for name in kept})
    return list(made.values())


@pytest.mark.parametrize(("n", "step_ms"), [(900, 20_000), (900, 400_000), (500, 3_000_000)])
def test_every_feature_is_what_the_twin_says(n: int, step_ms: int) -> None:
    plan = plan_of()
    readings = random_readings(n, seed=n + step_ms, step_ms=step_ms)
    found = fold_of(readings, plan)
    twin = TrafficTwin(TABLE)
    for row, item in enumerate(readings):
        values = [item.get(name, np.nan) for name in ("speed", "flow", "occupancy")]
        said = twin.reading(item["sensor_id"], item["event_time"], *values)
        assert set(said) == set(plan.feature_names)
        expected = [said[name] for name in plan.feature_names]
        np.testing.assert_allclose(found[row], expected, rtol=1e-9, atol=1e-11, err_msg=str(row))


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1_000), cuts=st.lists(st.integers(1, 399), max_size=5))
def test_features_depend_on_no_batch_snapshot_or_sweep(seed: int, cuts: list[int]) -> None:
    plan = plan_of()
    columns = columns_of(plan, random_readings(400, seed, 30_000))
    pieces = pairwise([0, *sorted(set(cuts)), len(columns)])
    assert_pieces_fold_alike(plan.stages[0], columns, pieces)


def test_a_sensor_that_was_forgotten_is_seen_by_no_neighbour() -> None:
    day = 24 * 60 * MINUTE_MS
    names = plan_of().feature_names
    late = START_MS + 14 * day + 5 * MINUTE_MS
    readings = [
        reading("a", START_MS, speed=100),
        reading("b", late, speed=40),
        # `a` comes back with a reading from the edge of what may be late: `b` must not see it.
        reading("a", late - 14 * MINUTE_MS, speed=90),
        reading("b", late + 1, speed=40),
    ]
    found = fold_of(readings)
    assert found[1, names.index("near")] == 0.0
    assert found[2, names.index("mean_ever")] == 0.0
    assert found[3, names.index("near")] == pytest.approx(0.9 - 0.5)


def test_a_reading_sent_twice_is_marked_and_changes_nothing() -> None:
    plan = plan_of()
    first = [reading("a", START_MS + i * MINUTE_MS, speed=80 + i) for i in range(5)]
    again = [*first, first[2], reading("a", START_MS + 5 * MINUTE_MS, speed=70)]
    folded = StageFold(plan.stages[0]).fold(columns_of(plan, again))
    assert folded.duplicate_of.tolist() == [-1, -1, -1, -1, -1, 2, -1]
    without = fold_of([*first, again[-1]])
    np.testing.assert_array_equal(folded.features[-1], without[-1])


def test_sensors_of_one_time_are_no_duplicates_of_each_other() -> None:
    plan = plan_of()
    rows = [reading(name, START_MS, speed=50) for name in "abcd"]
    folded = StageFold(plan.stages[0]).fold(columns_of(plan, rows))
    assert folded.duplicate_of.tolist() == [-1] * 4


def test_a_sensor_that_repeats_one_value_for_a_day_says_so() -> None:
    names = plan_of().feature_names
    rows = [reading("a", START_MS + i * 5 * MINUTE_MS, speed=63.5) for i in range(289)]
    found = fold_of(rows)
    assert found[-1, names.index("stuck_readings")] == 288
    assert found[-1, names.index("stuck_minutes")] == 24 * 60


def test_empty_slots_of_the_last_hour_are_counted() -> None:
    names = plan_of().feature_names
    minutes = [0, 5, 10, 15, 50, 60]
    found = fold_of([reading("a", START_MS + m * MINUTE_MS, speed=63.5) for m in minutes])
    # 20 to 45 and 55 are empty: seven of the twelve slots before the last one.
    assert found[-1, names.index("missing_60m")] == 7 / 12


def test_the_usual_day_holds_nothing_of_today() -> None:
    names = plan_of().feature_names
    slots = range(0, 24 * 60 + 30, 5)
    speeds = [50.0 if minutes < 24 * 60 else 100.0 for minutes in slots]
    rows = [
        reading("a", START_MS + minutes * MINUTE_MS, speed=speed)
        for minutes, speed in zip(slots, speeds, strict=True)
    ]
    assert fold_of(rows)[-1, names.index("off_usual")] == -0.5
