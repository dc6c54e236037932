"""Units in which sensors send, and what turns them into the contract's own.

The contract's units are km/h, vehicles an hour over all lanes, and a share from 0 to 1.
A unit is declared per sensor, in the table: a number alone does not say whether 60 is a
speed in mph or in km/h, so nothing here guesses.
"""

from __future__ import annotations

import difflib
import re

from stream_infer.durations import MS_PER_UNIT, parse_duration
from stream_infer.errors import ConfigError

SPEED_UNITS = {"km/h": 1.0, "mph": 1.609344, "m/s": 3.6}
"""The international mile is 1,609.344 m by definition (1959)."""
OCCUPANCY_UNITS = {"share": 1.0, "percent": 0.01}
FLOW_UNITS = ("veh/h", "veh/15m", "veh/5m", "veh/1m", "veh/30s")
"""Examples: vehicles in any duration. A count per interval of the detector is one of these."""

SPEED_KMH_MAX = 300.0
"""Above it no road vehicle's speed is believable; mostly the unit is another one."""
FLOW_PER_LANE_MAX = 6_000.0
"""Vehicles an hour and lane. Lanes carry 2,400 at best; a count over seconds may be this high."""
OCCUPANCY_MAX = 1.0

_COUNT = re.compile(r"veh/(?P<time>.+)")


def speed_factor(unit: str) -> float:
    """Return what a speed in `unit` is multiplied by to be in km/h.

    >>> speed_factor("m/s")
    3.6
    """
    return _factor(unit, SPEED_UNITS, "speed_unit")


def occupancy_factor(unit: str) -> float:
    """Return what an occupancy in `unit` is multiplied by to be a share."""
    return _factor(unit, OCCUPANCY_UNITS, "occupancy_unit")


def flow_factor(unit: str) -> float:
    """Return what a flow in `unit` is multiplied by to be in vehicles an hour.

    >>> flow_factor("veh/5m")
    12.0
    """
    if unit == "veh/h":
        return 1.0
    match = _COUNT.fullmatch(unit)
    try:
        ms = parse_duration(match["time"]) if match else 0
    except ConfigError:
        ms = 0
    if ms <= 0:
        raise _unknown(unit, FLOW_UNITS, "flow_unit")
    return MS_PER_UNIT["h"] / ms


def _factor(unit: str, known: dict[str, float], field: str) -> float:
    if unit not in known:
        raise _unknown(unit, tuple(known), field)
    return known[unit]


def _unknown(unit: str, known: tuple[str, ...], field: str) -> ConfigError:
    near = difflib.get_close_matches(unit, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return ConfigError(
        "unknown_unit",
        f"{unit!r} is no {field}.",
        f"{hint}Known are: {', '.join(known)}.",
        field=field,
        unit=unit,
    )
