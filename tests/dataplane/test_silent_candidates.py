"""Candidates of silent keys stand among those of the rows in the order of the log."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from stream_infer.alerts.candidate import Candidate
from stream_infer.alerts.declared import compile_alerts
from stream_infer.alerts.fold import AlertFold
from stream_infer.alerts.spec import Alerts
from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.build import Parts, build_stages
from stream_infer.dataplane.stage import FeatureStage
from stream_infer.events.internal_encoding import encode_tick
from stream_infer.features.plan import compile_plan
from stream_infer.kafka.topics import pipeline_topics
from stream_infer.observability.meter import StageMeter
from stream_infer.pipelines.traffic import pipeline as traffic
from stream_infer.pipelines.traffic import traffic_pipeline
from stream_infer.settings.worker import WorkerSettings
from stream_infer.traffic.sensors import sensor_table

METER = StageMeter()
MINUTE = 60_000
START_MS = 1_767_225_600_000
LOG = Partition("traffic.by-corridor", 0)


def road(sensors: int, alerts: Alerts | None = traffic.alerts) -> FeatureStage:
    """Return the corridor's stage of a road with so many sensors, and no model."""
    table = sensor_table(
        [
            {"sensor_id": f"s{n}", "corridor": f"road-{n % 2}", "free_flow_kmh": 100, "lanes": 2}
            for n in range(sensors)
        ]
    )
    pipeline = traffic_pipeline(table, model=None, alerts=alerts)
    partitions = {spec.name: 1 for spec in pipeline_topics(pipeline)}
    stages = build_stages(Parts(compile_plan(pipeline), None, partitions, WorkerSettings()))
    for stage in stages:
        if isinstance(stage, FeatureStage) and stage.topic == LOG.topic:
            return stage
    raise LookupError(LOG.topic)


def rekeyed(minutes: range, sensors: range, first: int) -> list[bytes]:
    """Return one reading a minute of each sensor, jammed, as the stage in front writes them."""
    return [
        json.dumps(
            [
                *(1, 0, "sensor-readings", 0, first + at, None, -1, -1),
                *(START_MS + minute * MINUTE + sensor, f"s{sensor}", [f"s{sensor}"]),
                *([5_000, 3_000, 90_000], [], False, -1, -1, 0, "none", None),
            ]
        ).encode()
        for at, (minute, sensor) in enumerate(
            (minute, sensor) for minute in minutes for sensor in sensors
        )
    ]


def batch(values: list[bytes], offset: int) -> RecordBatch:
    return RecordBatch(
        LOG,
        [
            SimpleNamespace(
                offset=offset + at, timestamp=0, timestamp_type=0, key=b"", value=value, headers=()
            )
            for at, value in enumerate(values)
        ],
    )


def candidates(stage: FeatureStage, state: Any, values: list[bytes], offset: int) -> list[Any]:
    [read] = stage.read([batch(values, offset)])
    assert read.bad == []
    [result] = stage.step([(read, state)], METER)
    return [
        json.loads(value or b"")
        for place, writes in result.outputs.items()
        if place.topic == "traffic.conditions"
        for value in writes.values
    ]


def test_they_are_written_in_the_order_by_which_a_fold_knows_repeats() -> None:
    stage = road(4)
    state = stage.open_state(None)
    values = rekeyed(range(20), range(4), 0) + rekeyed(range(20, 40), range(2), 80)
    found = candidates(stage, state, values, 0)
    places = [(each[4], each[5]) for each in found]
    assert places == sorted(set(places))
    silent = [each for each in found if each[1] == "sensor_silent"]
    assert {each[7] for each in silent} == {"s2", "s3"}
    assert {(each[7], each[8]) for each in silent} == {("s2", "road-0"), ("s3", "road-1")}
    # Readings are jammed, so that both kinds stand in one log.
    assert {each[1] for each in found} > {"sensor_silent"}


def test_two_kinds_of_alerts_on_silence_both_open_for_every_key() -> None:
    assert traffic.alerts is not None
    [one] = [kind for kind in traffic.alerts.kinds if kind.name == "sensor_silent"]
    alerts = replace(
        traffic.alerts,
        topic="alerts-traffic",
        kinds=(replace(one, storm=None), replace(one, name="device_lost", open_at=6.0, storm=None)),
    )
    stage = road(4, alerts)
    values = rekeyed(range(20), range(4), 0) + rekeyed(range(20, 40), range(2), 80)
    found = candidates(stage, stage.open_state(None), values, 0)
    places = [(each[4], each[5]) for each in found]
    assert places == sorted(set(places))
    fold = AlertFold(compile_alerts(alerts, "traffic"))
    changes = fold.fold(msgspec.convert(found, list[Candidate]))
    opened = {(c.alert.kind, c.alert.entity) for c in changes if c.alert.change == "opened"}
    assert opened == {
        (kind, sensor) for kind in ("sensor_silent", "device_lost") for sensor in ("s2", "s3")
    }


def test_ten_thousand_sensors_silent_at_once_are_one_tick_and_a_bounded_stream() -> None:
    stage = road(10_000)
    state = stage.open_state(None)
    for minute in range(10):
        values = rekeyed(range(minute, minute + 1), range(10_000), minute * 10_000)
        candidates(stage, state, values, minute * 10_000)
    last = START_MS + 9 * MINUTE
    assert stage.tick(state, last + 2 * MINUTE) is None
    tick = stage.tick(state, last + 4 * MINUTE)
    assert tick is not None
    found = candidates(stage, state, [tick], 100_000)
    assert len(found) == 10_000
    assert {each[4] for each in found} == {100_000}
    assert stage.tick(state, last + 6 * MINUTE) is None
    # Five minutes later they are told once more, for the alert to stay open.
    assert stage.tick(state, last + 10 * MINUTE) is not None


def test_a_tick_of_an_old_time_tells_nothing() -> None:
    stage = road(4)
    state = stage.open_state(None)
    candidates(stage, state, rekeyed(range(20), range(4), 0), 0)
    old = encode_tick(traffic.events, "none", START_MS)
    assert candidates(stage, state, [old], 200) == []
    assert state is not None
    assert state.clock_ms == START_MS + 19 * MINUTE + 3


@pytest.mark.parametrize("stretch", [1, 7, 500])
def test_they_depend_on_no_batch(stretch: int) -> None:
    values = rekeyed(range(20), range(4), 0) + rekeyed(range(20, 40), range(2), 80)
    stage = road(4)
    whole = candidates(stage, stage.open_state(None), values, 0)
    state, found = stage.open_state(None), []
    for start in range(0, len(values), stretch):
        found += candidates(stage, state, values[start : start + stretch], start)
    assert found == whole
