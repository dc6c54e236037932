from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from stream_infer.errors import ConfigError
from stream_infer.pipelines.traffic import built_in_table
from stream_infer.simulators.road_plan import DRIFT, HEALTHY, SILENT, SPIKES, STUCK
from stream_infer.simulators.traffic import (
    Fault,
    Incident,
    Readings,
    Roads,
    Slice,
    concatenate,
    generate,
    sensor_table,
    stream,
    truth,
)
from stream_infer.traffic.sensors import read_sensor_table
from stream_infer.traffic.sensors import sensor_table as checked

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
MONDAY_MS = 1_767_571_200_000  # 2026-01-05T00:00:00Z
CALM = Roads(
    seed=5,
    corridors=2,
    sensors_per_corridor=15,
    start_ms=MONDAY_MS + 11 * HOUR_MS,
    minutes=120,
    incidents_per_corridor_day=0,
    silent_per_sensor_day=0,
    stuck_per_sensor_day=0,
    spikes_per_sensor_day=0,
    drift_per_sensor_day=0,
)
BUSY = replace(
    CALM,
    incidents_per_corridor_day=40,
    silent_per_sensor_day=0.5,
    stuck_per_sensor_day=0.5,
    spikes_per_sensor_day=0.5,
    drift_per_sensor_day=0.5,
)
BLOCKED = Incident(
    corridor=0,
    position_km=sensor_table(CALM)[9]["position_km"],
    start_ms=CALM.start_ms + 30 * MINUTE_MS,
    end_ms=CALM.start_ms + 60 * MINUTE_MS,
    severity=0.85,
)


def same(one: Readings, other: Readings) -> bool:
    return all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes()
        for name in Readings.__dataclass_fields__
    )


def faulty(kind: int, sensor: int = 3, drift_per_hour: float = 0.0) -> tuple[Roads, Fault]:
    fault = Fault(
        sensor=sensor,
        kind=kind,
        start_ms=CALM.start_ms + 25 * MINUTE_MS,
        end_ms=CALM.start_ms + 80 * MINUTE_MS,
        drift_per_hour=drift_per_hour,
    )
    return replace(CALM, faults=(fault,)), fault


def of_sensor(readings: Readings, sensor: int) -> Readings:
    return readings.take(readings.sensor == sensor)


def during(readings: Readings, fault: Fault) -> np.ndarray:
    return (readings.time >= fault.start_ms) & (readings.time < fault.end_ms)


# --- by seed


def test_the_same_seed_gives_the_same_readings() -> None:
    assert same(generate(BUSY), generate(BUSY))


def test_another_seed_gives_other_readings() -> None:
    assert not same(generate(BUSY), generate(replace(BUSY, seed=6)))


@pytest.mark.parametrize("rows_max", [7, 97, 1_000_000])
def test_the_stream_is_the_same_readings_in_pieces(rows_max: int) -> None:
    slices = list(stream(BUSY, rows_max))
    assert same(concatenate([each.readings for each in slices]), generate(BUSY))
    assert all(len(each.readings) <= rows_max for each in slices)


@pytest.mark.parametrize("minutes", [1, 10, 37])
def test_a_longer_run_goes_on_where_a_shorter_one_ends(minutes: int) -> None:
    short = generate(replace(BUSY, minutes=minutes))
    assert same(short, generate(BUSY).take(slice(0, len(short))))
    assert short.time.max() < BUSY.start_ms + minutes * MINUTE_MS


def test_a_streamed_truth_begins_when_it_happens_and_is_whole() -> None:
    slices = list(stream(BUSY, 50))
    incidents, faults = truth(BUSY)
    assert [each for piece in slices for each in piece.incidents] == incidents
    assert [each for piece in slices for each in piece.faults] == faults
    assert min(len(incidents), len(faults)) > 3
    for before, after in pairwise(slices):
        begun: list[Incident | Fault] = [*after.incidents, *after.faults]
        assert all(each.start_ms > before.readings.time[-1] for each in begun)


def test_roads_without_time_have_no_readings() -> None:
    assert len(generate(replace(CALM, minutes=0))) == 0
    assert list(stream(replace(CALM, minutes=0))) == []


# --- what detectors send


