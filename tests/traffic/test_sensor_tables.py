"""Sensor tables from files: what is wrong with one is named by row, sensor and cure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stream_infer.errors import ConfigError, NotFoundError
from stream_infer.features.plan import compile_plan
from stream_infer.pipelines.traffic import traffic_pipeline
from stream_infer.traffic.known import known_sensors
from stream_infer.traffic.sensors import read_sensor_table, sensor_table

HEADER = "sensor_id,corridor,free_flow_kmh,position_km,direction,lanes,upstream,downstream\n"


def row(name: str, **cells: Any) -> dict[str, Any]:
    return {"sensor_id": name, "corridor": "east", "free_flow_kmh": 100, **cells}


def code_of(rows: list[dict[str, Any]]) -> str:
    with pytest.raises(ConfigError) as caught:
        known_sensors(sensor_table(rows))
    assert caught.value.fix
    return caught.value.code


def test_a_csv_and_a_json_file_with_the_same_rows_are_the_same_table(tmp_path: Path) -> None:
    (tmp_path / "road.csv").write_text(
        HEADER + "a,east,100,0.0,N,3,,b\nb,east,80,1.2,N,2,a,c\nc,east,80,2.0,N,2,b;a,\n"
    )
    rows = [
        row("a", lanes=3, direction="N", downstream=["b"]),
        row("b", free_flow_kmh=80, position_km=1.2, direction="N", lanes=2, upstream=["a"],
            downstream=["c"]),
        row("c", free_flow_kmh=80, position_km=2.0, direction="N", lanes=2, upstream=["b", "a"]),
    ]  # fmt: skip
    (tmp_path / "road.json").write_text(json.dumps(rows))
    tables = [read_sensor_table(tmp_path / name) for name in ("road.csv", "road.json")]
    assert tables[0].sensors == tables[1].sensors
    assert tables[0].sensors[2].linked == ("b", "a")


def test_without_neighbours_the_next_ones_along_corridor_and_direction_are_meant() -> None:
    table = sensor_table(
        [
            row("north-2", position_km=2, direction="N"),
            row("north-1", position_km=1, direction="N"),
            row("south-1", position_km=1, direction="S"),
            row("north-3", position_km=3, direction="N"),
        ]
    )
    linked = {sensor.sensor_id: (sensor.upstream, sensor.downstream) for sensor in table.sensors}
    assert linked["north-2"] == (("north-1",), ("north-3",))
    assert linked["south-1"] == ((), ())


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([], "sensor_table_empty"),
        ([row("a"), row("a")], "duplicate_sensor"),
        ([row("a", neighbours="b")], "unknown_neighbour"),
        ([row("a", neighbours="a")], "unknown_neighbour"),
        ([row("a", neighbours="b"), row("b", corridor="west")], "neighbour_in_other_corridor"),
        ([row("a", lanes=0)], "bad_sensor"),
        ([row("a", lanes=2.5)], "bad_sensor"),
        ([row("a", free_flow_kmh=0)], "bad_sensor"),
        ([row("a", free_flow_kmh="fast")], "bad_sensor"),
        ([row("a", measure="noise")], "bad_sensor"),
        ([row("a", lane=3)], "bad_sensor"),
        ([{"sensor_id": "a", "free_flow_kmh": 100}], "bad_sensor"),
        ([row("a", speed_unit="km")], "unknown_unit"),
        ([row("a", flow_unit="veh/5")], "unknown_unit"),
        ([row("a", flow_unit="veh/0s")], "unknown_unit"),
        ([row("a", occupancy_unit="%")], "unknown_unit"),
    ],
)
def test_a_wrong_table_is_named(rows: list[dict[str, Any]], code: str) -> None:
    assert code_of(rows) == code


def test_a_file_that_is_not_there_or_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as missing:
        read_sensor_table(tmp_path / "none.csv")
    assert missing.value.code == "sensor_table_missing"
    (tmp_path / "bad.json").write_text('{"sensor_id": "a"}')
    with pytest.raises(ConfigError) as unreadable:
        read_sensor_table(tmp_path / "bad.json")
    assert unreadable.value.code == "sensor_table_unreadable"


def test_neighbours_of_neighbours_are_linked_once_and_never_the_sensor_itself() -> None:
    known = known_sensors(
        sensor_table([row(name, neighbours=near) for name, near in
                      (("a", "b;c"), ("b", "a;c;d"), ("c", "a;d"), ("d", ""))])
    )  # fmt: skip
    links = known.links[0].tolist()
    assert links[:3] == [1, 2, 3]
    assert set(links[3:]) <= {-1}
    assert known.facts["near"][0] == 2
    assert known.facts["far"][0] == 1


def test_another_table_changes_the_state_s_fingerprint_and_not_the_model_s() -> None:
    one, other = (
        compile_plan(traffic_pipeline(sensor_table([row("a", lanes=lanes)]), model=None))
        for lanes in (2, 3)
    )
    assert one.fingerprint != other.fingerprint
    assert one.stages[0].features_version != other.stages[0].features_version
    assert one.meaning == other.meaning


def test_the_order_of_the_rows_changes_no_fingerprint() -> None:
    rows = [row("a"), row("b")]
    assert sensor_table(rows).digest == sensor_table(rows[::-1]).digest
