"""The data plane of one worker: which partitions it works on, and what it may commit.

`DataPlane` owns the tasks and ranges of the current assignment. It is driven from
two sides: the consumer (`decide_starts`, `assign`, `open`, `positions`, `revoke`)
and the stages' agents (`accept`). Everything runs on the app's event loop.

Delivery at least once: an input is complete when every output of it is acknowledged,
and the offsets of what is complete are committed every `commit_interval_ms`. A crash
in between repeats outputs; state is never doubled, because it is folded again from
the log, and because a stage ignores internal records that it has folded before.
Exactly once: outputs and offsets are of one transaction (`dataplane/transactions`).
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog

from stream_infer.dataplane.alignment import AlignmentGroup, aligned_groups
from stream_infer.dataplane.bases import find_bases
from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.beat import Fed
from stream_infer.dataplane.checkpointing import Checkpointer
from stream_infer.dataplane.dead_workers import DeadWorkers
from stream_infer.dataplane.draining import drain, end_runners
from stream_infer.dataplane.handing_on import HandingOn
from stream_infer.dataplane.ledger import Ledger, moment
from stream_infer.dataplane.lifecycle import (
    UNDECIDED,
    Cause,
    Deadline,
    Phase,
    revoke_seconds,
)
from stream_infer.dataplane.lived_time import LivedTime
from stream_infer.dataplane.offsets import (
    Committed,
    KnownBase,
    LogBounds,
    StartPoint,
    commit_metadata,
)
from stream_infer.dataplane.outputs import Outputs
from stream_infer.dataplane.progress_sharing import ProgressSharing
from stream_infer.dataplane.revoked import Revoked
from stream_infer.dataplane.senders import Assigned, Senders
from stream_infer.dataplane.skips import without_skipped
from stream_infer.dataplane.stage import Stage, State
from stream_infer.dataplane.standstill import run_or_stand_still
from stream_infer.dataplane.starts import Starts
from stream_infer.dataplane.surroundings import Replayer, Surroundings
from stream_infer.dataplane.task import PartitionTask
from stream_infer.dataplane.ticks import TICK_SECONDS, write_ticks
from stream_infer.dataplane.together import StageWork
from stream_infer.dataplane.transaction_rules import AssignmentMovedOnError
from stream_infer.kafka.skips import Skipped
from stream_infer.observability.totals import StageTotals
from stream_infer.settings.worker import WorkerSettings

log = structlog.get_logger("stream_infer.dataplane")


async def _no_skips() -> Skipped:
    return {}


class DataPlane:
    """Stages, tasks and alignment of one worker; its ledger has the offsets.

    settings     how to run the stages
    replay       reads a log for the restore
    make_senders  makes the senders of an assignment
    on_failure   called with what must stop the worker
    read_skips   reads which records are passed over
    """

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        replay: Replayer,
        make_senders: Callable[[Assigned], Senders],
        on_failure: Callable[[BaseException], Awaitable[None]],
        read_skips: Callable[[], Awaitable[Skipped]] = _no_skips,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stages: dict[str, Stage] = {}
        self.topics: frozenset[str] = frozenset()
        self._work: dict[str, StageWork] = {}
        self._starts = Starts(self.stages, settings)
        self._senders: Senders | None = None
        self.settings = settings
        self.instance = settings.instance_id or uuid.uuid4().hex[:12]
        """Of this worker: in its transactional ids, and shown by its member of the group."""
        self.tasks: dict[Partition, PartitionTask] = {}
        self.fed = Fed()
        self.handing_on = HandingOn(self.fed)
        self.answered_ms: Callable[[], int | None] = lambda: None
        """When Kafka last answered about the partition that waits longest, epoch ms."""
        self._lived = LivedTime()
        self.ledger = Ledger(
            settings.in_flight_bytes_max,
            self._tell_committed,
            self.fed.tell_readable,
            self.fed.tell_answered,
        )
        self.fed.is_in_work = self.ledger.is_in_work
        self.totals = StageTotals(since_ms=int(time.time() * 1000))
        self.skipped: Skipped = {}
        self.checkpoints: Checkpointer | None = None
        self.sharing: ProgressSharing | None = None
        self.dead_workers: DeadWorkers | None = None
        self.joined = False
        self.polled_s: float | None = None
        self.broker_away_since_s: float | None = None
        self._replay = replay
        self._read_skips = read_skips
        self._make_senders = make_senders
        self._on_failure = on_failure
        self._seconds = seconds
        self.revoked = Revoked()
        self.draining: dict[Partition, PartitionTask] = {}
        self._runners: dict[Partition, asyncio.Task[None]] = {}
        self._groups: dict[str, AlignmentGroup] = {}
        self._progress = asyncio.Event()

    def open_stages(
        self, stages: Sequence[Stage], partitions: Mapping[str, int] | None = None
    ) -> None:
        """Set the stages to run, before anything is assigned.

        partitions  of the topics whose number says in which partition a key's state is
        """
        self.stages = {stage.topic: stage for stage in stages}
        self.topics = frozenset(self.stages)
        self.fed.topics = frozenset(s.feeds for s in stages if s.feeds in self.stages)
        self._starts = Starts(self.stages, self.settings, partitions)
        self._work = {
            topic: StageWork(stage, self.totals.meter(stage.name))
            for topic, stage in self.stages.items()
        }

    # -- assignment -------------------------------------------------------------------

    def decide_starts(
        self,
        committed: Mapping[Partition, Committed | None],
        bounds: Mapping[Partition, LogBounds],
        bases: Mapping[Partition, Sequence[KnownBase]] | None = None,
    ) -> dict[Partition, StartPoint]:
        """Decide where each assigned partition starts; see `find_bases` for the last."""
        return self._starts.decide(committed, bounds, bases)

    async def find_bases(
        self, committed: Mapping[Partition, Committed | None]
    ) -> dict[Partition, list[KnownBase]]:
        """Return the states made of a history that partitions may begin with."""
        kept = self.checkpoints
        if kept is None:
            return {}
        return await find_bases(kept.store, kept.pipeline, self.stages, committed)

    def look_for_dead_workers(self) -> None:
        """Begin to end what dead workers of the group have left open; nobody waits for it."""
        if self.dead_workers is not None:
            self.dead_workers.look([stage.name for stage in self.stages.values()])

    def metadata(self, partition: Partition, start: StartPoint) -> str:
        """Return the metadata of a commit: only our own partitions carry any."""
        if partition.topic not in self.topics:
            return ""
        return commit_metadata(start.declared, start.base, start.partitions)

    async def assign(self, starts: Mapping[Partition, StartPoint]) -> None:
        """Open a task for each partition of our stages."""
        passed_over, self.skipped = self.skipped, await self._read_skips()
        if self.checkpoints is not None:
            self.checkpoints.pass_over(self.skipped)
        ours = {p: start for p, start in starts.items() if p.topic in self.topics}
        self.ledger.assign(ours)
        self._groups = aligned_groups(ours, self.stages, self.settings.align_skew_ms)
        senders = self._senders = self._make_senders(self._assigned(ours))
        self.totals.transacting(senders.facts)
        kept = self.revoked.come_back(passed_over, self.skipped, ours)
        for partition, start in ours.items():
            task = self._open_task(partition, start, kept.get(partition), senders)
            self.tasks[partition] = task
            self.totals.opened(task.stage.name, task.counters)
            self._runners[partition] = asyncio.create_task(
                self._run(task), name=f"stage-{partition}"
            )
        if self.sharing is not None:
            self.sharing.assigned(self._groups, self.stages, self.tasks, senders)
        self.joined = True
        log.info("assigned", partitions=sorted(str(partition) for partition in ours))

    def _assigned(self, starts: Mapping[Partition, StartPoint]) -> Assigned:
        return Assigned(
            positions={partition: start.position for partition, start in starts.items()},
            names={topic: stage.name for topic, stage in self.stages.items()},
            metadata=self.ledger.metadata,
            done=self.ledger.done,
            acknowledged=self.ledger.acknowledged,
            committed=self.ledger.committed,
            handing_on=self.handing_on,
            is_drained=lambda: self.fed.is_drained,
        )

    def _open_task(
        self,
        partition: Partition,
        start: StartPoint,
        kept: tuple[int, State] | None,
        senders: Senders,
    ) -> PartitionTask:
        stage = self.stages[partition.topic]
        state = None
        if kept is not None and start.replay_from <= kept[0] <= start.position:
            # The state is a fold up to that offset, whoever owned the partition since.
            offset, state = kept
            start = replace(start, replay_from=offset)
        patience = self.settings.align_wait_max_ms
        return PartitionTask(
            self._work[partition.topic],
            partition,
            start,
            state,
            senders.of(partition),
            self._groups.get(stage.feeds) if stage.feeds else None,
            Surroundings(
                replay=self._replay,
                on_progress=self._progress.set,
                wait_progress=self._wait_progress,
                seconds=self._seconds,
                lived=self._lived.seconds,
                has_unread=self.ledger.has_unread,
                is_restoring=self._is_restoring,
                passes_on=self._passes_on,
                checkpoints=self.checkpoints,
                state_bytes_max=self.settings.state_bytes_max,
                align_wait_max_s=None if patience is None else patience / 1000,
            ),
        )

    async def _run(self, task: PartitionTask) -> None:
        try:
            await run_or_stand_still(task)
        except asyncio.CancelledError:
            raise
        except AssignmentMovedOnError as error:
            # The client learns it too, and has the partition revoked.
            task.life.move(Cause.MOVED_ON)
            log.warning("assignment_moved_on", source=str(task.source), cause=error.message)
        except Exception as error:  # noqa: BLE001 - handed on to whoever runs the app
            await self._on_failure(error)

    async def revoke(self) -> None:
        """Finish what is in flight within the deadline, commit it, and close every task.

        Safe to repeat. A state that is exactly the fold of what is committed is kept: if
        the partition comes back, only what others have committed since is replayed.
        """
        self.joined = False
        tasks, runners = self.tasks, self._runners
        self.tasks, self._runners = {}, {}
        if not tasks:
            return
        deadline = Deadline(self._seconds(), revoke_seconds())
        self.draining = tasks
        if self.sharing is not None:
            await self.sharing.revoked()
        await end_runners(runners.values())
        given_up = await drain(tasks, deadline, self._seconds)
        senders, self._senders = self._senders, None
        if senders is not None:
            await senders.end(given_up, deadline.left_s(self._seconds()))
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline.left_s(self._seconds())):
                await self.ledger.commit()
        for partition, task in tasks.items():
            self.revoked.leave(task, self.ledger.committed_of(partition))
            task.drop_queued()
            self.totals.closed(task.counters)
        if self.checkpoints is not None:
            await asyncio.gather(*map(self.checkpoints.revoked, tasks))
        self.draining = {}
        self.ledger.revoked()

    async def close(self) -> None:
        """Let go of what outlives an assignment, at the worker's end."""
        if self.checkpoints is not None:
            await self.checkpoints.close()
        if self.dead_workers is not None:
            await self.dead_workers.close()

    # -- delivery -----------------------------------------------------------------------

    def has_room(self, source: Any) -> bool:
        """Say whether more may be fetched for a partition, given as any (topic, partition)."""
        partition = Partition(*source)
        if partition.topic not in self.topics:
            return True
        return partition in self.tasks and self.ledger.budget.has_room(partition)

    def open(self, source: Partition, records: Sequence[Any]) -> Iterable[RecordBatch]:
        """Register fetched records and yield them as batches, without those to be passed over."""
        kept = without_skipped(records, self.skipped.get(source, ()))
        return self.ledger.open(source, kept, lambda: source in self.tasks)

    def accept(self, batches: Iterable[RecordBatch]) -> None:
        """Take batches from their stage's agent, but none of an assignment that has ended.

        A partition that comes back is read again from its committed offset, so a batch that
        was opened before would be folded twice.
        """
        for batch in batches:
            task = self.tasks.get(batch.source)
            current = self.ledger.is_current(batch.source, batch.ranges)
            if task is not None and current and task.phase is not Phase.CLOSED:
                task.put(batch)

    def _passes_on(self, outputs: Outputs) -> None:
        if self.settings.delivery == "exactly_once":  # else what was written is handed on
            self.fed.note_writing(destination.topic for destination, _ in outputs.items())

    def _tell_committed(self, partition: Partition, offset: int) -> None:
        if self.checkpoints is not None:
            self.checkpoints.committed(partition, offset)

    # -- commit and time -----------------------------------------------------------------------

    async def commit_forever(self) -> None:
        """Commit every `commit_interval_s` until cancelled."""
        while True:
            await asyncio.sleep(self.settings.commit_interval_s)
            await self.ledger.commit()

    async def tick_forever(self) -> None:
        """Let time pass in logs of ours that nobody writes to, until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._lived.turn(self._seconds(), self.answered_ms())
            if self._senders is not None:
                await write_ticks(self.tasks, self._senders)

    # -- alignment ---------------------------------------------------------------------------

    async def _wait_progress(self) -> None:
        """Wait until a head may have moved; look again after a moment in any case.

        The look matters for a partition whose log end grew or was reached without a
        record of it passing through here.
        """
        self._progress.clear()
        await moment(self._progress, seconds=0.02)
        for task in self.tasks.values():
            task.refresh_head()

    def note_progress(self) -> None:
        """Let whoever waits for a head look again."""
        self._progress.set()

    def _is_restoring(self) -> bool:
        if self.sharing is not None and self.sharing.is_restoring():
            return True
        return any(task.phase in UNDECIDED for task in self.tasks.values())
