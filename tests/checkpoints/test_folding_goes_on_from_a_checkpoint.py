"""Fold, write a checkpoint, restore it, fold on: bit for bit as if nothing had been in between."""

from __future__ import annotations

import asyncio
import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from stream_infer.checkpoints.folder import FolderStore
from stream_infer.checkpoints.reading import restore_checkpoint
from stream_infer.checkpoints.writing import write_checkpoint
from stream_infer.dataplane.state import StageState
from stream_infer.events.columns import EventColumns
from stream_infer.events.decode import EventDecoder
from stream_infer.features.plan import StagePlan, compile_plan
from stream_infer.features.table import merge_labels
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.pipelines.traffic import traffic_pipeline
from stream_infer.simulators.fraud import World, stream
from stream_infer.simulators.records import label_columns, transaction_columns
from stream_infer.simulators.transactions import concatenate
from stream_infer.traffic.sensors import sensor_table
from support.checkpoints import draft

MINUTE_MS = 60_000


def payments() -> EventColumns:
    world = World(customers=120, terminals=60, days=40, terminals_lost=0.02)
    slices = list(stream(world))
    events = transaction_columns(concatenate([part.transactions for part in slices]))
    return merge_labels(events, label_columns(concatenate([part.labels for part in slices])))


def readings() -> tuple[StagePlan, EventColumns]:
    rows = [
        {"sensor_id": f"s-{number}", "corridor": "east", "free_flow_kmh": 90, "lanes": 2}
        for number in range(6)
    ]
    plan = compile_plan(traffic_pipeline(sensor_table(rows), model=None))
    random = np.random.default_rng(5)
    records = [
        {
            "sensor_id": f"s-{number}",
            "event_time": 1_767_225_600_000 + slot * 5 * MINUTE_MS,
            "speed": round(float(random.integers(20, 100)), 1),
            "flow": float(random.integers(0, 3_000)),
        }
        for slot in range(400)
        for number in range(6)
        if random.random() < 0.9 and not (number == 3 and 200 < slot < 300)
    ]
    decoded = EventDecoder(plan.pipeline.events).decode([json.dumps(r).encode() for r in records])
    return plan.stages[0], decoded.columns


def cases() -> list[tuple[str, StagePlan, EventColumns]]:
    paid = payments()
    customer, terminal = compile_plan(fraud).stages
    sensors, read = readings()
    return [("customer", customer, paid), ("terminal", terminal, paid), ("traffic", sensors, read)]


CASES = {name: (plan, log) for name, plan, log in cases()}


@pytest.mark.parametrize("share", [0.3, 0.7])
@pytest.mark.parametrize("name", CASES)
def test_a_stage_goes_on_from_its_checkpoint_bit_for_bit(
    name: str, share: float, tmp_path: Path
) -> None:
    plan, log = CASES[name]
    middle = int(len(log) * share)
    whole = StageState(plan)
    whole.fold(log.slice(0, middle))

    expected: list[np.ndarray] = []

    async def through_a_checkpoint() -> StageState:
        store = FolderStore(tmp_path, "payments")
        frames = whole.capture()
        first = next(frames)
        # The stage goes on before most of its state was read.
        expected.append(whole.fold(log.slice(middle, len(log))).folded.features)
        made = await write_checkpoint(store, draft(middle), chain([first], frames))
        await store.publish(made)
        again = StageState(plan)
        await restore_checkpoint(store, made, again)
        return again

    again = asyncio.run(through_a_checkpoint())
    found = again.fold(log.slice(middle, len(log))).folded.features
    np.testing.assert_array_equal(found, expected[0])
    assert again.snapshot() == whole.snapshot()
    assert np.isfinite(found).any()
