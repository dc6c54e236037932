"""Which days a model is fitted on, validated on and measured on.

Days follow each other as they would for somebody who trains on a live system: a label takes
`delay` to come, so the days that are scored begin that long after the last day fitted on.
Choices are made on earlier days that lie to each other in the same way::

    |  fit 2  |  delay  | validate 2 |
         |  fit 1  |  delay  | validate 1 |
                                |  train  |  delay  |  test  |

No fold reaches behind the last training day.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import UsageError

DAY_MS = 86_400_000
FOLDS = 3
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class DayRange:
    """Days from `first` to `last`, both included, counted from 1970-01-01 (UTC)."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{day_text(self.first)}..{day_text(self.last)}"

    def shifted(self, days: int) -> DayRange:
        """Return the same number of days, so many later."""
        return DayRange(self.first + days, self.last + days)

    def holds(self, days: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say which days lie inside, (n,) bool."""
        inside: NDArray[np.bool_] = (days >= self.first) & (days <= self.last)
        return inside


def day_text(day: int) -> str:
    """Return a day as people write it.

    >>> day_text(0)
    '1970-01-01'
    """
    return (_EPOCH + timedelta(days=day)).isoformat()


def parse_days(text: str, what: str) -> DayRange:
    """Return the days of ``2018-07-25..2018-07-31``; one day alone is a range of one.

    what    the option, for the error
    Raises  UsageError ``bad_days``
    """
    first, dots, last = text.partition("..")
    try:
        days = DayRange(_day(first), _day(last if dots else first))
    except ValueError:
        raise _bad_days(text, what, "is no range of days") from None
    if days.last < days.first:
        raise _bad_days(text, what, "ends before it begins")
    return days


def _day(text: str) -> int:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text.strip()):
        raise ValueError(text)
    return (datetime.fromisoformat(text.strip()).replace(tzinfo=UTC).date() - _EPOCH).days


def _bad_days(text: str, what: str, why: str) -> UsageError:
    return UsageError(
        "bad_days",
        f"{what} {text!r} {why}.",
        "Write both days, the first and the last: 2026-01-01..2026-01-07.",
        given=text,
    )


@dataclass(frozen=True, slots=True)
class Protocol:
    """Days to fit on and days to measure on.

    delay_ms  how long a label takes
    gap_days  whole days that lie between both at least; labels need so many
    """

    train: DayRange
    test: DayRange
    delay_ms: int

    @property
    def gap_days(self) -> int:
        """Whole days that a label takes."""
        return math.ceil(self.delay_ms / DAY_MS)

    def check(self) -> None:
        """Refuse days that nobody could have had labels for in time.

        Raises  UsageError ``test_before_labels``
        """
        earliest = self.train.last + self.gap_days + 1
        if self.test.first < earliest:
            raise UsageError(
                "test_before_labels",
                f"The test days begin on {day_text(self.test.first)}, when labels of the training "
                f"days up to {day_text(self.train.last)} are not all known.",
                f"Begin the test on {day_text(earliest)} or later, end the training earlier, or "
                "say that labels come sooner with --delay.",
                earliest=day_text(earliest),
            )

    def facts(self) -> dict[str, Any]:
        """Return the days as text."""
        return {"train": str(self.train), "test": str(self.test), "gap_days": self.gap_days}


def validation_folds(protocol: Protocol, first_day: int) -> list[Protocol]:
    """Return the folds, the newest first; none ends behind the last training day.

    first_day  of the data: days to fit on need as many before them as a label takes, or windows
               of delayed labels are empty
    """
    train, gap = protocol.train, protocol.gap_days
    found = []
    for back in range(FOLDS):
        validate = train.shifted(-back * len(train))
        fit = validate.shifted(-len(train) - gap)
        if fit.first - gap >= first_day:
            found.append(Protocol(fit, validate, protocol.delay_ms))
    return found or _inner_folds(protocol)


def _inner_folds(protocol: Protocol) -> list[Protocol]:
    """Return folds for data without days before the training: cut from its own end.

    Where the training is shorter than a label takes, nothing lies between the two parts.
    """
    train, gap = protocol.train, protocol.gap_days
    part = max(1, len(train) // 4)
    found = []
    for back in range(FOLDS):
        last = train.last - back * part
        validate = DayRange(last - part + 1, last)
        far, near = validate.first - 1 - gap, validate.first - 1
        end = far if far - train.first + 1 >= part else near
        if end >= train.first:
            found.append(
                Protocol(
                    DayRange(train.first, end), validate, protocol.delay_ms if end == far else 0
                )
            )
    return found
