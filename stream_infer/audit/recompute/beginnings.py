"""The states that folds began with, where they began with a history."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from stream_infer.checkpoints.opening import open_store
from stream_infer.checkpoints.store import CheckpointStore
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.checkpoint_finding import CheckpointFinder
from stream_infer.dataplane.offsets import StartPoint
from stream_infer.dataplane.stage import Stage
from stream_infer.dataplane.standstill import StandstillError
from stream_infer.kafka.connection import Connection

OFF = "off"


class Beginnings:
    """Finds them among a pipeline's checkpoints.

    store  None where checkpoints are off: then nobody has any
    """

    def __init__(self, store: CheckpointStore | None, pipeline: str) -> None:
        self._finder = None if store is None else CheckpointFinder(store, pipeline)

    async def state(self, stage: Stage, source: Partition, declared: int, base: str) -> Any:
        """Return a partition's state before its first record, None if no checkpoint holds it."""
        if self._finder is None:
            return None
        # Committed is what it begins at: nothing that holds a record of the log is asked for.
        at = StartPoint(declared, declared, declared, must_commit=False, end=declared, base=base)
        try:
            found = await self._finder.newest(
                source, stage.name, at, lambda: stage.open_state(None)
            )
        except StandstillError:
            return None
        return None if found is None else found.state


@contextlib.asynccontextmanager
async def beginnings(
    connection: Connection, pipeline: str, where: str
) -> AsyncIterator[Beginnings]:
    """Open the store of a pipeline's checkpoints, as the workers' setting names it."""
    if where == OFF:
        yield Beginnings(None, pipeline)
        return
    store = open_store(where, connection, pipeline)
    try:
        yield Beginnings(store, pipeline)
    finally:
        await store.close()