def test_each_sensor_reads_once_an_interval_at_its_own_second() -> None:
    readings = generate(CALM)
    assert len(readings) == 30 * 120
    assert (np.diff(readings.time) >= 0).all()
    phases = set()
    for sensor in range(30):
        times = of_sensor(readings, sensor).time
        assert set(np.diff(times).tolist()) == {60_000}
        phases.add(int(times[0]) - CALM.start_ms)
    assert len(phases) > 25


@pytest.mark.parametrize("interval_s", [1, 7, 300, 1_200])
def test_any_interval_is_kept_across_blocks(interval_s: int) -> None:
    readings = of_sensor(generate(replace(CALM, interval_s=interval_s, corridors=1)), 4)
    assert set(np.diff(readings.time).tolist()) == {interval_s * 1_000}


def test_speed_flow_and_occupancy_belong_together() -> None:
    readings = generate(replace(CALM, incidents=(BLOCKED,)))
    lanes = np.array([row["lanes"] for row in sensor_table(CALM)])[readings.sensor]
    counted = readings.flow > 0
    # flow = speed x density; occupancy is density a lane times 6.5 m
    density = readings.occupancy / 0.0065 * lanes
    left, right = readings.flow[counted], (readings.speed * density)[counted]
    assert np.abs(left - right).max() < 0.02 * left.max()
    assert np.corrcoef(left, right)[0, 1] > 0.999
    assert counted.mean() > 0.99


def test_no_reading_of_a_healthy_sensor_is_impossible() -> None:
    readings = generate(replace(CALM, incidents=(BLOCKED,)))
    free = np.array([row["free_flow_kmh"] for row in sensor_table(CALM)])[readings.sensor]
    speed = readings.speed[~np.isnan(readings.speed)]
    assert speed.min() >= 2
    assert (speed <= 1.5 * free[~np.isnan(readings.speed)]).all()
    assert ((readings.occupancy >= 0) & (readings.occupancy <= 1)).all()
    lanes = np.array([row["lanes"] for row in sensor_table(CALM)])[readings.sensor]
    assert (readings.flow / lanes < 3_200).all()
    assert (readings.fault == HEALTHY).all()


def test_noise_shrinks_with_what_is_counted() -> None:
    readings = generate(CALM)
    off = np.abs(readings.speed / readings.true_speed - 1)
    assert 0.002 < off[readings.flow > np.median(readings.flow)].mean() < 0.05


# --- traffic


def test_demand_peaks_twice_on_weekdays_and_once_at_weekends() -> None:
    week = replace(CALM, corridors=1, start_ms=MONDAY_MS, minutes=7 * 1_440, interval_s=300)
    readings = of_sensor(generate(week), 0)
    hour = (readings.time - MONDAY_MS) // HOUR_MS
    flow = np.array([readings.flow[hour == each].mean() for each in range(7 * 24)]).reshape(7, 24)
    for day in flow[:5]:
        assert day[8] > 1.2 * day[12]
        assert day[17] > 1.05 * day[12]
        assert day[3] < 0.3 * day[8]
    for day in flow[5:]:
        assert day[8] < day[13] < 0.8 * flow[0, 8]


def test_an_incident_slows_traffic_upstream_and_not_downstream() -> None:
    readings = generate(replace(CALM, incidents=(BLOCKED,)))
    clear = generate(CALM)
    late = (readings.time >= BLOCKED.end_ms - 10 * MINUTE_MS) & (readings.time < BLOCKED.end_ms)
    for station, slower in ((8, True), (7, True), (10, False), (12, False)):
        here = late & (readings.sensor == station)
        share = readings.true_speed[here].mean() / clear.true_speed[here].mean()
        assert (share < 0.5) if slower else (share > 0.95), (station, share)
    assert same(readings.take(readings.sensor >= 15), clear.take(clear.sensor >= 15))


def test_a_queue_grows_upstream_station_by_station_and_dissolves() -> None:
    readings = generate(replace(CALM, incidents=(BLOCKED,)))
    slow = readings.true_speed < 0.5 * generate(CALM).true_speed
    reached = [
        int(readings.time[slow & (readings.sensor == station)].min()) for station in (9, 8, 7, 6)
    ]
    assert reached == sorted(reached)
    assert reached[-1] - reached[0] > 2 * MINUTE_MS
    assert reached[0] >= BLOCKED.start_ms
    assert readings.time[slow].max() > BLOCKED.end_ms + 2 * MINUTE_MS
    assert not slow[readings.time > BLOCKED.end_ms + 45 * MINUTE_MS].any()


