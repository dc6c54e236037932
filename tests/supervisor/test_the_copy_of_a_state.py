"""The throw-away child tries a range on the state that a worker would have met it with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stream_infer.checkpoints.folder import FolderStore
from stream_infer.dataplane.at_work import Span
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.offsets import Committed, commit_metadata
from stream_infer.dataplane.standstill import StandstillError
from stream_infer.supervisor.probe import begin_with, fold_start
from support.checkpoints import PLAN, state_of, written

SOURCE = Partition("payments", 0)
SPAN = Span("card", "payments", 0, 40, 44)
HISTORY = "h" * 32


class CardStage:
    """The stage whose states `support.checkpoints` makes."""

    name = "card"

    def open_state(self, _bytes_max: int | None) -> Any:
        return state_of(0)


async def beginning(folder: Path, commit: Committed | None, *skipped: int) -> tuple[int, int]:
    """Return how many keys the copy begins with, and the offset that it is the state of."""
    store = FolderStore(folder, "payments")
    stage: Any = CardStage()
    start = fold_start(commit, SPAN, 0)
    begin = await begin_with(store, "payments", stage, SOURCE, start, skipped)
    return begin.state.keys, begin.offset


async def test_it_begins_with_the_history_that_the_fold_began_with(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, "payments")
    await written(store, state_of(30, keys=9), 7, declared_start=7, base=HISTORY)
    assert await beginning(tmp_path, Committed(50, commit_metadata(7, HISTORY))) == (9, 7)


async def test_a_history_that_nobody_has_is_named_and_never_left_out(tmp_path: Path) -> None:
    await written(FolderStore(tmp_path, "payments"), state_of(9), 7, declared_start=7)
    with pytest.raises(StandstillError) as caught:
        await beginning(tmp_path, Committed(50, commit_metadata(7, HISTORY)))
    assert caught.value.code == "base_missing"


async def test_it_begins_with_the_newest_checkpoint_in_front_of_the_range(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, "payments")
    for offset, keys in ((10, 3), (40, 5), (41, 6)):
        await written(store, state_of(20, keys=keys), offset, created_ms=offset)
    assert await beginning(tmp_path, Committed(50, commit_metadata(0))) == (5, 40)
    # One that holds a record which is passed over by now is none.
    assert await beginning(tmp_path, Committed(50, commit_metadata(0)), 20) == (3, 10)


@pytest.mark.parametrize("commit", [None, Committed(50, "set by a tool")])
async def test_without_any_it_begins_with_nothing_at_the_logs_start(
    tmp_path: Path, commit: Committed | None
) -> None:
    assert await beginning(tmp_path, commit) == (0, 0)


def test_a_log_that_was_cut_is_read_from_where_it_begins() -> None:
    start = fold_start(Committed(50, commit_metadata(3)), SPAN, 12)
    assert (start.declared, start.replay_from, start.position) == (3, 12, 40)
    assert PLAN.features_version
