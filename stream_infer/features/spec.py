"""The words in which features are declared.

A feature is a value, not a program: what is computed (`Count`, `Mean`, ...),
`by` which entity the window is kept, `over` which windows, and with which
`delay`. `stream_infer.features.plan` turns a tuple of declarations into stages.

A window is ``(t - delay - w, t - delay]`` in event time, where ``t`` is the time of
the event that is scored; the event itself belongs to it when ``delay`` is 0 and
`current` is true. Names may hold ``{window}`` (``7d``) or ``{days}`` (``7``); a
declaration over several windows needs one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Windowed:
    """What every windowed feature has.

    by       the entity whose entries the window holds, a field of the event
    over     windows, such as ``("1d", "7d")``
    name     the feature's name, with ``{window}`` or ``{days}``
    delay    how long before the event the window ends
    current  whether the event itself counts (only where delay is 0)
    """

    by: str
    over: tuple[str, ...]
    name: str
    delay: str = "0s"
    current: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Count(Windowed):
    """How many entries the window holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum(Windowed):
    """Sum of a value; 0 when empty."""

    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean(Windowed):
    """Arithmetic mean of a value; 0 when empty."""

    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Std(Windowed):
    """Sample standard deviation (n - 1) of a value; 0 below two entries."""

    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Max(Windowed):
    """Largest value; 0 when empty. Costs O(entries in the window)."""

    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate(Windowed):
    """Share of entries whose label is 1; 0 when the denominator is 0.

    denominator  ``events``: all entries (the fraud handbook's rule);
                 ``labelled``: only entries whose label is known
    """

    denominator: Literal["events", "labelled"] = "events"


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """Value of the key's entry just before the event; NaN when there is none.

    within  how far back it looks; an older entry is none
    """

    by: str
    of: str
    name: str
    within: str = "30d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """Seconds since the key's entry just before the event; NaN when there is none.

    within  how far back it looks; an older entry is none
    """

    by: str
    name: str
    within: str = "30d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A value of the event itself, in its own unit."""

    of: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HourOfDay:
    """Hour of the event, 0 to 23, in UTC plus `utc_offset_minutes`."""

    name: str
    utc_offset_minutes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weekend:
    """1 on Saturday and Sunday, else 0, in UTC plus `utc_offset_minutes`."""

    name: str
    utc_offset_minutes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """1 from 00:00 to `until_hour`:59, else 0, in UTC plus `utc_offset_minutes`."""

    name: str
    until_hour: int = 6
    utc_offset_minutes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom:
    """Features by a numba function over a state record per key, in log order.

    by            the entity that owns the state record
    names         names of the features that the step writes
    state         dtype of the record, a numpy structured dtype; starts zeroed
    step          numba function ``step(record, event_time, values, out)``: `record` is the
                  key's state (structured scalar, written in place), `event_time` int64 ms,
                  `values` (len(of),) float64, `out` (len(names),) float64 to be filled
    of            values of the event, or features of an earlier stage, that the step reads, in
                  this order
    version       raise it whenever the step's meaning changes: it is part of the fingerprint
    forget_after  a key is forgotten when the partition's clock is this far past its newest event
    linked        whether the step reads the records of linked keys, and what the table of known
                  keys says of its own
    learn         numba function ``learn(record, identity, event_time, label, label_time)`` that
                  folds what became known of an event of the key: its id as int64 hash, its time,
                  0 or 1, and since when; None for a step that reads no labels

    Where there is `learn`, the step is ``step(record, identity, event_time, values, out)``: what
    it keeps of an event by its identity, `learn` finds again. A label may come twice, correct an
    earlier one, or speak of an event that is no longer held or has not come yet.

    The function of a linked step is ``step(record, records, links, facts, event_time, values,
    out)``: `records` are those of all keys, to be read only; `links` (k,) int64 the rows of the
    linked keys in it, -1 where a key is unknown yet or forgotten; `facts` the key's row of
    `KnownKeys.facts`. Its state has an int64 field ``stepped``, which is written for it: larger
    for later events, 0 in a record that holds nothing.
    """

    by: str
    names: tuple[str, ...]
    state: np.dtype[Any]
    step: Callable[..., None]
    of: tuple[str, ...]
    version: int
    forget_after: str
    linked: bool = False
    learn: Callable[..., None] | None = None


RowFeature = Value | HourOfDay | Weekend | Night
WindowFeature = Count | Sum | Mean | Std | Max | Rate
KeyFeature = WindowFeature | Last | Since | Custom
Feature = RowFeature | KeyFeature
