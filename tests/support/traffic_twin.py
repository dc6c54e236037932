"""The traffic step's slow twin: lists of readings and plain Python, nothing incremental."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from stream_infer.traffic.sensors import Sensor, SensorTable

SLOT_MS = 300_000
HOUR_SLOTS = 12
STALE_MS = 900_000
BINS = 16
FIRST = 150
DENSITIES = tuple(bound / 1.609344 for bound in (11, 18, 26, 35, 45))
SHARES = (0.85, 0.67, 0.50, 0.40, 0.30)


@dataclass
class SensorTwin:
    """Everything one sensor ever said, as (time, speed, flow, occupancy)."""

    readings: list[tuple[int, float, float, float]] = field(default_factory=list)
    shares: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    gone: set[int] = field(default_factory=set)
    newest: int = -(2**62)
    newest_slot: int | None = None
    watched: list[tuple[int, float]] = field(default_factory=list)
    now: float = math.nan
    trend: float = 0.0


class TrafficTwin:
    """Features of readings, one after the other in log order."""

    def __init__(self, table: SensorTable) -> None:
        self.sensors = {sensor.sensor_id: sensor for sensor in table.sensors}
        self.states = {name: SensorTwin() for name in self.sensors}

    def reading(
        self, name: str, time: int, speed: float, flow: float, occupancy: float
    ) -> dict[str, float]:
        sensor, state = self.sensors[name], self.states[name]
        value = {"speed": speed, "flow": flow, "occupancy": occupancy}[sensor.measure]
        scale = {
            "speed": sensor.free_flow_kmh,
            "flow": 2_000.0 * sensor.lanes,
            "occupancy": 0.25,
        }[sensor.measure]
        state.readings.append((time, speed, flow, occupancy))
        slot = time // SLOT_MS
        if state.newest_slot is None or slot > state.newest_slot - HOUR_SLOTS - 1:
            state.newest_slot = slot if state.newest_slot is None else max(state.newest_slot, slot)
            if not math.isnan(value):
                state.shares[slot].append(round(value / scale * 100_000))
        said = {"level_of_service": level(sensor, speed, flow), "scale": scale, "anomaly": 0.0}
        said["stuck_readings"] = said["stuck_minutes"] = 0.0
        if not math.isnan(value):
            said["anomaly"] = surprise([v / scale for _, v in state.watched], value / scale)
            said |= stuck(state.watched, time, value)
            state.watched.append((time, value))
        said |= self._past(sensor, state, time)
        state.newest = max(state.newest, time)
        return said

    def _past(self, sensor: Sensor, state: SensorTwin, time: int) -> dict[str, float]:
        present = state.newest_slot or 0
        shares = past_shares(state, present)
        now = shares[0]
        state.now = now
        speed_now = now if sensor.measure == "speed" else math.nan
        said = dict.fromkeys(self._zeros(), 0.0)
        said |= {"now": now, "usual": now, "speed_now": speed_now}
        angle = 2 * math.pi * ((time % 86_400_000) / 86_400_000)
        said |= {"day_sin": math.sin(angle), "day_cos": math.cos(angle)}
        began = min(t // SLOT_MS for t, *_ in self._entered(state))
        before = [s for s in range(present - HOUR_SLOTS, present) if s >= began]
        empty = [s for s in before if not state.shares.get(s)]
        said["missing_60m"] = len(empty) / len(before) if before else 0.0
        state.trend = 0.0
        if math.isnan(now):
            return said
        changes = [0.0 if math.isnan(s) else s - now for s in shares]
        changes[0] = 0.0
        said |= {f"lag_{5 * lag}m": changes[lag] for lag in range(1, HOUR_SLOTS + 1)}
        for name, slots in (("15m", 3), ("30m", 6), ("60m", 12)):
            said[f"mean_{name}"] = sum(changes[:slots]) / slots
        spread = sum(c * c for c in changes[:12]) / 12 - (sum(changes[:12]) / 12) ** 2
        said["std_60m"] = math.sqrt(max(0.0, spread))
        said["max_60m"], said["min_60m"] = max(changes[:12]), min(changes[:12])
        state.trend = -changes[3]
        said |= usual_day(state, present, now)
        said |= self._links(sensor, time, now)
        return said

    @staticmethod
    def _zeros() -> list[str]:
        lags = [f"lag_{5 * lag}m" for lag in range(1, HOUR_SLOTS + 1)]
        statistics = ["mean_15m", "mean_30m", "mean_60m", "std_60m", "max_60m", "min_60m"]
        usual = ["off_usual", "usual_15m", "usual_30m", "usual_60m", "mean_ever"]
        near = ["near", "near_trend", "near_min", "downstream", "downstream_trend"]
        return [*lags, *statistics, *usual, *near, "far", "far_trend"]

    @staticmethod
    def _entered(state: SensorTwin) -> list[tuple[int, float, float, float]]:
        """Readings that were not too old for the last hour when they came."""
        newest, kept = None, []
        for reading in state.readings:
            slot = reading[0] // SLOT_MS
            if newest is None or slot > newest - HOUR_SLOTS - 1:
                newest = slot if newest is None else max(newest, slot)
                kept.append(reading)
        return kept

    def _links(self, sensor: Sensor, time: int, now: float) -> dict[str, float]:
        near = list(sensor.linked)[:16]
        far: list[str] = []
        for other in near:
            for name in self.sensors[other].linked:
                if name not in (sensor.sensor_id, *near, *far):
                    far.append(name)
        down = [name for name in near if name in sensor.downstream]
        said = {}
        for word, names in (("near", near), ("downstream", down), ("far", far[:32])):
            states = [self.states[name] for name in names]
            fresh = [s for s in states if s.newest >= time - STALE_MS and not math.isnan(s.now)]
            said[word] = sum(s.now for s in fresh) / len(fresh) - now if fresh else 0.0
            said[f"{word}_trend"] = sum(s.trend for s in fresh) / len(fresh) if fresh else 0.0
            if word == "near":
                said["near_min"] = min(s.now for s in fresh) - now if fresh else 0.0
        return said


def past_shares(state: SensorTwin, present: int) -> list[float]:
    """Return the share of each slot of the last hour, the present one first, gaps filled."""
    known, shares = math.nan, []
    for slot in range(present - HOUR_SLOTS, present + 1):
        units = state.shares.get(slot)
        known = sum(units) / (len(units) * 100_000.0) if units else known
        shares.append(known)
    return shares[::-1]


def usual_day(state: SensorTwin, present: int, now: float) -> dict[str, float]:
    """Return what the slots that left the last hour say of this time of day."""
    gone = {
        slot: round(sum(units) / len(units))
        for slot, units in state.shares.items()
        if units and slot < present - HOUR_SLOTS
    }

    def usual(slot: int, otherwise: float) -> float:
        around = {near % 288 for near in range(slot - 2, slot + 3)}
        means = [mean for old, mean in gone.items() if old % 288 in around]
        return sum(means) / (len(means) * 100_000.0) if means else otherwise

    here = usual(present, now)
    said = {"usual": here, "off_usual": here - now}
    for name, ahead in (("15m", 3), ("30m", 6), ("60m", 12)):
        said[f"usual_{name}"] = usual(present + ahead, here) - here
    said["mean_ever"] = sum(gone.values()) / (len(gone) * 100_000.0) - now if gone else 0.0
    return said


def stuck(watched: list[tuple[int, float]], time: int, value: float) -> dict[str, float]:
    """Return for how long the sensor has said this very value."""
    same = []
    for earlier in reversed(watched):
        if earlier[1] != value:
            break
        same.append(earlier[0])
    if not same:
        return {}
    return {"stuck_readings": len(same), "stuck_minutes": max(0, time - same[-1]) / 60_000}


def level(sensor: Sensor, speed: float, flow: float) -> float:
    if math.isnan(speed):
        return math.nan
    if not math.isnan(flow) and flow > 0 and speed > 0:
        density = flow / (speed * sensor.lanes)
        return float(sum(density > bound for bound in DENSITIES))
    return float(sum(speed / sensor.free_flow_kmh <= bound for bound in SHARES))


def surprise(earlier: list[float], value: float) -> float:
    """Return the anomaly score of a value after all earlier ones."""
    if len(earlier) < FIRST:
        return 0.0
    first = [float(_as_float32(v)) for v in earlier[:FIRST]]
    spread = max(max(first) - min(first), 0.05 * max(abs(max(first)), abs(min(first))), 1e-6)
    low, width = min(first) - 0.5 * spread, spread * 2.0 / BINS
    line = [*first, *earlier[FIRST:], value]
    bins = [min(BINS - 1, max(0, math.trunc((v - low) / width))) for v in line]
    kernel = [[math.exp(-abs(i - j)) for j in range(BINS)] for i in range(BINS)]
    kernel = [[cell / sum(row) for cell in row] for row in kernel]
    surprises: list[float] = []
    for at in range(1, len(bins)):
        singles = bins[1:at]
        after = [bins[k] for k in range(1, at) if bins[k - 1] == bins[at - 1]]
        share = sum(kernel[b][bins[at]] for b in singles)
        likely = sum(kernel[b][bins[at]] for b in after)
        any_context = (share + 4 / BINS) / (len(singles) + 4)
        surprises.append(-math.log((likely + 4 * any_context) / (len(after) + 4)))
    last = min(63, int(surprises[-1] * 4))
    before = [min(63, int(s * 4)) for s in surprises[:-1]]
    above = sum(b > last for b in before) + 0.5 * sum(b == last for b in before)
    tail = (above + 1) / (len(before) + 1)
    return 1 - math.exp(-(0.5 * surprises[-1] - 0.5 * math.log(tail)))


def _as_float32(value: float) -> float:
    return float(np.float32(value))
