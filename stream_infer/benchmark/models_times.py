"""What events waited while versions were exchanged, and while none was. Pure but for reading logs.

An event's wait is from the append of its record to the append of its output, by the broker's clock.
A reload lasts from when the workers were told until every partition's outputs name the new version.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.audit.identity import scored_positions
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader

AFTER_MS = 100
"""So long behind a reload an event still counts as its own, and not as undisturbed."""
TENTH = 10
LOOKS = 5
"""Memory goes up and down with each batch: the median of so many looks counts."""
ERROR_WORDS = ("model_not_loaded", "models_record_invalid", "Traceback")
MIB = 2.0**-20


class Reload(NamedTuple):
    """One exchange: its version, when workers were told, when all outputs named it; epoch ms."""

    version: str
    told_ms: int
    served_ms: int


@dataclass(frozen=True, slots=True)
class Waits:
    """The inputs of a run and their outputs.

    appended  (n,) int64, when each input was appended, epoch ms
    waited    (n,) float64, ms until its output was; NaN where there is none
    doubled   outputs beyond the first of an input
    """

    appended: NDArray[np.int64]
    waited: NDArray[np.float64]
    doubled: int

    @property
    def lost(self) -> int:
        """Inputs without an output."""
        return int(np.isnan(self.waited).sum())

    def percentile(self, percent: float, rows: NDArray[np.bool_]) -> float | None:
        """Return a percentile of the waits of some inputs; None without any."""
        known = self.waited[rows & ~np.isnan(self.waited)]
        return float(np.percentile(known, percent)) if len(known) else None

    def during(self, reloads: Sequence[Reload], first_ms: int) -> NDArray[np.bool_]:
        """Say which inputs came during a reload, (n,) bool; none of before `first_ms`."""
        return self._within(reloads, 0) & (self.appended >= first_ms)

    def undisturbed(
        self, reloads: Sequence[Reload], first_ms: int, last_ms: int
    ) -> NDArray[np.bool_]:
        """Say which inputs of a time came neither during a reload nor just behind one."""
        inside = (self.appended >= first_ms) & (self.appended < last_ms)
        return inside & ~self._within(reloads, AFTER_MS)

    def _within(self, reloads: Sequence[Reload], after_ms: int) -> NDArray[np.bool_]:
        """Say which inputs lie in the last reload that began before them."""
        if not reloads:
            return np.zeros(len(self.appended), np.bool_)
        begins = np.array([each.told_ms for each in reloads])
        ends = np.array([each.served_ms for each in reloads]) + after_ms
        at = np.searchsorted(begins, self.appended, side="right") - 1
        found: NDArray[np.bool_] = (at >= 0) & (self.appended <= ends[np.maximum(at, 0)])
        return found


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of a run.

    partition, offset  (m,) int64, of the input that each names
    appended           (m,) int64, epoch ms
    own_partition      (m,) int64, where each output stands
    version            (m,) int64, index into the versions that were asked for; -1 for another
    """

    partition: NDArray[np.int64]
    offset: NDArray[np.int64]
    appended: NDArray[np.int64]
    own_partition: NDArray[np.int64]
    version: NDArray[np.int64]


def waits_of(inputs: Sequence[NDArray[np.int64]], outputs: Outputs) -> Waits:
    """Return what each input waited.

    inputs  for each partition, when the record at each offset was appended; 0 where there is none

    >>> out = Outputs(*(np.array([each]) for each in (0, 1, 1_030, 0, 0)))
    >>> waits_of([np.array([990, 1_000])], out).waited
    array([nan, 30.])
    """
    starts = np.concatenate(([0], np.cumsum([len(each) for each in inputs])))
    appended = np.concatenate(inputs)
    written = np.zeros(len(appended), np.int64)
    rows = starts[outputs.partition] + outputs.offset
    counts = np.bincount(rows, minlength=len(appended))
    # The earliest of an input's outputs counts: they are written from the last to the first.
    order = np.argsort(-outputs.appended, kind="stable")
    written[rows[order]] = outputs.appended[order]
    there = appended > 0
    waited = np.where(counts > 0, written - appended, np.nan)
    return Waits(appended[there], waited[there], int(np.maximum(counts - 1, 0).sum()))


