"""The sensor table: which sensors there are, where they stand, and who their neighbours are.

A CSV file with a header line, or a JSON file with a list of objects, one row a sensor:

    sensor_id        the sensor's id, as in its readings
    corridor         what it belongs to; readings of one corridor meet in one log
    free_flow_kmh    speed of a vehicle on the empty road, km/h
    position_km      place along the corridor, growing in the direction of travel; default 0
    direction        any word, such as N; default none
    lanes            counted by the detector; default 1
    upstream, downstream, neighbours
                     ids of neighbours, in a CSV with ``;`` between several. Without any of
                     these columns, the next ones along corridor and direction are meant
    speed_unit       km/h (default), mph, m/s
    flow_unit        veh/h (default), or vehicles a duration, such as veh/5m
    occupancy_unit   share (default), percent
    measure          what anomalies and forecasts are about: speed (default), flow, occupancy

The table is part of the feature fingerprint: another one needs its state rebuilt.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from stream_infer.errors import ConfigError, NotFoundError

SENSORS_MAX = 1_000_000
_LISTS = ("upstream", "downstream", "neighbours")

_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Names = Annotated[tuple[str, ...], msgspec.Meta(max_length=64)]


class Sensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of the table; see the module for its fields."""

    sensor_id: _Word
    corridor: _Word
    free_flow_kmh: Annotated[float, msgspec.Meta(gt=0, le=300)]
    position_km: Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)] = 0.0
    direction: str = ""
    lanes: Annotated[int, msgspec.Meta(ge=1, le=32)] = 1
    upstream: _Names = ()
    downstream: _Names = ()
    neighbours: _Names = ()
    speed_unit: str = "km/h"
    flow_unit: str = "veh/h"
    occupancy_unit: str = "share"
    measure: Literal["speed", "flow", "occupancy"] = "speed"

    @property
    def linked(self) -> tuple[str, ...]:
        """Every neighbour once, those downstream first: queues grow from there."""
        return tuple(dict.fromkeys((*self.downstream, *self.upstream, *self.neighbours)))


class SensorTable:
    """Checked sensors, in the order of the file.

    Raises  ConfigError ``sensor_table_empty``, ``duplicate_sensor``, ``unknown_neighbour``,
            ``neighbour_in_other_corridor``
    """

    def __init__(self, sensors: Sequence[Sensor]) -> None:
        self.sensors = tuple(sensors)
        _check(self.sensors)

    def __len__(self) -> int:
        return len(self.sensors)

    @property
    def digest(self) -> str:
        """16 hex digits over the sensors, in whatever order they stand in the file."""
        ordered = sorted(self.sensors, key=lambda sensor: sensor.sensor_id)
        return hashlib.sha256(msgspec.json.encode(ordered)).hexdigest()[:16]


def read_sensor_table(path: Path | str) -> SensorTable:
    """Return the table in a CSV or JSON file.

    Raises  NotFoundError ``sensor_table_missing``; ConfigError ``sensor_table_unreadable``,
            ``bad_sensor`` naming row and field, and what `SensorTable` raises
    """
    place = Path(path)
    try:
        text = place.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise NotFoundError(
            "sensor_table_missing",
            f"The sensor table {str(place)!r} cannot be read: {cause}.",
            "Name a CSV or JSON file with one row a sensor.",
            path=str(place),
        ) from error
    rows = _json_rows(text, place) if place.suffix.lower() == ".json" else _csv_rows(text)
    return sensor_table(rows)


def sensor_table(rows: Iterable[Mapping[str, Any]]) -> SensorTable:
    """Return the table of plain rows; a cell that is None or empty counts as left out.

    Raises  ConfigError ``bad_sensor`` naming row and field, and what `SensorTable` raises
    """
    kept = [{name: cell for name, cell in row.items() if cell not in (None, "")} for row in rows]
    sensors = [_sensor(number, row) for number, row in enumerate(kept, start=1)]
    if not any(name in row for row in kept for name in _LISTS):
        sensors = _neighbours_by_position(sensors)
    return SensorTable(sensors)


