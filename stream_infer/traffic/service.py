"""Level of service, A to F: how a road works for those on it, from one reading.

By density where speed, flow and lanes are known, else by the share of the free-flow speed.

Source  Highway Capacity Manual 2010 (TRB). Density: exhibit 11-5, basic freeway segments,
        11, 18, 26, 35 and 45 passenger cars a mile and lane; here by km, and vehicles
        count as cars, since detectors seldom tell them apart. Share of the free-flow speed:
        exhibit 16-4, urban streets, 85, 67, 50, 40 and 30 percent.
"""

from __future__ import annotations

import math

from stream_infer.traffic.compiled import traffic_part

LEVELS = ("A", "B", "C", "D", "E", "F")

_KM_PER_MILE = 1.609344
DENSITIES = (11 / _KM_PER_MILE, 18 / _KM_PER_MILE, 26 / _KM_PER_MILE, 35 / _KM_PER_MILE,
             45 / _KM_PER_MILE)  # fmt: skip
"""Vehicles a km and lane, up to which A, B, C, D and E reach."""
SHARES = (0.85, 0.67, 0.50, 0.40, 0.30)
"""Shares of the free-flow speed, above which A, B, C, D and E lie."""


@traffic_part
def level_of_service(speed: float, flow: float, lanes: float, free_flow: float) -> float:
    """Return 0 (A) to 5 (F), NaN where no speed is known.

    speed, free_flow  km/h; flow vehicles an hour over all lanes, NaN where it is not known
    """
    if math.isnan(speed):
        return math.nan
    level = 0.0
    # Where nothing moves, flow tells an empty road from a full one as little as 0 / 0 does.
    if flow > 0 and speed > 0:
        density = flow / (speed * lanes)
        for bound in DENSITIES:
            if density > bound:
                level += 1
    else:
        share = speed / free_flow
        for bound in SHARES:
            if share <= bound:
                level += 1
    return level
