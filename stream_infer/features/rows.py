"""Features of the event alone: its values, and what its clock on the wall says."""

from __future__ import annotations

from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from stream_infer.durations import MS_PER_UNIT
from stream_infer.events.columns import EventColumns
from stream_infer.events.measures import NO_VALUE
from stream_infer.features.spec import HourOfDay, Night, RowFeature, Value, Weekend

_DAYS_PER_WEEK = 7
_EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""
_SATURDAY = 5


def _shifted(event_time: NDArray[np.int64], utc_offset_minutes: int) -> NDArray[np.int64]:
    """Return local time in ms since the epoch."""
    return event_time + utc_offset_minutes * MS_PER_UNIT["m"]


def hour_of_day(event_time: NDArray[np.int64], utc_offset_minutes: int) -> NDArray[np.int64]:
    """Return the hour, 0 to 23, (n,) int64; also right before 1970."""
    return _shifted(event_time, utc_offset_minutes) // MS_PER_UNIT["h"] % 24


def day_of_week(event_time: NDArray[np.int64], utc_offset_minutes: int) -> NDArray[np.int64]:
    """Return the day, Monday 0 to Sunday 6, (n,) int64; also right before 1970."""
    days = _shifted(event_time, utc_offset_minutes) // MS_PER_UNIT["d"]
    return (days + _EPOCH_WEEKDAY) % _DAYS_PER_WEEK


def row_feature(
    feature: RowFeature,
    columns: EventColumns,
    scales: dict[str, float],
    measures: tuple[str, ...] = (),
) -> NDArray[np.float64]:
    """Return one feature of every row, (n,) float64.

    scales    value name -> 10 to its declared decimals
    measures  value names that may be absent: NaN then
    """
    match feature:
        case Value():
            units = columns.values[feature.of]
            value = units / scales[feature.of]
            return np.where(units == NO_VALUE, np.nan, value) if feature.of in measures else value
        case HourOfDay():
            hours = hour_of_day(columns.event_time, feature.utc_offset_minutes)
            return hours.astype(np.float64)
        case Weekend():
            days = day_of_week(columns.event_time, feature.utc_offset_minutes)
            return (days >= _SATURDAY).astype(np.float64)
        case Night():
            hours = hour_of_day(columns.event_time, feature.utc_offset_minutes)
            return (hours <= feature.until_hour).astype(np.float64)
        case _:
            assert_never(feature)
