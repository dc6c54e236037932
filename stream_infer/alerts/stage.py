"""The two ends of the alert stage: record values to candidates, changes to records."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.alerts.candidate import Candidate, CandidateDecoder
from stream_infer.alerts.declared import AlertPlan
from stream_infer.alerts.fold import AlertChange
from stream_infer.alerts.texts import AlertTexts
from stream_infer.alerts.wire import encode_alert
from stream_infer.events.reasons import BadRecord


@dataclass(frozen=True, slots=True)
class CandidateRows:
    """A batch of the alert stage's log.

    rows        (k,) int64, row in the batch of each good record
    candidates  the k good ones
    progress    (k,) int64, ms: their event times, by which the stage's input advances
    bad         records that become dead letters
    """

    rows: NDArray[np.int64]
    candidates: list[Candidate]
    progress: NDArray[np.int64]
    bad: list[BadRecord]


class AlertReader:
    """Reads the log of candidates of one pipeline."""

    def __init__(self, plan: AlertPlan) -> None:
        self._decoder = CandidateDecoder(plan.kinds)

    def read(self, values: Sequence[bytes | None]) -> CandidateRows:
        """Return the record values as rows."""
        rows, candidates, bad = self._decoder.decode(values)
        progress = np.array([candidate.event_time for candidate in candidates], np.int64)
        return CandidateRows(rows, candidates, progress, bad)


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """A record to write; `row` is the row of the fold's input that brought it about."""

    row: int
    topic: str
    key: bytes
    value: bytes


class AlertEmitter:
    """Writes changes of alerts to the append log and to the current state.

    plan       what is declared
    sensitive  fields whose values are masked in texts
    """

    def __init__(self, plan: AlertPlan, sensitive: Collection[str] = ()) -> None:
        self._topics = (plan.alerts.topic, plan.alerts.current_topic)
        self._texts = AlertTexts(plan, sensitive)

    def records(self, changes: Iterable[AlertChange]) -> list[AlertRecord]:
        """Return two records for each change, the same value in both topics."""
        records: list[AlertRecord] = []
        for change in changes:
            alert = msgspec.structs.replace(change.alert, text=self._texts.text(change.alert))
            key, value = encode_alert(alert)
            records += [AlertRecord(change.row, topic, key, value) for topic in self._topics]
        return records