def test_no_vehicle_is_lost_on_a_road_without_exits() -> None:
    # Fewer stations than an interchange needs: what enters must leave, later.
    roads = replace(CALM, corridors=1, sensors_per_corridor=4, start_ms=MONDAY_MS, minutes=1_440)
    jam = Incident(
        corridor=0,
        position_km=sensor_table(roads)[2]["position_km"],
        start_ms=MONDAY_MS + 8 * HOUR_MS,
        end_ms=MONDAY_MS + 9 * HOUR_MS,
        severity=0.9,
    )
    readings = generate(replace(roads, incidents=(jam,)))
    free = generate(roads)
    day = [of_sensor(each, 3).flow.sum() for each in (readings, free)]
    hour = [
        of_sensor(each.take((each.time >= jam.start_ms) & (each.time < jam.end_ms)), 3).flow.sum()
        for each in (readings, free)
    ]
    assert hour[0] < 0.4 * hour[1]
    assert day[0] == pytest.approx(day[1], rel=0.01)


# --- faults


def test_a_silent_sensor_sends_nothing() -> None:
    roads, fault = faulty(SILENT)
    readings, calm = generate(roads), generate(CALM)
    assert not ((readings.sensor == 3) & during(readings, fault)).any()
    assert same(readings, calm.take(~((calm.sensor == 3) & during(calm, fault))))


def test_a_stuck_sensor_repeats_its_last_reading() -> None:
    roads, fault = faulty(STUCK)
    mine, calm = of_sensor(generate(roads), 3), of_sensor(generate(CALM), 3)
    stuck = during(mine, fault)
    before = int(np.flatnonzero(stuck)[0]) - 1
    for name in ("speed", "flow", "occupancy"):
        assert set(getattr(mine, name)[stuck].tolist()) == {getattr(calm, name)[before]}
    assert same(mine.take(~stuck), calm.take(~stuck))
    assert (mine.fault[stuck] == STUCK).all()
    assert (mine.event_time == calm.event_time).all()


def test_a_sensor_that_sticks_between_two_blocks_repeats_what_came_before() -> None:
    fault = Fault(
        sensor=3, kind=STUCK, start_ms=CALM.start_ms + 600_000, end_ms=CALM.start_ms + 2 * HOUR_MS
    )
    mine = of_sensor(generate(replace(CALM, faults=(fault,))), 3)
    assert set(mine.flow[9:].tolist()) == {mine.flow[9]}
    assert len(set(mine.flow[:10].tolist())) > 3


def test_spikes_change_some_readings_far_and_leave_the_others() -> None:
    roads, fault = faulty(SPIKES)
    mine, calm = of_sensor(generate(roads), 3), of_sensor(generate(CALM), 3)
    other = mine.speed != calm.speed
    assert 3 <= other.sum() <= 25
    assert not other[~during(mine, fault)].any()
    assert np.abs(mine.speed - calm.speed)[other].mean() > 20


@pytest.mark.parametrize("gain", [120_000.0, -120_000.0])
def test_a_drifting_clock_shifts_event_times_and_nothing_else(gain: float) -> None:
    roads, fault = faulty(DRIFT, drift_per_hour=gain)
    mine, calm = of_sensor(generate(roads), 3), of_sensor(generate(CALM), 3)
    drift = during(mine, fault)
    off = mine.event_time - mine.time
    assert not off[~drift].any()
    expected = (mine.time[drift] - fault.start_ms) / HOUR_MS * gain
    assert np.abs(off[drift] - expected).max() <= 1
    assert (np.abs(off[drift]) > 0).mean() > 0.9
    assert (mine.time == calm.time).all()
    assert (mine.speed == calm.speed).all()


def test_a_clock_is_never_off_by_as_much_as_an_hour() -> None:
    roads, _ = faulty(DRIFT, drift_per_hour=5.0 * HOUR_MS)
    readings = generate(roads)
    assert np.abs(readings.event_time - readings.time).max() == 50 * MINUTE_MS


# --- rates


