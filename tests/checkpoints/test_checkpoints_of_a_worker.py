"""When a worker takes, publishes and finds checkpoints, and what it does about bad ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from stream_infer.checkpoints.folder import FolderStore
from stream_infer.checkpoints.manifest import Draft, Manifest, Mark
from stream_infer.checkpoints.pace import Pace
from stream_infer.dataplane import checkpointing as checkpointing_module
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.checkpoint_finding import Restored
from stream_infer.dataplane.checkpointing import Checkpointer
from stream_infer.dataplane.offsets import StartPoint
from stream_infer.dataplane.state import StageState
from stream_infer.errors import BrokerError, ConflictError, StateBudgetError
from support.checkpoints import PLAN, fold_more, mark, state_of, written

P0, P1 = Partition("payments", 0), Partition("payments", 1)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def at(committed: int, declared: int = 0, log_start: int = 0) -> StartPoint:
    return StartPoint(
        declared, max(declared, log_start), committed, must_commit=False, end=committed
    )


def checkpointer(folder: Path, clock: Clock | None = None, **words: Any) -> Checkpointer:
    store = FolderStore(folder, "payments")
    return Checkpointer(store, "payments", seconds=clock or Clock(), **words)


async def offsets(of: Checkpointer) -> list[int]:
    return sorted(m.offset for m in await of.store.found() if isinstance(m, Manifest))


async def newest(
    of: Checkpointer, start: StartPoint, state: Callable[[], Any] = lambda: StageState(PLAN)
) -> Restored | None:
    return await of.newest(P0, "card", start, state)


async def test_a_checkpoint_is_seen_only_once_a_commit_covers_it(tmp_path: Path) -> None:
    of, state = checkpointer(tmp_path), state_of(500)
    of.assigned(P0, 0)
    of.take(P0, "card", at(0), 500, state, mark(499))
    fold_more(state, 500, 900)
    await of.settle()
    of.committed(P0, 499)
    await of.settle()
    assert await offsets(of) == []
    of.committed(P0, 500)
    await of.settle()
    assert await offsets(of) == [500]
    restored = await newest(of, at(900))
    assert restored is not None
    assert restored.offset == 500
    # The state at its own offset, whatever was folded while it was written; it goes on from there.
    assert restored.state.snapshot() == state_of(500).snapshot()
    fold_more(restored.state, 500, 900)
    assert restored.state.snapshot() == state.snapshot()


async def test_a_commit_that_comes_before_the_writing_ends_counts_too(tmp_path: Path) -> None:
    of = checkpointer(tmp_path)
    of.assigned(P0, 0)
    of.take(P0, "card", at(0), 50, state_of(50))
    of.committed(P0, 60)
    await of.settle()
    assert await offsets(of) == [50]


async def test_what_no_commit_covered_is_given_up_with_the_partition(tmp_path: Path) -> None:
    of = checkpointer(tmp_path)
    of.assigned(P0, 0)
    of.take(P0, "card", at(0), 50, state_of(50))
    await of.settle()
    of.assigned(P1, 0)
    of.take(P1, "card", at(0), 900, state_of(900))  # still being written
    await of.revoked(P0)
    await of.revoked(P1)
    of.committed(P0, 50)
    await of.close()
    assert await offsets(of) == []
    assert [path for path in _matching(tmp_path, "*") if path.is_file()] == []


async def test_one_is_taken_when_it_is_due_and_one_at_a_time(tmp_path: Path) -> None:
    clock = Clock()
    pace = Pace(resume_s=1.0, interval_s_min=10.0, replay_per_s=400.0)
    of = checkpointer(tmp_path, clock, pace=pace)
    state = state_of(100)
    of.assigned(P0, 0)
    of.assigned(P1, 0)
    assert not of.maybe_take(P0, "card", at(0), 100, state)  # just assigned
    clock.now = 10.0
    assert not of.maybe_take(P0, "card", at(0), 99, state)  # a replay of 99 is quick enough
    assert of.maybe_take(P0, "card", at(0), 100, state)
    assert not of.maybe_take(P1, "card", at(0), 100, state)  # the other is being written
    await of.settle()
    assert of.maybe_take(P1, "card", at(0), 100, state)
    await of.settle()
    assert not of.maybe_take(P0, "card", at(0), 300, state)  # too soon again
    of.replayed(1_000_000, 1.0)
    clock.now = 20.0
    assert not of.maybe_take(P0, "card", at(0), 300, state)  # replays are quick, as was measured
    await of.close()


async def test_three_are_kept(tmp_path: Path) -> None:
    of = checkpointer(tmp_path)
    of.assigned(P0, 0)
    for offset in (10, 20, 30, 40, 50):
        of.take(P0, "card", at(0), offset, state_of(offset))
        of.committed(P0, offset)
        await of.settle()
    assert await offsets(of) == [30, 40, 50]
    assert of.published == 5


def flip(folder: Path, pattern: str, place: float) -> None:
    [path] = folder.rglob(pattern)
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("file", ["chunks", "json"])
@pytest.mark.parametrize("place", [0.0, 0.01, 0.1, 0.5, 0.9, 1.0])
async def test_a_damaged_checkpoint_is_named_and_the_next_older_one_used(
    tmp_path: Path, file: str, place: float
) -> None:
    of = checkpointer(tmp_path)
    for offset in (100, 200):
        await written(of.store, state_of(offset), offset)
    flip(tmp_path, f"*200-*.{file}", place)
    with capture_logs() as logs:
        restored = await newest(of, at(300))
    assert restored is not None
    assert restored.offset == 100
    assert restored.state.snapshot() == state_of(100).snapshot()
    said = [line for line in logs if line["event"] == "checkpoint_refused"]
    if file == "chunks":
        assert [line["code"] for line in said] == ["checkpoint_damaged"]


async def test_a_manifest_without_its_chunks_is_named_and_the_log_used(tmp_path: Path) -> None:
    of = checkpointer(tmp_path)
    await written(of.store, state_of(100), 100)
    [path] = list(_matching(tmp_path, "*.chunks"))
    path.unlink()
    with capture_logs() as logs:
        assert await newest(of, at(300)) is None
    assert [line["event"] for line in logs] == ["checkpoint_refused", "rebuilding_from_log"]


def _matching(folder: Path, pattern: str) -> Iterator[Path]:
    return folder.rglob(pattern)


@pytest.mark.parametrize(
    ("start", "code"),
    [
        (at(99), "ahead_of_commit"),
        (at(300, log_start=101), "below_log"),
        (at(300, declared=5), "other_start"),
    ],
)
async def test_a_checkpoint_that_does_not_fit_is_never_used(
    tmp_path: Path, start: StartPoint, code: str
) -> None:
    of = checkpointer(tmp_path)
    await written(of.store, state_of(100), 100)
    with capture_logs() as logs:
        assert await newest(of, start) is None
    assert logs[0]["code"] == code


async def test_other_features_are_rebuilt_from_the_log_by_name(tmp_path: Path) -> None:
    of = checkpointer(tmp_path)
    await written(of.store, state_of(100), 100, fingerprint="older")
    with capture_logs() as logs:
        assert await newest(of, at(300)) is None
    assert [line.get("code") for line in logs] == ["other_features", None]
    assert logs[1] == {
        "event": "rebuilding_from_log",
        "log_level": "info",
        "source": "payments-0",
        "first": 0,
        "until": 300,
        "checkpoints_refused": 1,
    }


@pytest.mark.parametrize("found", [None, Mark.of(99, 99, b"another")])
async def test_a_log_that_was_made_anew_is_told_by_its_records(
    tmp_path: Path, found: Mark | None
) -> None:
    asked: list[tuple[Partition, int]] = []

    async def read_mark(partition: Partition, offset: int) -> Mark | None:
        asked.append((partition, offset))
        return found

    of = checkpointer(tmp_path, read_mark=read_mark)
    await written(of.store, state_of(100), 100, mark=mark(99))
    with capture_logs() as logs:
        assert await newest(of, at(300)) is None
    assert logs[0]["code"] == "log_made_anew"
    assert asked == [(P0, 99)]
    # Where retention took the record itself, nothing speaks against the checkpoint.
    assert await newest(of, at(300, log_start=100)) is not None


async def test_the_same_log_is_known_by_its_record(tmp_path: Path) -> None:
    async def read_mark(partition: Partition, offset: int) -> Mark:
        assert partition == P0
        return mark(offset)

    of = checkpointer(tmp_path, read_mark=read_mark)
    await written(of.store, state_of(100), 100, mark=mark(99))
    assert await newest(of, at(300)) is not None


async def test_a_rebalance_does_not_wait_for_a_store_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointing_module, "GIVE_UP_S_MAX", 0.01)
    released = asyncio.Event()

    class Hanging(FolderStore):
        async def discard(self, draft: Draft, chunks: int) -> None:
            await released.wait()
            await super().discard(draft, chunks)

    of = Checkpointer(Hanging(tmp_path, "payments"), "payments", seconds=Clock())
    of.assigned(P0, 0)
    of.take(P0, "card", at(0), 50, state_of(50))
    await asyncio.sleep(0)
    await of.revoked(P0)
    assert not released.is_set()
    released.set()
    await of.close()
    assert [path for path in _matching(tmp_path, "*") if path.is_file()] == []


class Failing(FolderStore):
    """Fails where it is told to."""

    fails = ""

    def _fail(self, where: str) -> None:
        if where == self.fails:
            raise ConflictError("checkpoint_disk_full", "The disk is full.", "Make room.")

    async def put(self, *given: Any) -> Any:
        self._fail("put")
        return await super().put(*given)

    async def publish(self, manifest: Manifest) -> None:
        self._fail("publish")
        await super().publish(manifest)

    async def found(self) -> Any:
        self._fail("found")
        return await super().found()


@pytest.mark.parametrize("fails", ["put", "publish"])
async def test_a_full_disk_costs_the_checkpoint_and_not_the_worker(
    tmp_path: Path, fails: str
) -> None:
    store = Failing(tmp_path, "payments")
    of = Checkpointer(store, "payments", seconds=Clock())
    of.assigned(P0, 0)
    store.fails = fails
    with capture_logs() as logs:
        of.take(P0, "card", at(0), 50, state_of(50))
        of.committed(P0, 50)
        await of.settle()
    [said] = logs
    assert (said["event"], said["code"]) == ("checkpoint_failed", "checkpoint_disk_full")
    assert said["fix"]
    assert of.failed == 1
    store.fails = ""
    of.take(P0, "card", at(0), 60, state_of(60))
    of.committed(P0, 60)
    await of.settle()
    assert await offsets(of) == [60]


async def test_a_store_that_cannot_be_asked_leaves_the_log(tmp_path: Path) -> None:
    store = Failing(tmp_path, "payments")
    store.fails = "found"
    with capture_logs() as logs:
        assert await newest(Checkpointer(store, "payments"), at(50)) is None
    assert logs[0]["event"] == "checkpoints_unavailable"


async def test_a_state_beyond_its_budget_stops_the_restore(tmp_path: Path) -> None:
    of = checkpointer(tmp_path)
    await written(of.store, state_of(5_000), 5_000)
    with pytest.raises(StateBudgetError):
        await newest(of, at(5_000), lambda: StageState(PLAN, bytes_max=50_000))


async def test_a_stage_without_a_state_has_no_checkpoints(tmp_path: Path) -> None:
    assert await newest(checkpointer(tmp_path), at(5_000), lambda: None) is None


async def test_a_fault_of_the_program_is_handed_on(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    async def on_failure(error: BaseException) -> None:
        failures.append(error)

    class Broken(StageState):
        def capture(self) -> Iterator[dict[str, Any] | None]:
            yield {}

    of = checkpointer(tmp_path, on_failure=on_failure)
    of.assigned(P0, 0)
    of.take(P0, "card", at(0), 1, Broken(PLAN))
    await of.settle()
    assert [type(error) for error in failures] == [KeyError]


async def test_the_broker_going_away_in_a_restore_leaves_the_log(tmp_path: Path) -> None:
    async def read_mark(partition: Partition, offset: int) -> Mark:
        raise BrokerError("broker_refused", f"Nothing listens; {partition} {offset}.")

    of = checkpointer(tmp_path, read_mark=read_mark)
    await written(of.store, state_of(100), 100, mark=mark(99))
    with capture_logs() as logs:
        assert await newest(of, at(300)) is None
    assert logs[0]["code"] == "broker_refused"
