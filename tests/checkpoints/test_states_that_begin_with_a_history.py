"""Where a fold began with a history, no state without it is ever begun with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from stream_infer.checkpoints.choosing import Wanted, choose, prunable
from stream_infer.checkpoints.folder import FolderStore
from stream_infer.dataplane.bases import find_bases
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.checkpointing import Checkpointer
from stream_infer.dataplane.offsets import (
    Committed,
    KnownBase,
    LogBounds,
    StartPoint,
    adoptable,
    commit_metadata,
    committed_base,
    decide_start,
    declared_start,
)
from stream_infer.dataplane.standstill import StandstillError
from stream_infer.dataplane.starts import Starts
from stream_infer.dataplane.state import StageState
from stream_infer.errors import NotFoundError
from support.checkpoints import PLAN, fold_more, manifest, state_of, written
from support.dataplane import SETTINGS, stages
from support.dataplane import SOURCE as INPUT

P0 = Partition("payments", 0)
HISTORY, OTHER = "h" * 32, "o" * 32
LOG = LogBounds(5, 90)


def start(
    committed: Committed | None, *bases: KnownBase, where: Any = "earliest", log: LogBounds = LOG
) -> StartPoint:
    return decide_start(P0, committed, log, start=where, when_offset_lost="fail", bases=bases)


def based(position: int, declared: int = 0, base: str | None = HISTORY, log: int = 0) -> StartPoint:
    replay_from = max(declared, log)
    return StartPoint(declared, replay_from, position, must_commit=False, end=position, base=base)


def test_a_commit_says_with_which_history_the_fold_began() -> None:
    metadata = commit_metadata(5, HISTORY)
    assert (declared_start(metadata), committed_base(metadata)) == (5, HISTORY)
    assert committed_base(commit_metadata(5)) is None
    for text in ("", "note", "[1]", '{"start": 5, "base": 7}'):
        assert committed_base(text) is None
    found = start(Committed(40, metadata))
    assert (found.declared, found.position, found.base) == (5, 40, HISTORY)


def test_a_partition_that_was_never_read_begins_with_the_history_made_for_its_start() -> None:
    found = start(None, KnownBase(5, HISTORY, fits=True))
    assert (found.position, found.base, found.must_commit) == (5, HISTORY, True)
    for unfit in (KnownBase(6, HISTORY, fits=True), KnownBase(5, HISTORY, fits=False)):
        assert start(None, unfit).base is None
    assert (
        start(None, KnownBase(6, OTHER, fits=True), KnownBase(5, HISTORY, fits=True)).base
        == HISTORY
    )


def test_latest_begins_where_the_history_was_made_for() -> None:
    found = start(None, KnownBase(70, HISTORY, fits=True), where="latest")
    assert (found.position, found.base) == (70, HISTORY)
    for outside in (4, 91):
        assert adoptable([KnownBase(outside, HISTORY, fits=True)], LOG, start="latest") is None
    assert start(None, where="latest").position == 90


def test_a_reset_by_another_tool_keeps_the_history() -> None:
    found = start(Committed(40), KnownBase(5, HISTORY, fits=True))
    assert (found.declared, found.position, found.base) == (5, 40, HISTORY)
    # Of whichever declarations: without it, the log would make another state.
    assert start(Committed(40), KnownBase(5, HISTORY, fits=False)).base == HISTORY
    behind = start(Committed(40), KnownBase(41, HISTORY, fits=True))
    assert (behind.declared, behind.base) == (5, None)


def test_what_is_begun_with_and_what_is_not_stands_in_the_log() -> None:
    of = Starts({stage.topic: stage for stage in stages()}, SETTINGS)
    with capture_logs() as logs:
        of.decide({INPUT: None}, {INPUT: LOG}, {INPUT: [KnownBase(5, HISTORY, fits=True)]})
        of.decide({INPUT: None}, {INPUT: LOG}, {INPUT: [KnownBase(7, HISTORY, fits=True)]})
    assert [(line["event"], line.get("base")) for line in logs] == [
        ("base_adopted", HISTORY),
        ("base_not_adopted", None),
    ]


@pytest.mark.parametrize("base", [None, OTHER])
def test_a_checkpoint_of_another_history_is_refused_by_name(base: str | None) -> None:
    wanted = Wanted("payments", "card", "payments", 0, 0, PLAN.features_version, 100, 0, HISTORY)
    choice = choose([manifest(50, base=base), manifest(40, base=HISTORY)], wanted)
    assert [each.offset for each in choice.usable] == [40]
    assert [refusal.code for refusal in choice.refused] == ["other_base"]
    without = wanted._replace(base=None)
    usable = choose([manifest(50), manifest(40, base=HISTORY)], without).usable
    assert [each.offset for each in usable] == [50]


def test_what_a_fold_began_with_serves_also_where_the_log_was_cut_behind_it() -> None:
    wanted = Wanted("payments", "card", "payments", 0, 5, PLAN.features_version, 100, 30, HISTORY)
    found = [manifest(at, declared_start=5, base=HISTORY) for at in (5, 20, 60)]
    assert [each.offset for each in choose(found, wanted).usable] == [60, 5]


def test_what_a_fold_began_with_is_never_pruned() -> None:
    base = manifest(0, base=HISTORY)
    old = manifest(0, base=HISTORY, fingerprint="older")
    later = [manifest(at, base=HISTORY) for at in (10, 20, 30, 40)]
    own = manifest(10**12, base=HISTORY)
    gone = prunable([base, old, *later, own], own)
    assert [each.offset for each in gone] == [20, 10]


def checkpointer(folder: Path) -> Checkpointer:
    return Checkpointer(FolderStore(folder, "payments"), "payments", seconds=lambda: 0.0)


async def newest(of: Checkpointer, at: StartPoint) -> Any:
    return await of.newest(P0, "card", at, lambda: StageState(PLAN))


async def test_the_state_goes_on_from_the_history_and_its_heirs_name_it(tmp_path: Path) -> None:
    of, history = checkpointer(tmp_path), state_of(300, salt="history")
    await written(of.store, history, 0, base=HISTORY)
    restored = await newest(of, based(0))
    assert restored.state.snapshot() == history.snapshot()
    fold_more(restored.state, 0, 80)
    of.assigned(P0, 0)
    of.take(P0, "card", based(0), 80, restored.state)
    of.committed(P0, 80)
    await of.settle()
    again = await newest(of, based(90))
    assert (again.offset, again.state.snapshot()) == (80, restored.state.snapshot())
    # And without the history's name, neither of them is used.
    assert await newest(of, based(90, base=None)) is None


@pytest.mark.parametrize("what", ["gone", "damaged", "folder"])
async def test_without_any_state_that_holds_the_history_the_partition_stands_still(
    tmp_path: Path, what: str
) -> None:
    of = checkpointer(tmp_path)
    await written(of.store, state_of(300), 0, base=HISTORY if what != "gone" else OTHER)
    chunks = _chunks(tmp_path)
    if what == "damaged":
        chunks.write_bytes(chunks.read_bytes()[:-1])
    if what == "folder":
        of = checkpointer(tmp_path / "unmounted")
    with pytest.raises(StandstillError) as caught:
        await newest(of, based(50))
    assert caught.value.code == "base_missing"
    assert "checkpoint build --from" in caught.value.fix
    assert caught.value.passes
    if what != "folder":
        await written(of.store, state_of(300), 0, base=HISTORY)
        assert (await newest(of, based(50))).offset == 0


async def test_histories_are_looked_for_where_commits_do_not_say_it(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, "payments")
    by_topic: Any = {"payments": _Stage()}
    await written(store, state_of(10), 7, declared_start=7, base=HISTORY, created_ms=1)
    await written(store, state_of(10), 7, declared_start=7, base=OTHER, created_ms=2)
    await written(store, state_of(10), 20, declared_start=7, base=HISTORY)  # made of the log, too
    await written(store, state_of(10), 7, declared_start=7, base=HISTORY, stage="other")

    async def find(commit: Committed | None) -> Any:
        return await find_bases(store, "payments", by_topic, {P0: commit})

    both = [KnownBase(7, OTHER, fits=True), KnownBase(7, HISTORY, fits=True)]
    assert await find(None) == {P0: both}
    assert await find(Committed(40)) == {P0: both}
    assert await find(Committed(40, commit_metadata(7))) == {}
    store = FolderStore(tmp_path / "unmounted", "payments")
    with pytest.raises(NotFoundError):
        await find(None)


def _chunks(folder: Path) -> Path:
    [chunks] = folder.rglob("*.chunks")
    return chunks


class _Stage:
    name = "card"

    def open_state(self, bytes_max: int | None) -> StageState:
        return StageState(PLAN, (), bytes_max)
