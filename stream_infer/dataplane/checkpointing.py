"""Checkpoints of the partitions that a worker has: taken, published, found again.

`Checkpointer` owns, for each assigned partition, the one checkpoint that is being written or
waits to be published. A checkpoint goes this way:

1. `maybe_take`, between two steps of a partition: when one is due, the state is captured at that
   offset (which copies nothing yet) and written in the background;
2. written: all chunks are in the store, and nobody can see them;
3. `committed` with an offset that covers it: the manifest is published, older ones are removed.

So no checkpoint is ever ahead of what is committed. One that was written by a worker which has
lost the partition since is still right: it is the fold of the log up to its offset, whoever folds.
What goes wrong with a checkpoint costs that checkpoint, never the worker.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any, Protocol

import structlog

from stream_infer.checkpoints.choosing import KEPT_MIN, passed_over, prunable
from stream_infer.checkpoints.manifest import Draft, Manifest, Mark
from stream_infer.checkpoints.pace import Pace
from stream_infer.checkpoints.store import CheckpointStore
from stream_infer.checkpoints.writing import write_checkpoint
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.checkpoint_finding import CheckpointFinder, ReadMark, Restored
from stream_infer.dataplane.offsets import StartPoint
from stream_infer.errors import StreamInferError

log = structlog.get_logger("stream_infer.checkpoints")

GIVE_UP_S_MAX = 1.0
"""How long a rebalance waits for a checkpoint that is given up."""


class CapturedState(Protocol):
    """A stage's state: `StageState` or `AlertFold`."""

    @property
    def fingerprint(self) -> str:
        """Which declarations it belongs to."""

    @property
    def keys(self) -> int:
        """Keys that it holds."""

    @property
    def entries(self) -> int:
        """Entries that it holds."""

    def capture(self) -> Iterator[Mapping[str, Any] | None]:
        """Return the state as it is now, in frames to be read between folds."""

    def restore_frame(self, frame: Mapping[str, Any]) -> None:
        """Put one frame into this state, which was empty."""


class _Held:
    """What is known of one assigned partition."""

    def __init__(self, offset: int, now_s: float) -> None:
        self.offset = offset
        self.taken_s = now_s
        self.write_s = 0.0
        self.committed = -1
        self.writing: asyncio.Task[None] | None = None
        self.written: Manifest | None = None


