"""A record that is to be passed over is in no state that is begun with, whenever that was said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from stream_infer.checkpoints.choosing import prunable
from stream_infer.checkpoints.folder import FolderStore
from stream_infer.checkpoints.manifest import Manifest
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.checkpointing import Checkpointer
from stream_infer.dataplane.offsets import StartPoint
from stream_infer.dataplane.state import StageState
from support.checkpoints import PLAN, manifest, state_of, written
from support.dataplane import SOURCE as INPUT
from support.dataplane import FakeLog, PlaneOnFakes
from support.worker import until

P0 = Partition("payments", 0)
AT_300 = StartPoint(10, 10, 300, must_commit=False, end=300)


def of_folder(folder: Path, *skips: int) -> Checkpointer:
    of = Checkpointer(FolderStore(folder, "payments"), "payments", seconds=lambda: 0.0)
    of.pass_over({P0: frozenset(skips), Partition("other", 0): frozenset({50})})
    return of


async def offset_of(of: Checkpointer) -> int | None:
    restored = await of.newest(P0, "card", AT_300, lambda: StageState(PLAN))
    return None if restored is None else restored.offset


@pytest.mark.parametrize(
    ("skips", "offset"),
    [
        ((), 200),
        ((150,), 100),  # the one at 200 holds it
        ((200,), 200),  # neither does
        ((99, 150), None),
        ((5,), 200),  # before the fold began
    ],
)
async def test_a_checkpoint_that_holds_the_record_is_not_used(
    tmp_path: Path, skips: tuple[int, ...], offset: int | None
) -> None:
    of = of_folder(tmp_path, *skips)
    for at in (100, 200):
        await written(of.store, state_of(at), at, declared_start=10)
    with capture_logs() as logs:
        assert await offset_of(of) == offset
    refused = [line["code"] for line in logs if line["event"] == "checkpoint_unfit"]
    assert set(refused) <= {"other_skips"}


async def test_one_that_was_taken_without_the_record_names_it_and_is_used(tmp_path: Path) -> None:
    of = of_folder(tmp_path, 150, 5, 250)
    of.assigned(P0, 10)
    of.take(P0, "card", AT_300, 200, state_of(200))
    of.committed(P0, 200)
    await of.settle()
    [found] = await of.store.found()
    assert isinstance(found, Manifest)
    assert found.skips == (150,)
    assert await offset_of(of) == 200
    # Taken back: the record belongs to the state again.
    assert await offset_of(of_folder(tmp_path)) is None


def test_those_that_hold_the_record_do_not_count_among_the_three_that_are_kept() -> None:
    held = [manifest(at) for at in (100, 120, 140)]
    right = [manifest(at) for at in (10, 20, 30)]
    own = manifest(200, skips=(50,))
    assert [each.offset for each in prunable([*held, *right, own], own)] == [10]


async def test_a_state_in_memory_that_holds_the_record_is_folded_anew() -> None:
    on = PlaneOnFakes(FakeLog(9))
    skips: list[dict[Any, Any]] = [{}, {INPUT: frozenset({3})}, {INPUT: frozenset({3})}]

    async def read_skips() -> Any:
        return skips.pop(0)

    on.plane._read_skips = read_skips
    start = StartPoint(0, 0, 6, must_commit=False, end=6)
    replayed = []
    for _ in range(3):
        on.log.replayed.clear()
        await on.plane.assign({INPUT: start})
        await until(lambda: on.plane.tasks[INPUT].settled() is not None)  # restored by then
        replayed.append(list(on.log.replayed))
        await on.plane.revoke()
    assert replayed == [[(0, 6)], [(0, 6)], []]
    assert on.failures == []
