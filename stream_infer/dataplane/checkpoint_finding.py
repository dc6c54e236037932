"""Finds the checkpoint that a restore begins with, and puts it into a state.

Whatever is wrong with a checkpoint is named in the log, and the next older one is tried; without
any the log is folded from its start. Where the fold began with a history, that would make another
state: then a checkpoint there must be.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, NamedTuple

import msgspec
import structlog

from stream_infer.checkpoints.choosing import Choice, Wanted, choose
from stream_infer.checkpoints.manifest import Manifest, Mark
from stream_infer.checkpoints.reading import restore_checkpoint
from stream_infer.checkpoints.store import CheckpointStore
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.offsets import StartPoint
from stream_infer.dataplane.standstill import StandstillError
from stream_infer.errors import ConflictError, StateBudgetError, StreamInferError

log = structlog.get_logger("stream_infer.checkpoints")

_REPORT_EVERY_CHUNKS = 64
_MALFORMED = (KeyError, TypeError, ValueError, IndexError, msgspec.MsgspecError)
"""What a frame raises that is whole and yet not of the form that the state expects."""

ReadMark = Callable[[Partition, int], Awaitable[Mark | None]]


class Restored(NamedTuple):
    """A state, and the first offset that is not in it."""

    state: Any
    offset: int
    checkpoint: str


class CheckpointFinder:
    """Finds checkpoints of one pipeline's states.

    read_mark  reads the mark of a record of the log; None where nobody can
    seconds    a clock that never goes back

    `skipped` are the offsets that every fold passes over, by partition, as of this assignment.
    """

    def __init__(
        self,
        store: CheckpointStore,
        pipeline: str,
        *,
        read_mark: ReadMark | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.pipeline = pipeline
        self.skipped: Mapping[tuple[str, int], Collection[int]] = {}
        self._read_mark = read_mark
        self._seconds = seconds

    async def newest(
        self, partition: Partition, stage: str, start: StartPoint, open_state: Callable[[], Any]
    ) -> Restored | None:
        """Return the state of the newest checkpoint that fits, or None: fold the log then.

        start       where the partition begins; no checkpoint above its position is used, and none
                    below where its replay would begin
        open_state  makes an empty state; called once a try, for a try that fails leaves it broken
        Raises      StateBudgetError when the state is larger than a partition may be;
                    StandstillError ``base_missing`` when the fold began with a history, and there
                    is no state that holds it
        """
        state = open_state()
        if state is None:
            return None
        wanted = Wanted(
            self.pipeline,
            stage,
            *partition,
            declared_start=start.declared,
            fingerprint=state.fingerprint,
            committed=start.position,
            log_start=start.replay_from,
            base=start.base,
            skips=self.skipped.get(partition, ()),
        )
        try:
            choice = choose(await self.store.found(), wanted)
        except StreamInferError as error:
            log.warning("checkpoints_unavailable", cause=str(error), source=str(partition))
            if start.base is not None:
                raise base_missing(partition, stage, start) from error
            return None
        for manifest in choice.usable:
            if await self._restores(partition, manifest, state, start):
                return Restored(state, manifest.offset, manifest.id)
            state = open_state()
        self._say_none(partition, choice, start)
        if start.base is not None:
            raise base_missing(partition, stage, start)
        return None

    async def _restores(
        self, partition: Partition, manifest: Manifest, state: Any, start: StartPoint
    ) -> bool:
        """Put a checkpoint into an empty state; say why it cannot be done, if so."""
        told = {"source": str(partition), "checkpoint": manifest.id, "offset": manifest.offset}

        def report(chunks: int) -> None:
            if chunks % _REPORT_EVERY_CHUNKS == 0:
                log.info("restoring_checkpoint", chunks=chunks, of=len(manifest.chunks), **told)

        began = self._seconds()
        try:
            await self._check_log(partition, manifest, start)
            await restore_checkpoint(self.store, manifest, state, report)
        except StateBudgetError:
            raise  # the log would make the same state
        except StreamInferError as error:
            log.warning("checkpoint_refused", code=error.code, cause=str(error), **told)
            return False
        except _MALFORMED as error:
            code = "checkpoint_malformed"
            log.warning("checkpoint_refused", code=code, cause=repr(error), **told)
            return False
        log.info("checkpoint_restored", seconds=round(self._seconds() - began, 3), **told)
        return True

    async def _check_log(self, partition: Partition, manifest: Manifest, start: StartPoint) -> None:
        """Raise `ConflictError` when the log is not the one that the checkpoint was made of."""
        mark = manifest.mark
        if mark is None or self._read_mark is None or mark.offset < start.replay_from:
            return  # The record has left the log, as records do; nothing speaks against it.
        found = await self._read_mark(partition, mark.offset)
        if found != mark:
            raise ConflictError(
                "log_made_anew",
                f"Checkpoint {manifest.id} was made of another log of {partition}: the record at"
                f" offset {mark.offset} is not the one that it ends with.",
                "The topic was deleted and made anew; the state is folded from the new log.",
                checkpoint=manifest.id,
                offset=mark.offset,
            )

    def _say_none(self, partition: Partition, choice: Choice, start: StartPoint) -> None:
        for refusal in choice.refused:
            log.info("checkpoint_unfit", source=str(partition), **refusal._asdict())
        if start.replay_from < start.position and start.base is None:
            log.info(
                "rebuilding_from_log",
                source=str(partition),
                first=start.replay_from,
                until=start.position,
                checkpoints_refused=len(choice.refused),
            )


def base_missing(partition: Partition, stage: str, start: StartPoint) -> StandstillError:
    """Return the error of a partition whose fold began with a history that nobody has any more."""
    return StandstillError(
        "base_missing",
        f"The fold of {partition} began at offset {start.declared} with the state of history"
        f" {start.base}, and no readable checkpoint of these declarations holds it.",
        "Build it again from the same files: stream-infer checkpoint build --from. The partition"
        " goes on by itself then.",
        passes=True,
        stage=stage,
        topic=partition.topic,
        partition=partition.partition,
        declared_start=start.declared,
        base=start.base,
    )