class Checkpointer:
    """The checkpoints of one worker. Everything runs on its event loop.

    store       where they are kept
    pipeline    whose
    pace        how often they are taken
    read_mark   reads the mark of a record of the log; None where nobody can
    on_failure  called with what no checkpoint should raise: a fault of the program
    seconds     a clock that never goes back; now_ms the time on the wall
    """

    def __init__(
        self,
        store: CheckpointStore,
        pipeline: str,
        *,
        pace: Pace | None = None,
        kept_min: int = KEPT_MIN,
        read_mark: ReadMark | None = None,
        on_failure: Callable[[BaseException], Awaitable[None]] | None = None,
        seconds: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.store = store
        self.pipeline = pipeline
        self.pace = pace or Pace()
        self.replay_per_s: float | None = None
        self.published = 0
        self.failed = 0
        self._kept_min = kept_min
        self._on_failure = on_failure
        self._seconds = seconds
        self._now_ms = now_ms
        self._finder = CheckpointFinder(store, pipeline, read_mark=read_mark, seconds=seconds)
        self._held: dict[Partition, _Held] = {}
        self._publishing: set[asyncio.Task[None]] = set()

    # -- restore --------------------------------------------------------------------------

    def pass_over(self, skipped: Mapping[tuple[str, int], Collection[int]]) -> None:
        """Note which offsets every fold of this assignment passes over, by partition."""
        self._finder.skipped = skipped

    async def newest(
        self, partition: Partition, stage: str, start: StartPoint, open_state: Callable[[], Any]
    ) -> Restored | None:
        """Return the state of the newest checkpoint that fits, or None; see `CheckpointFinder`."""
        return await self._finder.newest(partition, stage, start, open_state)

    def replayed(self, records: int, seconds: float) -> None:
        """Note how quickly a replay went; checkpoints are taken as often as that asks for."""
        if records > 0 and seconds > 0:
            measured = records / seconds
            known = self.replay_per_s
            self.replay_per_s = measured if known is None else (known + measured) / 2

    # -- taking ---------------------------------------------------------------------------

    def assigned(self, partition: Partition, offset: int) -> None:
        """Begin to count for a partition, whose newest checkpoint is at an offset."""
        self._held[partition] = _Held(offset, self._seconds())

    def maybe_take(
        self,
        partition: Partition,
        stage: str,
        start: StartPoint,
        position: int,
        state: CapturedState,
        mark: Mark | None = None,
    ) -> bool:
        """Capture the state, which is the fold up to `position`, if a checkpoint is due.

        To be called between two steps, when every row before the position is folded and no row
        from it on; whether its outputs are acknowledged does not matter. Returns within
        milliseconds; one checkpoint is written at a time.
        """
        held = self._held.get(partition)
        if held is None or any(each.writing is not None for each in self._held.values()):
            return False
        due = self.pace.is_due(
            records=position - held.offset,
            since_s=self._seconds() - held.taken_s,
            partitions=len(self._held),
            replay_per_s=self.replay_per_s,
            write_s=held.write_s,
        )
        if due:
            self.take(partition, stage, start, position, state, mark)
        return due

    def take(
        self,
        partition: Partition,
        stage: str,
        start: StartPoint,
        position: int,
        state: CapturedState,
        mark: Mark | None = None,
    ) -> None:
        """Capture the state now and write it in the background; see `maybe_take`."""
        held = self._held[partition]
        draft = Draft(
            id=uuid.uuid4().hex,
            pipeline=self.pipeline,
            stage=stage,
            topic=partition.topic,
            partition=partition.partition,
            offset=position,
            declared_start=start.declared,
            fingerprint=state.fingerprint,
            created_ms=self._now_ms(),
            keys=state.keys,
            entries=state.entries,
            mark=mark,
            base=start.base,
            skips=self._skips(partition, start.declared, position),
        )
        frames = state.capture()
        held.taken_s = self._seconds()
        held.writing = asyncio.create_task(
            self._write(partition, held, draft, frames), name=f"checkpoint-{partition}"
        )

    def _skips(self, partition: Partition, start: int, end: int) -> tuple[int, ...]:
        return tuple(sorted(passed_over(self._finder.skipped.get(partition, ()), start, end)))

    async def _write(
        self,
        partition: Partition,
        held: _Held,
        draft: Draft,
        frames: Iterator[Mapping[str, Any] | None],
    ) -> None:
        began = self._seconds()
        try:
            manifest = await write_checkpoint(self.store, draft, frames)
        except StreamInferError as error:
            self._note_failed(partition, draft.offset, error)
            return
        except Exception as error:  # noqa: BLE001 - handed on to whoever runs the worker
            await self._hand_on(error)
            return
        finally:
            held.writing = None
            held.write_s = self._seconds() - began
        # One that nobody covered yet gives way to the newer one.
        superseded, held.written, held.offset = held.written, manifest, draft.offset
        if superseded is not None:
            self._go_on(asyncio.create_task(self._remove([superseded]), name="drop-checkpoint"))
        self._publish_if_covered(partition, held)

    # -- publishing -------------------------------------------------------------------------

    def committed(self, partition: Partition, offset: int) -> None:
        """Publish what waits and is covered: everything before `offset` is committed for good."""
        held = self._held.get(partition)
        if held is not None:
            held.committed = max(held.committed, offset)
            self._publish_if_covered(partition, held)

    def _publish_if_covered(self, partition: Partition, held: _Held) -> None:
        manifest = held.written
        if manifest is None or manifest.offset > held.committed:
            return
        held.written = None
        self._go_on(
            asyncio.create_task(self._publish(partition, manifest), name="publish-checkpoint")
        )

    async def _publish(self, partition: Partition, manifest: Manifest) -> None:
        try:
            await self.store.publish(manifest)
        except StreamInferError as error:
            self._note_failed(partition, manifest.offset, error)
            return
        except Exception as error:  # noqa: BLE001 - handed on to whoever runs the worker
            await self._hand_on(error)
            return
        self.published += 1
        log.info(
            "checkpoint_published",
            source=str(partition),
            offset=manifest.offset,
            keys_held=manifest.keys,
            bytes=manifest.bytes,
        )
        try:
            found = await self.store.found()
            await self.store.remove(prunable(found, manifest, kept_min=self._kept_min))
        except StreamInferError as error:
            log.warning("checkpoints_not_pruned", cause=str(error), source=str(partition))

    async def _remove(self, manifests: list[Manifest]) -> None:
        try:
            await self.store.remove(manifests)
        except StreamInferError as error:
            log.warning("checkpoints_not_pruned", cause=str(error))

    def _note_failed(self, partition: Partition, offset: int, error: StreamInferError) -> None:
        self.failed += 1
        log.warning(
            "checkpoint_failed",
            source=str(partition),
            offset=offset,
            code=error.code,
            cause=error.message,
            fix=error.fix,
        )

    async def _hand_on(self, error: Exception) -> None:
        if self._on_failure is None:
            raise error
        await self._on_failure(error)

    async def settle(self) -> None:
        """Wait until nothing is being written or published."""
        while tasks := self._running():
            await asyncio.wait(tasks)

    def _running(self) -> list[asyncio.Task[None]]:
        writing = [held.writing for held in self._held.values() if held.writing is not None]
        return [*writing, *self._publishing]

    # -- end ----------------------------------------------------------------------------------

    async def revoked(self, partition: Partition) -> None:
        """Forget a partition: what is not written, or not covered by a commit, is given up.

        Comes after the last commit of the assignment. What is being published goes on, and so does
        the removal of what is given up: a rebalance does not wait for the store.
        """
        held = self._held.pop(partition, None)
        if held is None:
            return
        if held.writing is not None:
            held.writing.cancel()
            self._go_on(held.writing)
            await asyncio.wait([held.writing], timeout=GIVE_UP_S_MAX)
        if held.written is not None:
            written, held.written = held.written, None
            self._go_on(asyncio.create_task(self._remove([written]), name="drop-checkpoint"))

    def _go_on(self, task: asyncio.Task[None]) -> None:
        """Hold a task until it is done; `close` and `settle` wait for it."""
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)

    async def close(self) -> None:
        """Give every partition up, let what is being published end, and close the store."""
        for partition in list(self._held):
            await self.revoked(partition)
        if self._publishing:
            await asyncio.wait(self._publishing)
        await self.store.close()
