"""From generated roads to a forecasting model: rows, inputs, thresholds, figures."""

from __future__ import annotations

from stream_infer.traffic.step import NAMES

NOT_INPUTS = ("level_of_service", "anomaly", "scale", "speed_now", "stuck_readings")
"""What the network is not given: what may be NaN, and what says nothing about what comes."""

INPUTS = tuple(name for name in NAMES if name not in NOT_INPUTS)
"""Features that the network takes."""
