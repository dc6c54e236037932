"""The same pipeline on two clusters, with one folder for checkpoints: neither takes the other's.

In Kafka, checkpoints, offsets and transactional ids are a cluster's own. Only a folder is shared.
"""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from stream_infer.checkpoints.folder import FolderStore
from stream_infer.checkpoints.manifest import Mark
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.checkpointing import Checkpointer
from stream_infer.dataplane.offsets import StartPoint
from stream_infer.dataplane.state import StageState
from support.checkpoints import PLAN, state_of

P0 = Partition("payments", 0)


class Cluster:
    """A log of a cluster: at each offset stands a record of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self.checkpoints = Checkpointer(
            FolderStore(folder, "payments"), "payments", read_mark=self._read_mark
        )

    def mark(self, offset: int) -> Mark:
        return Mark.of(offset, offset, f"{self._name}-{offset}".encode())

    async def _read_mark(self, _source: Partition, offset: int) -> Mark:
        return self.mark(offset)

    async def take(self, rows: int) -> StageState:
        """Publish the state of the first rows of its log."""
        state = state_of(rows, salt=self._name)
        self.checkpoints.assigned(P0, 0)
        start = StartPoint(0, 0, rows, must_commit=False, end=rows)
        self.checkpoints.take(P0, "card", start, rows, state, self.mark(rows - 1))
        self.checkpoints.committed(P0, rows)
        await self.checkpoints.settle()
        return state

    async def newest(self, committed: int) -> tuple[int, StageState] | None:
        start = StartPoint(0, 0, committed, must_commit=False, end=committed)
        found = await self.checkpoints.newest(P0, "card", start, lambda: StageState(PLAN))
        return None if found is None else (found.offset, found.state)


async def test_a_checkpoint_of_the_other_cluster_is_refused_by_name(tmp_path: Path) -> None:
    one, two = Cluster("one", tmp_path), Cluster("two", tmp_path)
    await one.take(200)
    with capture_logs() as logs:
        assert await two.newest(300) is None
    assert [line.get("code") for line in logs] == ["log_made_anew", None]


async def test_each_finds_its_own_under_the_newer_ones_of_the_other(tmp_path: Path) -> None:
    one, two = Cluster("one", tmp_path), Cluster("two", tmp_path)
    ours = await one.take(100)
    await two.take(200)
    found = await one.newest(300)
    assert found is not None
    assert found[0] == 100
    assert found[1].snapshot() == ours.snapshot()
