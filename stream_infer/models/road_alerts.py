"""How good the traffic pipeline's alerts are on generated roads, by what the traffic truly did.

A sensor's place is *slow* where the true speed, without noise and faults, is below 0.6 of
its free-flow speed, whatever the cause: a rush hour's jam is a jam. An alert is right, by kind:

    congestion           the place is slow between 5 minutes before it opened and 15 after
    forecast_congestion  it is slow within 75 minutes; `ahead` where it is not so at the opening
    anomaly              the sensor is faulty or was half an hour ago, or the place is slow
    sensor_silent        the sensor is silent

A group's alert is right when one of the members that it names would be. An incident is
*seen* when it makes its place or one of the three upstream slow while it lasts, and caught
when an alert of congestion or anomaly lies open there within its time and a quarter of an
hour more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.alerts.candidate import Candidate, encode_candidates
from stream_infer.alerts.decisions import Decided
from stream_infer.alerts.declared import compile_alerts
from stream_infer.alerts.maker import CandidateMaker, ScoredRows
from stream_infer.features.fold import StageFold
from stream_infer.features.plan import compile_plan
from stream_infer.features.silence import Silences
from stream_infer.models.alert_run import Raised, raise_alerts, verdicts
from stream_infer.models.traffic import reading_columns
from stream_infer.pipelines.traffic import traffic_pipeline
from stream_infer.scoring.conditions import (
    CONGESTION,
    FORECAST_CONGESTION,
    ROAD_LEVELS,
    ConditionScorer,
)
from stream_infer.scoring.model import Model
from stream_infer.simulators.road_plan import SILENT, Fault, Incident
from stream_infer.simulators.roads import build_network
from stream_infer.simulators.traffic import Readings, Roads, generate, sensor_table, truth
from stream_infer.traffic.sensors import sensor_table as checked_table

SLOW = 0.6
SILENT_ALERT = "sensor_silent"
KINDS = (CONGESTION, FORECAST_CONGESTION, "anomaly", SILENT_ALERT)
_MINUTE_MS = 60_000
_UPSTREAM = 3
_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class RoadRun:
    """Generated roads, what truly happened, and the alerts.

    shares  (sensors, minutes) float64, true speed over free-flow speed; the last known one
            where a sensor says nothing
    """

    roads: Roads
    shares: NDArray[np.float64]
    incidents: list[Incident]
    faults: list[Fault]
    sensors: list[str]
    alerts: list[Raised]


def run_roads(model: Model | None, roads: Roads) -> RoadRun:
    """Let the traffic pipeline judge the roads and raise alerts."""
    rows = sensor_table(roads)
    pipeline = traffic_pipeline(checked_table(rows), model=None)
    if pipeline.alerts is None:
        raise ValueError("the pipeline declares no alerts")
    plan, readings = compile_plan(pipeline), generate(roads)
    alert_plan = compile_alerts(pipeline.alerts, pipeline.name)
    maker = CandidateMaker(
        alert_plan, pipeline.events, plan.feature_names, levels=(*ROAD_LEVELS, "silent")
    )
    scorer, fold = ConditionScorer(plan, model), StageFold(plan.stages[0])
    columns = reading_columns(plan, readings)
    corridors = {str(row["sensor_id"]): str(row["corridor"]) for row in rows}
    sub = alert_plan.kinds[SILENT_ALERT].index

    def batches() -> Iterator[list[bytes]]:
        for first in range(0, len(columns), _ROWS):
            part = columns.slice(first, min(first + _ROWS, len(columns)))
            folded = fold.fold(part)
            part.late, part.duplicate_of = folded.late, folded.duplicate_of
            matrix = plan.matrix(part, folded.features)
            judged = scorer.judge(matrix)
            offsets = np.arange(first, first + len(part))
            made = maker.make(
                ScoredRows(
                    part,
                    pipeline.events.topic,
                    np.zeros(len(part), np.int64),
                    offsets,
                    matrix,
                    Decided(None, {}, {}, frozenset()),
                    levels=judged.alert_levels(),
                )
            )
            found = list(zip(made.rows, made.values, strict=True))
            if folded.silences is not None:
                said = _silent(folded.silences, corridors, sub, first, readings)
                found += zip(folded.silences.rows, encode_candidates(said), strict=True)
            found.sort(key=lambda item: item[0])
            yield [value for _, value in found]

    end_ms = roads.start_ms + roads.minutes * _MINUTE_MS
    alerts = raise_alerts(alert_plan, batches(), end_ms)
    incidents, faults = truth(roads)
    return RoadRun(
        roads,
        _true_shares(roads, readings, rows),
        list(incidents),
        list(faults),
        [str(row["sensor_id"]) for row in rows],
        alerts,
    )


def _silent(
    silences: Silences, corridors: Mapping[str, str], sub: int, first: int, readings: Readings
) -> list[Candidate]:
    """Return a candidate for each silence of a batch that begins with row `first`."""
    return [
        Candidate(
            kind=SILENT_ALERT,
            upstream_topic="silences",
            upstream_partition=0,
            upstream_offset=first + row,
            sub=sub + at,
            event_time=int(readings.time[first + row]),
            entity=name,
            group=corridors[name],
            level=level,
        )
        for at, (row, name, level) in enumerate(
            zip(silences.rows, silences.keys, silences.levels, strict=True)
        )
    ]


def _true_shares(
    roads: Roads, readings: Readings, rows: Sequence[dict[str, Any]]
) -> NDArray[np.float64]:
    shares = np.full((len(rows), roads.minutes + 1), np.nan)
    free = np.array([row["free_flow_kmh"] for row in rows])
    minute = np.clip((readings.time - roads.start_ms) // _MINUTE_MS, 0, roads.minutes)
    shares[readings.sensor, minute] = readings.true_speed / free[readings.sensor]
    shares[:, 0] = np.where(np.isnan(shares[:, 0]), 1.0, shares[:, 0])
    known = np.where(np.isnan(shares), 0, np.arange(shares.shape[1]))
    filled: NDArray[np.float64] = np.take_along_axis(
        shares, np.maximum.accumulate(known, axis=1), axis=1
    )
    return filled


def measure_roads(run: RoadRun, first_ms: int, until_ms: int) -> dict[str, Any]:
    """Return counts of alerts that open, and of incidents that begin, in [first, until)."""
    opened = [each for each in run.alerts if first_ms <= each.opened < until_ms]
    kinds = {}
    for kind in KINDS:
        mine = [each for each in opened if each.alert.kind == kind]
        right = [each for each in mine if _is_right(run, each)]
        kinds[kind] = verdicts(len(right), len(mine) - len(right))
        if kind == FORECAST_CONGESTION:
            kinds[kind]["ahead"] = sum(not _slow(run, each, -5, 0) for each in right)
    return {
        "sensor_hours": len(run.sensors) * (until_ms - first_ms) // 3_600_000,
        "alerts": kinds,
        "incidents": _incidents(run, first_ms, until_ms),
    }


def _members(run: RoadRun, each: Raised) -> list[int]:
    names = each.alert.member_ids if each.is_group else (each.alert.entity,)
    return [run.sensors.index(name) for name in names]


def _slow(run: RoadRun, each: Raised, before: int, after: int) -> bool:
    at = (each.opened - run.roads.start_ms) // _MINUTE_MS
    part = run.shares[_members(run, each), max(0, at + before) : at + after + 1]
    return bool((part < SLOW).any())


def _is_right(run: RoadRun, each: Raised) -> bool:
    kind = each.alert.kind
    if kind == CONGESTION:
        return _slow(run, each, -5, 15)
    if kind == FORECAST_CONGESTION:
        return _slow(run, each, 0, 75)
    members = set(_members(run, each))
    faulty = any(
        fault.sensor in members
        and fault.start_ms <= each.opened <= fault.end_ms + 30 * _MINUTE_MS
        and (fault.kind == SILENT or kind != SILENT_ALERT)
        for fault in run.faults
    )
    return faulty or (kind == "anomaly" and _slow(run, each, -15, 15))


def _incidents(run: RoadRun, first_ms: int, until_ms: int) -> dict[str, Any]:
    begun = [each for each in run.incidents if first_ms <= each.start_ms < until_ms]
    places = [(each, _places(run, each)) for each in begun]
    seen = [(each, at) for each, at in places if _is_seen(run, each, at)]
    delays = [delay for each, at in seen if (delay := _delay(run, each, at)) is not None]
    return {"all": len(begun), "seen": len(seen), "caught": len(delays), "delays_ms": delays}


def _places(run: RoadRun, incident: Incident) -> list[int]:
    """Return the sensor of an incident and the nearest ones upstream of it."""
    network = build_network(run.roads)
    cell = network.nearest(incident.corridor, incident.position_km)
    return [
        place
        for place in range(max(0, cell - _UPSTREAM), cell + 1)
        if network.corridor[place] == incident.corridor
    ]


def _is_seen(run: RoadRun, incident: Incident, places: Sequence[int]) -> bool:
    first, last = (
        max(0, (at - run.roads.start_ms) // _MINUTE_MS)
        for at in (incident.start_ms, incident.end_ms)
    )
    return bool((run.shares[places, first : last + 1] < SLOW).any())


def _delay(run: RoadRun, incident: Incident, places: Sequence[int]) -> int | None:
    """Return how long after its beginning an incident was told of, ms; None if never."""
    told = [
        max(0, each.opened - incident.start_ms)
        for each in run.alerts
        if each.alert.kind in (CONGESTION, "anomaly")
        and each.opened <= incident.end_ms + 15 * _MINUTE_MS
        and each.ended >= incident.start_ms
        and not set(places).isdisjoint(_members(run, each))
    ]
    return min(told, default=None)
