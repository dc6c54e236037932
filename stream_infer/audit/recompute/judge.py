"""One stage's judge: what its fold makes of each batch, held against what was found.

Pure: batches of outputs in, counts and findings out. What it needs to show a difference (the
bytes of a found record) is noted by place and read by whoever has Kafka.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.audit.recompute.differences import Difference, Kind
from stream_infer.audit.recompute.found import FoundOutputs, Place, out_of_order
from stream_infer.audit.recompute.origins import (
    Content,
    Naming,
    Origin,
    Stamp,
    name_of,
    without_features,
)
from stream_infer.audit.recompute.report import SHOWN_MAX, StageFindings
from stream_infer.dataplane.batch import BadRow, Partition, RecordBatch
from stream_infer.dataplane.outputs import Outputs, Writes
from stream_infer.dataplane.stage import Stage
from stream_infer.events.deadletter import STUB_BYTES_MAX


class Wanted(NamedTuple):
    """A finding whose found record is still to be read."""

    kind: Kind
    place: Place
    origin: str
    expected: Content | None


class StageJudge:
    """Judges the outputs of one stage.

    stage      the stage
    found      what was found of it, closed
    namings    destination topic -> how its records are named
    stamped    the topic whose records say what their row was made with, None where none does
    scored     the topic of scored events, None in other stages
    compacted  topics of which Kafka keeps the newest record of each key
    cut        destinations whose first records are gone
    """

    def __init__(
        self,
        stage: Stage,
        found: FoundOutputs,
        namings: Mapping[str, Naming],
        *,
        stamped: str | None,
        scored: str | None,
        compacted: Collection[str] = (),
        cut: Collection[Partition] = (),
    ) -> None:
        self.findings = StageFindings(stage=stage.name, topic=stage.topic)
        self.wanted: list[Wanted] = []
        self._stage = stage
        self._found = found
        self._namings = namings
        self._stamped = stamped
        self._scored = scored
        self._compacted = compacted
        self._cut = cut
        self._newest: dict[tuple[str, bytes | None], tuple[bool, Content, Partition, str]] = {}
        self._highest: dict[Partition, int] = {}
        self._is_primary = True
        self._committed = 0
        self._at_hand: set[Stamp] = set()

    def begin(self, committed: int, *, primary: bool) -> None:
        """Begin with another partition of the input, read up to that offset by the workers.

        primary  whether what was not found, or does not say what it was made with, is judged in
                 this run of the input: one run of several is
        """
        self._is_primary, self._committed = primary, committed
        self._highest = {}

    def take(self, batch: RecordBatch, outputs: Outputs) -> None:
        """Hold one batch's outputs against what was found."""
        if self._is_primary:
            self.findings.records += len(batch)
        mine = self._rows_of_this_run(batch, outputs)
        for destination, writes in outputs.items():
            self._take(batch, destination, writes, mine)

    def _rows_of_this_run(self, batch: RecordBatch, outputs: Outputs) -> set[int]:
        """Return the batch's rows that are judged now: those that were made with the same.

        What comes of a row besides the stamped record (candidates, late copies) goes with it.
        """
        others: set[int] = set()
        stamped: set[int] = set()
        for destination, writes in outputs.items():
            if destination.topic != self._stamped:
                continue
            origins = self._origins(destination, writes)
            stamps = [origin.stamp for origin in origins]
            self._at_hand.update(stamp for stamp in set(stamps) if stamp is not None)
            first, _ = self._found.first_rows(_names(destination, origins))
            found = self._found.stamps_of(first)
            stamped.update(writes.rows)
            for row, at, one, other in zip(writes.rows, first.tolist(), stamps, found, strict=True):
                if (at < 0 and not self._is_primary) or (at >= 0 and one != other):
                    others.add(row)
        return (set(range(len(batch))) if self._is_primary else stamped) - others

    def _origins(self, destination: Partition, writes: Writes) -> list[Origin]:
        naming = self._namings[destination.topic]
        contents = zip(writes.keys, writes.values, writes.headers, strict=True)
        return [name_of(naming, Content(*each)) for each in contents]

    def _take(
        self, batch: RecordBatch, destination: Partition, writes: Writes, rows: set[int]
    ) -> None:
        mine = [i for i, row in enumerate(writes.rows) if row in rows]
        if not mine:
            return
        contents = [Content(writes.keys[i], writes.values[i], writes.headers[i]) for i in mine]
        offsets = [batch.records[writes.rows[i]].offset for i in mine]
        naming = self._namings[destination.topic]
        origins = [name_of(naming, each) for each in contents]
        names = _names(destination, origins)
        digests = np.array([each.digest() for each in contents], np.int64)
        others = digests
        if destination.topic == self._scored:
            others = np.array([_cut(each).digest() for each in contents], np.int64)
        elif self._stage.side.owns(destination.topic):
            stubs = [
                self._stub(batch, writes.rows[i], destination, each)
                for i, each in zip(mine, contents, strict=True)
            ]
            others = np.array([each.digest() for each in stubs], np.int64)
        matched = self._found.match(names, digests, others)
        judged = np.array(offsets, np.int64) < self._committed
        self._count(matched.counts, judged)
        places = [f"{batch.source}-{offset}" for offset in offsets]
        for row, at in matched.wrong:
            if _is_same(self._found.stamp(row), origins[at].stamp):
                self.findings.different += 1
                self._want("different", self._found.place(row), places[at], contents[at])
        for at in np.flatnonzero(matched.counts > 1).tolist():
            second = self._found.place(int(matched.first[at]) + 1)
            self._want("twice", second, places[at], None)
        self._judge_order(destination, matched.first, places)
        for at in np.flatnonzero(judged).tolist():
            self._judge_presence(
                destination, contents[at], places[at], found=matched.first[at] >= 0, batch=batch,
                offset=offsets[at],
            )  # fmt: skip

    def _count(self, counts: NDArray[np.int64], judged: NDArray[np.bool_]) -> None:
        findings = self.findings
        findings.expected += int(np.count_nonzero(judged))
        findings.beyond += int(np.count_nonzero(~judged & (counts > 0)))
        if not self._stage.reads_all:
            findings.twice += int((counts[counts > 1] - 1).sum())

    def _judge_order(
        self, destination: Partition, first: NDArray[np.int64], places: list[str]
    ) -> None:
        there = np.flatnonzero(first >= 0)
        offsets = self._found.offsets(first[there])
        wrong, self._highest[destination] = out_of_order(
            offsets, self._highest.get(destination, -1)
        )
        if self._stage.reads_all:
            return
        for at in np.flatnonzero(wrong).tolist():
            self.findings.disordered += 1
            row = int(first[there[at]])
            self._want("disordered", self._found.place(row), places[there[at]], None)

    def _judge_presence(
        self,
        destination: Partition,
        content: Content,
        origin: str,
        *,
        found: bool,
        batch: RecordBatch,
        offset: int,
    ) -> None:
        if not found and self._is_refused(batch, offset):
            self.findings.refused += 1
            found = True
        if destination.topic in self._compacted:
            key = (destination.topic, content.key)
            self._newest[key] = (found, content, destination, origin)
        elif not found:
            self._lost(destination, origin)

    def _is_refused(self, batch: RecordBatch, offset: int) -> bool:
        side = self._stage.side.dead_letters.for_batch(batch)
        return self._found.has_refused(
            hash((*side, (*batch.source, offset, self._stage.name, True)))
        )

    def _lost(self, destination: Partition, origin: str) -> None:
        if destination in self._cut:
            self.findings.open_lost += 1
            return
        self.findings.lost += 1
        self.findings.describe(Difference("lost", self._stage.name, *destination, None, origin))

    def _stub(
        self, batch: RecordBatch, row: int, destination: Partition, content: Content
    ) -> Content:
        """Return what stands for a record of a side topic that is refused for its size."""
        if len(content.value or b"") + len(content.key or b"") <= STUB_BYTES_MAX:
            return content
        outputs, headers = Outputs(), dict(content.headers)
        code = (headers.get("si-error-code") or b"").decode()
        message = (headers.get("kafka_dlt-exception-message") or b"").decode()
        dead = destination.topic == self._stage.side.dead_letters.name
        bad = BadRow(row, code, message) if dead else None
        self._stage.side.stub(outputs, batch, bad, row, destination.topic, self._stage.name)
        [(_, writes)] = outputs.items()
        return Content(writes.keys[0], writes.values[0], writes.headers[0])

    def _want(self, kind: Kind, place: Place, origin: str, expected: Content | None) -> None:
        if sum(each.kind == kind for each in self.wanted) < SHOWN_MAX:
            self.wanted.append(Wanted(kind, place, origin, expected))

    def close(self, *, whole: bool) -> set[Stamp]:
        """Judge what is left when every partition has been taken; return what was not at hand.

        whole  whether every output's origin was in what was folded; otherwise nobody can say
               that an output is one too many
        """
        for found, _content, destination, origin in self._newest.values():
            if not found:
                self._lost(destination, origin)
        missing = {
            stamp
            for stamp in self._found.stamped
            if self._stamped is not None and not any(stamp.fits(own) for own in self._at_hand)
        }
        strangers = self._found.stamp_rows(missing)
        self.findings.other_model = int(np.count_nonzero(strangers))
        if not whole or self._stage.reads_all:
            return missing
        for row in self._found.unexpected().tolist():
            if not strangers[row]:
                self.findings.unexpected += 1
                self._want("unexpected", self._found.place(row), "nothing in the input", None)
        return missing


def _names(destination: Partition, origins: Sequence[Origin]) -> NDArray[np.int64]:
    return np.array([hash((*destination, origin.name)) for origin in origins], np.int64)


def _is_same(found: Stamp | None, own: Stamp | None) -> bool:
    return found is None or own is None or found.fits(own)


def _cut(content: Content) -> Content:
    return content._replace(value=without_features(content.value))
