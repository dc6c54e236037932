"""Compiles the traffic step once, so that no worker spends its first seconds on it.

python -m stream_infer.traffic.precompile
"""

from __future__ import annotations

import numba
import numpy as np

from stream_infer.traffic.known import FACTS
from stream_infer.traffic.step import NAMES, RECORD, traffic_reading


@numba.njit
def _call(records: np.ndarray, facts: np.ndarray, out: np.ndarray) -> None:
    """Call the step as a fold does, with the very same types."""
    links = np.empty(0, np.int64)
    values = np.full((1, 3), np.nan)
    times = np.zeros(1, np.int64)
    traffic_reading(records[0], records, links, facts[0], times[0], values[0], out[0])


def precompile() -> None:
    """Compile the step and keep its machine code; quick when it is at hand."""
    _call(np.zeros(1, RECORD), np.zeros(1, FACTS), np.empty((1, len(NAMES))))


if __name__ == "__main__":
    precompile()
