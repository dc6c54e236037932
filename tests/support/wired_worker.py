"""`support.quick_worker`, whose data plane notes its work and passes over skips.

Stands in for what the data plane itself is to do: note the ranges of a call before it, read
the skips at each assignment, and leave skipped records out of batches and of the restore.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from stream_infer import app as app_module
from stream_infer import cli
from stream_infer.app import StreamApp
from stream_infer.dataplane.at_work import slot_of
from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.plane import DataPlane
from stream_infer.dataplane.skips import without_skipped
from stream_infer.dataplane.together import StageWork
from stream_infer.dataplane.transport import BatchConsumer
from stream_infer.kafka.skips import read_skips, skipped_offsets
from stream_infer.supervisor import backoff, processes

_skipped: dict[Partition, frozenset[int]] = {}
_read, _step = StageWork._read, StageWork._step
_open, _open_assignment = DataPlane.open, BatchConsumer._open_assignment
_replay = StreamApp._replay


def _noting_read(self: StageWork, batches: Sequence[RecordBatch]) -> list[Any]:
    slot = slot_of(self.stage.name, self.stage.topic)
    slot.begin([(batch.source.partition, batch.first, batch.last) for batch in batches])
    try:
        return _read(self, batches)
    finally:
        slot.end()


def _noting_step(self: StageWork, jobs: Sequence[Any]) -> list[Any]:
    slot = slot_of(self.stage.name, self.stage.topic)
    batches = [job.read.batch for job in jobs]
    slot.begin([(batch.source.partition, batch.first, batch.last) for batch in batches])
    try:
        return _step(self, jobs)
    finally:
        slot.end()


def _passing_open(
    self: DataPlane, source: Partition, records: Sequence[Any]
) -> Iterable[RecordBatch]:
    return _open(self, source, without_skipped(records, _skipped.get(source, frozenset())))


async def _reading_open_assignment(self: BatchConsumer, assigned: Any) -> None:
    app: Any = self.app
    found = skipped_offsets(await read_skips(app.connection, app._pipeline))
    _skipped.clear()
    _skipped.update({Partition(*place): offsets for place, offsets in found.items()})
    await _open_assignment(self, assigned)


async def _passing_replay(
    self: StreamApp, source: Partition, start: int, end: int, on_batch: Callable[..., None]
) -> None:
    def fold(batch: RecordBatch) -> None:
        kept = without_skipped(batch.records, _skipped.get(source, frozenset()))
        if kept:
            on_batch(RecordBatch(source, kept))

    await _replay(self, source, start, end, fold)


if __name__ == "__main__":
    app_module.FAUST_DEFAULTS.update(broker_session_timeout=1.5, broker_heartbeat_interval=0.3)
    processes.PROGRAM = (sys.executable, __file__)
    backoff.FIRST_DELAY_S = 0.05
    StageWork._read = _noting_read  # type: ignore[method-assign]
    StageWork._step = _noting_step  # type: ignore[method-assign]
    DataPlane.open = _passing_open  # type: ignore[method-assign]
    BatchConsumer._open_assignment = _reading_open_assignment  # type: ignore[method-assign]
    StreamApp._replay = _passing_replay  # type: ignore[method-assign]
    cli.main()
