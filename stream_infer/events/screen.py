"""Events from the future: a wrong clock must not move the partition's.

An event far ahead of the time its record was written would push the window of its
key, and the clock of its partition, past everything honest that follows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NO_TIMESTAMP = -1
"""Timestamp of a record that has none (message formats before Kafka 0.10)."""


def screen_future(
    event_time: NDArray[np.int64], record_timestamp: NDArray[np.int64], future_max_ms: int
) -> NDArray[np.bool_]:
    """Return (n,) bool: which events lie more than `future_max_ms` ahead of their record.

    event_time        (n,) int64 ms since the epoch
    record_timestamp  (n,) int64 ms since the epoch (in a declared replay, the replay's clock);
                      a record without one (-1) cannot be judged and passes
    """
    judged = record_timestamp != NO_TIMESTAMP
    ahead: NDArray[np.bool_] = (event_time - record_timestamp > future_max_ms) & judged
    return ahead