def test_incidents_and_faults_come_as_often_as_asked_for() -> None:
    roads = replace(
        CALM,
        corridors=10,
        start_ms=MONDAY_MS,
        minutes=100 * 1_440,
        incidents_per_corridor_day=0.5,
        silent_per_sensor_day=0.02,
        stuck_per_sensor_day=0.01,
    )
    incidents, faults = truth(roads)
    begun = [each for each in incidents if each.start_ms >= roads.start_ms]
    assert len(begun) == pytest.approx(500, rel=0.15)
    kinds = [each.kind for each in faults if each.start_ms >= roads.start_ms]
    assert kinds.count(SILENT) == pytest.approx(300, rel=0.2)
    assert kinds.count(STUCK) == pytest.approx(150, rel=0.25)
    assert set(kinds) == {SILENT, STUCK}
    assert len({each.incident_id for each in incidents}) == len(incidents)


def test_incidents_do_not_hang_on_where_the_run_begins() -> None:
    late = replace(BUSY, start_ms=BUSY.start_ms + HOUR_MS, minutes=60)
    assert truth(late)[0] == [each for each in truth(BUSY)[0] if each.end_ms > late.start_ms]


# --- the sensor table


def test_the_sensor_table_says_who_stands_beside_whom() -> None:
    rows = sensor_table(CALM)
    assert json.loads(json.dumps(rows)) == rows
    assert len({row["sensor_id"] for row in rows}) == 30
    by_id = {row["sensor_id"]: row for row in rows}
    for row in rows:
        if row["downstream"] is not None:
            other = by_id[row["downstream"]]
            assert other["upstream"] == row["sensor_id"]
            assert other["corridor"] == row["corridor"]
            assert other["position_km"] > row["position_km"]
    assert sum(row["upstream"] is None for row in rows) == 2
    assert sum(row["downstream"] is None for row in rows) == 2
    assert {row["direction"] for row in rows} == {"N", "S"}


def test_the_roads_are_the_same_whatever_happens_on_them() -> None:
    assert sensor_table(replace(CALM, seed=99, minutes=1)) == sensor_table(CALM)
    assert sensor_table(replace(CALM, network_seed=8)) != sensor_table(CALM)


def test_fewer_roads_and_sensors_are_the_first_of_more() -> None:
    many = {row["sensor_id"]: row for row in sensor_table(Roads())}
    for row in sensor_table(Roads(corridors=3, sensors_per_corridor=6)):
        same = dict(many[row["sensor_id"]])
        if row["downstream"] is None:
            same["downstream"] = None
        assert row == same


def test_the_table_that_the_traffic_pipeline_ships_with_is_that_of_the_default_roads() -> None:
    assert read_sensor_table(built_in_table()).sensors == checked(sensor_table(Roads())).sensors


def test_one_sensor_on_one_road_works() -> None:
    roads = replace(CALM, corridors=1, sensors_per_corridor=1, minutes=20)
    (row,) = sensor_table(roads)
    assert row["upstream"] is None
    assert row["downstream"] is None
    assert len(generate(roads)) == 20


@pytest.mark.parametrize(
    "change",
    [
        {"seed": -1},
        {"network_seed": -1},
        {"corridors": 0},
        {"sensors_per_corridor": 0},
        {"minutes": -1},
        {"interval_s": 0},
        {"incidents_per_corridor_day": -0.1},
        {"spacing_km": 0.0},
    ],
)
def test_impossible_roads_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError) as refused:
        replace(CALM, **change)  # type: ignore[arg-type]  # numbers, mypy sees all fields
    assert refused.value.fix


def test_an_incident_on_a_road_that_does_not_exist_is_refused() -> None:
    elsewhere = replace(BLOCKED, corridor=2)
    with pytest.raises(ConfigError, match="no such place"):
        generate(replace(CALM, incidents=(elsewhere,)))
    fault = Fault(sensor=30, kind=SILENT, start_ms=0, end_ms=1)
    with pytest.raises(ConfigError, match="no such place"):
        generate(replace(CALM, faults=(fault,)))


def test_a_slice_is_what_a_live_run_has_at_hand() -> None:
    first = next(iter(stream(BUSY, 10)))
    assert isinstance(first, Slice)
    assert len(first.readings) == 10
