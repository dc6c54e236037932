"""A stage whose outputs tell what its state was: a record folded twice, never or late shows."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.outputs import NO_HEADERS, Outputs
from stream_infer.dataplane.side import SideOutputs, SideTopic
from stream_infer.dataplane.stage import AnyRead, Emitted, ReadBatch, StepResult
from stream_infer.observability.meter import StageMeter

INPUT = "input"
OUTPUTS = [Partition("output", 0), Partition("output", 1)]
DEAD = Partition("dead", 0)
QUIET = b"quiet"
"""A record that is folded and has no output."""

REFUSED = b"refused"
"""In the output of such a record: no batch may hold it."""


@dataclass(slots=True)
class Folded:
    """The fold: a checksum over everything before, in order."""

    checksum: int = 0
    entries: int = 0
    clock_ms: int | None = None
    keys: int = 0

    def fold(self, offset: int, value: bytes) -> int:
        """Take one record in; return the checksum with it."""
        self.entries += 1
        self.checksum = zlib.crc32(b"%d %s" % (offset, value), self.checksum)
        return self.checksum

    @property
    def fingerprint(self) -> str:
        """Which declarations it belongs to."""
        return "simulated"

    def capture(self) -> Iterator[Mapping[str, Any] | None]:
        """Return it as it is now."""
        return iter([None, {"part": "fold", "checksum": self.checksum, "entries": self.entries}])

    def restore_frame(self, frame: Mapping[str, Any]) -> None:
        """Become what was captured."""
        self.checksum, self.entries = frame["checksum"], frame["entries"]

    @property
    def bytes(self) -> int:
        """About the memory that is held."""
        return 0


class Rows(list[bytes]):
    """Rows as the stage sees them."""

    def slice(self, start: int, end: int) -> Rows:
        """Return rows ``start..end-1``."""
        return Rows(self[start:end])


def output_of(source: Partition, offset: int, value: bytes, checksum: int) -> bytes | None:
    """Return what is written for a record, None for a quiet one."""
    if value == QUIET:
        return None
    return b"%d|%d|%d|%s" % (source.partition, offset, checksum, value)


def destination_of(offset: int) -> Partition:
    """Return where the output of a record goes."""
    return OUTPUTS[offset // 3 % 2]


class FoldingStage:
    """The stage, as the data plane sees one.

    feeds  the topic in whose favour its partitions are aligned, None for no alignment
    """

    name = "folding"
    topic = INPUT
    reads_all = False
    skew_ms_max = None

    def __init__(self, feeds: str | None) -> None:
        self.feeds = feeds
        self.side = SideOutputs(
            group="group",
            dead_letters=SideTopic(DEAD.topic, 1_000),
            late_events=SideTopic("late", 1),
        )

    def open_state(self, _bytes_max: int | None) -> Folded:
        """Return an empty state."""
        return Folded()

    def tick(self, _state: Any, _event_time: int) -> bytes | None:
        """Return no tick."""
        return None

    def read_silently(self, batches: Sequence[RecordBatch]) -> list[AnyRead]:
        """Return what `read` does."""
        return self.read(batches)

    def read(self, batches: Sequence[RecordBatch]) -> list[AnyRead]:
        """Return each batch as rows."""
        return [
            ReadBatch(
                batch,
                np.arange(len(batch)),
                batch.offsets(),
                Rows(value or b"" for value in batch.values),
                np.array([record.timestamp for record in batch.records], np.int64),
            )
            for batch in batches
        ]

    def fold_only(self, read: AnyRead, state: Any) -> None:
        """Fold the rows and write nothing."""
        for offset, value in zip(read.offsets.tolist(), read.columns, strict=True):
            state.fold(offset, value)

    def step(self, work: Sequence[tuple[AnyRead, Any]], _meter: StageMeter) -> list[StepResult]:
        """Fold the rows and write for each what the state is then."""
        return [self._step(read, state) for read, state in work]

    def _step(self, read: AnyRead, state: Folded) -> StepResult:
        outputs = Outputs()
        source = read.batch.source
        rows = zip(read.rows.tolist(), read.offsets.tolist(), read.columns, strict=True)
        for row, offset, value in rows:
            made = output_of(source, offset, value, state.fold(offset, value))
            if made is not None:
                outputs.add(destination_of(offset), None, made, NO_HEADERS, row)
        return StepResult(outputs, len(read.rows), Emitted(), 0, 0, 0, 0)