def _sensor(number: int, row: Mapping[str, Any]) -> Sensor:
    cells = dict(row)
    for name in _LISTS:
        if isinstance(cells.get(name), str):
            cells[name] = [part.strip() for part in cells[name].split(";") if part.strip()]
    unknown = [name for name in cells if name not in Sensor.__struct_fields__]
    if unknown:
        near = difflib.get_close_matches(str(unknown[0]), Sensor.__struct_fields__, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            "bad_sensor",
            f"Row {number} of the sensor table has an unknown column {unknown[0]!r}.",
            f"{hint}Known are: {', '.join(Sensor.__struct_fields__)}.",
            row=number,
        )
    try:
        return msgspec.convert(cells, Sensor, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(
            "bad_sensor",
            f"Row {number} of the sensor table is wrong: {error}.",
            "Mend the cell; docs/traffic.md lists the columns.",
            row=number,
        ) from error


def _csv_rows(text: str) -> list[dict[str, Any]]:
    # Cells beyond the header stand under None: named as an unknown column is.
    return [
        {str(name).strip(): cell for name, cell in row.items()}
        for row in csv.DictReader(io.StringIO(text))
    ]


def _json_rows(text: str, place: Path) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode(text, type=list[dict[str, Any]])
    except msgspec.DecodeError as error:
        raise ConfigError(
            "sensor_table_unreadable",
            f"The sensor table {str(place)!r} is no JSON list of objects: {error}.",
            "Write one object a sensor, all of them in one list.",
            path=str(place),
        ) from error


def _neighbours_by_position(sensors: list[Sensor]) -> list[Sensor]:
    """Return the sensors with the next ones along corridor and direction as neighbours."""
    roads: dict[tuple[str, str], list[Sensor]] = {}
    for sensor in sensors:
        roads.setdefault((sensor.corridor, sensor.direction), []).append(sensor)
    linked = {}
    for road in roads.values():
        road.sort(key=lambda sensor: (sensor.position_km, sensor.sensor_id))
        for at, sensor in enumerate(road):
            linked[id(sensor)] = msgspec.structs.replace(
                sensor,
                upstream=tuple(each.sensor_id for each in road[max(0, at - 1) : at]),
                downstream=tuple(each.sensor_id for each in road[at + 1 : at + 2]),
            )
    return [linked[id(sensor)] for sensor in sensors]


def _check(sensors: tuple[Sensor, ...]) -> None:
    if not 0 < len(sensors) <= SENSORS_MAX:
        raise ConfigError(
            "sensor_table_empty" if not sensors else "sensor_table_too_large",
            f"The sensor table has {len(sensors)} sensors.",
            f"Give it from 1 to {SENSORS_MAX:,}.",
        )
    name, count = Counter(sensor.sensor_id for sensor in sensors).most_common(1)[0]
    if count > 1:
        raise ConfigError(
            "duplicate_sensor",
            f"The sensor {name!r} stands {count} times in the sensor table.",
            "Leave one row a sensor.",
            sensor=name,
        )
    corridors = {sensor.sensor_id: sensor.corridor for sensor in sensors}
    for sensor in sensors:
        for other in sensor.linked:
            _check_neighbour(sensor, other, corridors)


def _check_neighbour(sensor: Sensor, other: str, corridors: dict[str, str]) -> None:
    if other not in corridors or other == sensor.sensor_id:
        near = difflib.get_close_matches(other, [name for name in corridors if name != other], n=1)
        raise ConfigError(
            "unknown_neighbour",
            f"The sensor {sensor.sensor_id!r} has the neighbour {other!r}, which is "
            + ("itself." if other == sensor.sensor_id else "not in the sensor table."),
            (f"Did you mean {near[0]!r}? " if near else "") + "Add its row, or drop the neighbour.",
            sensor=sensor.sensor_id,
            neighbour=other,
        )
    if corridors[other] != sensor.corridor:
        # They may lie in other partitions, so that one is seen or not by chance.
        raise ConfigError(
            "neighbour_in_other_corridor",
            f"The sensors {sensor.sensor_id!r} and {other!r} are neighbours in two corridors, "
            f"{sensor.corridor!r} and {corridors[other]!r}.",
            "Give both the same corridor: readings meet their neighbours within one only.",
            sensor=sensor.sensor_id,
            neighbour=other,
        )