def reloads_of(
    told: Sequence[tuple[int, int]], outputs: Outputs, versions: Sequence[str]
) -> list[Reload]:
    """Return the exchanges, each with when the last partition's outputs named its version.

    told  for each exchange the index of the version, and when workers were told, epoch ms
    One that no output shows in some partition before the next one is left out.
    """
    found = []
    partitions = np.unique(outputs.own_partition)
    ends = [at_ms for _, at_ms in told[1:]] + [np.iinfo(np.int64).max]
    for (version, at_ms), end_ms in zip(told, ends, strict=True):
        rows = (outputs.version == version) & (outputs.appended >= at_ms)
        rows &= outputs.appended < end_ms
        firsts = [
            outputs.appended[rows & (outputs.own_partition == partition)].min(initial=end_ms)
            for partition in partitions
        ]
        if max(firsts) < end_ms:
            found.append(Reload(versions[version], at_ms, int(max(firsts))))
    return found


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One run with exchanges.

    during_ms, without_ms  p99 of what inputs waited during a reload, and undisturbed
    rss_tenth, rss_last    resident memory after the tenth exchange and after the last, MiB
    errors                 lines of the workers that say that something went wrong
    lost, doubled          inputs without an output; outputs too many
    seen                   exchanges that every partition's outputs show
    served_p50_ms, served_max_ms  from when workers were told until they do
    whole_ms               median from the beginning of a promotion until all workers say they serve
    """

    during_ms: float | None
    without_ms: float | None
    rss_tenth: float
    rss_last: float
    errors: int
    lost: int
    doubled: int
    seen: int
    served_p50_ms: float | None
    served_max_ms: float | None
    whole_ms: float


def exchanged(
    told: Sequence[tuple[int, int]],
    outputs: Outputs,
    waits: Waits,
    span_ms: tuple[int, int],
    rss: Sequence[int],
    whole: Sequence[float],
    log: str,
    versions: Sequence[str],
) -> Exchanged:
    """Return what a run with exchanges was.

    told     for each exchange the index of the version, and when workers were told, epoch ms
    span_ms  when the measuring began and ended
    rss      bytes, after each exchange
    whole    ms that each took, its verification with it
    log      of the workers
    """
    reloads = reloads_of(told, outputs, versions)
    took = sorted(float(each.served_ms - each.told_ms) for each in reloads)
    tenth = statistics.median(rss[max(0, min(TENTH, len(rss)) - LOOKS) :][:LOOKS])
    return Exchanged(
        during_ms=waits.percentile(99, waits.during(reloads, span_ms[0])),
        without_ms=waits.percentile(99, waits.undisturbed(reloads, *span_ms)),
        rss_tenth=tenth * MIB,
        rss_last=statistics.median(rss[-LOOKS:]) * MIB,
        errors=sum(log.count(word) for word in ERROR_WORDS),
        lost=waits.lost,
        doubled=waits.doubled,
        seen=len(reloads),
        served_p50_ms=statistics.median(took) if took else None,
        served_max_ms=took[-1] if took else None,
        whole_ms=statistics.median(whole),
    )


async def read_inputs(connection: Connection, topic: str) -> list[NDArray[np.int64]]:
    """Return when each record of each partition was appended, by offset; 0 where there is none."""
    async with log_reader(connection) as reader:
        bounds = await reader.bounds(await reader.partitions(topic))
        times = {tp: np.zeros(log.end, np.int64) for tp, log in bounds.items()}
        async for tp, records in reader.read(bounds):
            offsets = [record.offset for record in records]
            times[tp][offsets] = [record.timestamp for record in records]
    return [times[tp] for tp in sorted(times)]


async def read_outputs(
    connection: Connection, topic: str, source: str, versions: Sequence[str]
) -> Outputs:
    """Return the outputs of a run."""
    marks = [f'"version":"{version}"'.encode() for version in versions]
    parts: list[tuple[NDArray[np.int64], ...]] = []
    async with log_reader(connection) as reader:
        bounds = await reader.bounds(await reader.partitions(topic))
        async for tp, records in reader.read(bounds):
            values = [record.value for record in records]
            (partition, offset), _ = scored_positions(source, values)
            version = [
                next((at for at, mark in enumerate(marks) if mark in value), -1) for value in values
            ]
            parts.append(
                (
                    partition,
                    offset,
                    np.array([record.timestamp for record in records], np.int64),
                    np.full(len(records), tp.partition, np.int64),
                    np.array(version, np.int64),
                )
            )
    if not parts:
        return Outputs(*(np.empty(0, np.int64) for _ in range(5)))
    return Outputs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
