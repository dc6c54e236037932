"""One worker process of the simulation: a real data plane, and its consumer as Faust drives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from functools import partial
from random import Random
from typing import Any

from aiokafka.errors import CommitFailedError

from simulation.cluster import Cluster, WrongError
from simulation.folding import FoldingStage
from simulation.virtual_time import OWNER, OwnedTask, turns
from stream_infer.checkpoints.pace import Pace
from stream_infer.dataplane.batch import Partition, RecordBatch
from stream_infer.dataplane.checkpointing import Checkpointer
from stream_infer.dataplane.exactly_once import ExactlyOnceSenders
from stream_infer.dataplane.lifecycle import Phase
from stream_infer.dataplane.offsets import ReadTo
from stream_infer.dataplane.plane import DataPlane
from stream_infer.dataplane.sender import StageSender
from stream_infer.dataplane.senders import Assigned, AtLeastOnceSenders, Senders
from stream_infer.dataplane.transactions import TransactionSender
from stream_infer.kafka.transactions import GroupMember
from stream_infer.settings.worker import WorkerSettings
from support.fake_kafka import FAULTS, FakeKafka
from support.fake_transactions import FAULTS_MOST

CALLS_WITH_FAULTS = 600
"""Of a process's calls to Kafka, those that a fault may happen to."""


AT_TIMES = [fault for fault in FAULTS if fault != "refused"]
"""What is refused is so for what it is, not at times."""


class Process:
    """A worker from its start to its end.

    name      whose tasks are its
    settings  of the data plane
    faults    share of its calls to Kafka that fail
    """

    def __init__(
        self, name: str, cluster: Cluster, random: Random, settings: WorkerSettings, faults: float
    ) -> None:
        self.name = name
        self.failures: list[BaseException] = []
        self.kept_seen = 0
        self.settings = settings
        self._cluster = cluster
        self._random = random
        self._position: dict[Partition, int] = {}
        self._generation = 0
        self._turn = asyncio.Lock()
        self._delivered: asyncio.Queue[list[RecordBatch]] = asyncio.Queue()
        self._dead = False
        self._leaving = False
        self.line = cluster.line(self._transaction_faults(faults))
        self._sent = FakeKafka(
            logs=cluster.visible,
            faults=self._send_faults(faults),
            refuses=_Refused(),  # type: ignore[arg-type] # asked only whether it has something
        )
        feeds = "next" if random.random() < 0.5 else None
        self.plane = DataPlane(
            settings,
            replay=self._replay,
            make_senders=self._make_senders,
            on_failure=self._fail,
            seconds=asyncio.get_running_loop().time,
        )
        self.plane.open_stages([FoldingStage(feeds)])
        if cluster.store is not None:
            self.plane.checkpoints = Checkpointer(
                cluster.store,
                "simulated",
                pace=Pace(resume_s=0.0, interval_s_min=random.choice([0.0, 0.2])),
                on_failure=self._fail,
                seconds=asyncio.get_running_loop().time,
            )
        self.plane.ledger.commit_positions = self._commit
        self.plane.ledger.read_to = self._read_to
        for each in (self._consume(), self._deliver(), self.plane.commit_forever()):
            self.begin(each)

    def _transaction_faults(self, share: float) -> dict[int, int]:
        return {
            call: self._random.randrange(FAULTS_MOST)
            for call in range(CALLS_WITH_FAULTS)
            if self._random.random() < share
        }

    def _send_faults(self, share: float) -> dict[int, Any]:
        return {
            call: self._random.choice(AT_TIMES)
            for call in range(CALLS_WITH_FAULTS)
            if self._random.random() < share
        }

    def begin(self, coroutine: Any) -> asyncio.Task[Any]:
        """Begin a task that ends with the process."""
        token = OWNER.set(self.name)
        try:
            task = asyncio.get_running_loop().create_task(coroutine)
        finally:
            OWNER.reset(token)
        task.add_done_callback(self._note)
        return task

    def _note(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None and not self._dead:
            self.failures.append(task.exception())  # type: ignore[arg-type] # see above

    async def _fail(self, error: BaseException) -> None:
        self.failures.append(error)

    def heal(self) -> None:
        """Let nothing fail any more."""
        self.line.faults.clear()
        self._sent.faults.clear()

    # -- what the app gives the data plane ---------------------------------------------------------

    def _make_senders(self, assigned: Assigned) -> Senders:
        if not self._cluster.exactly_once:
            return AtLeastOnceSenders(
                assigned, lambda name: StageSender(name, partial(_alive, self, self._sent.producer))
            )
        member = self.line.member()
        return ExactlyOnceSenders(assigned, partial(self._make_sender, member))

    def _make_sender(self, member: GroupMember, name: str, assigned: Assigned) -> TransactionSender:
        return TransactionSender(
            name,
            partial(_alive, self, self.line.producer),
            member=lambda: member,
            metadata=assigned.metadata,
            committed=assigned.committed,
            read_committed_offsets=self.line.read_committed_offsets,
            interval_s=self.settings.commit_interval_s,
        )

    async def _replay(
        self, source: Partition, start: int, end: int, on_batch: Callable[[RecordBatch], None]
    ) -> None:
        records = self._cluster.records(source, start, end)
        while records:
            await turns(self._random.randrange(4))
            size = self._random.randint(1, 5)
            on_batch(RecordBatch(source, records[:size]))
            records = records[size:]

    async def _commit(self, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        generation = self._generation
        await turns(self._random.randrange(3))
        self._cluster.commit(offsets, generation)
        await turns(self._random.randrange(3))

    def _read_to(self, source: Partition) -> ReadTo:
        return ReadTo(self._position.get(source), self._cluster.ends[source])

    # -- the consumer ------------------------------------------------------------------------------

    async def _consume(self) -> None:
        random, cluster = self._random, self._cluster
        while True:
            await asyncio.sleep(random.choice([0.0, 0.001, 0.01]))
            fetchable = [p for p in self._position if self.plane.has_room(p)]
            if not fetchable:
                await self.plane.ledger.wait_for_room()
                continue
            generation = self._generation
            wanted = random.sample(fetchable, random.randint(1, len(fetchable)))
            fetched = {p: cluster.records(p, self._position[p]) for p in wanted}
            fetched = {p: records[: random.randint(1, 12)] for p, records in fetched.items()}
            await turns(random.randrange(3))
            if generation != self._generation:
                continue
            opened: list[RecordBatch] = []
            for source, records in fetched.items():
                if records:
                    self._position[source] = records[-1].offset + 1
                    opened += self.plane.open(source, records)
                elif cluster.last_offset(source) <= self._position[source]:
                    self._position[source] = cluster.ends[source]  # past the markers
            if opened:
                self._delivered.put_nowait(opened)
            else:
                await asyncio.sleep(0.02)

    async def _deliver(self) -> None:
        while True:
            batches = await self._delivered.get()
            await turns(self._random.randrange(6))
            if self._random.random() < 0.05:
                await asyncio.sleep(self._random.choice([0.1, 3.0]))  # overtaken by a rebalance
            self.plane.accept(batches)

    # -- the group ---------------------------------------------------------------------------------

    async def assign(self, partitions: Collection[Partition], generation: int) -> None:
        """Do what follows an assignment; one that is void by now is given up."""
        async with self._turn:
            if generation != self._cluster.generation or self._leaving:
                return
            self._generation = generation
            committed = await self._cluster.stable(partitions)
            starts = self.plane.decide_starts(committed, self._cluster.bounds(partitions))
            first = {
                p: (start.position, self.plane.metadata(p, start))
                for p, start in starts.items()
                if start.must_commit
            }
            if first:
                try:
                    await self._commit(first)
                except CommitFailedError:
                    return
            self._position = {p: start.position for p, start in starts.items()}
            await turns(self._random.randrange(3))
            await self.plane.assign(starts)

    async def revoke(self) -> None:
        """Do what a revocation asks for, and look at the states that are kept."""
        async with self._turn:
            await self.plane.revoke()
            self._position = {}
            for source, (offset, state) in self.plane.revoked.states.items():
                self.kept_seen += 1
                self._cluster.check_state(source, offset, state)
            if self.plane.ledger.budget.held or self.plane.tasks:
                raise WrongError(f"{self.name} holds something after a revocation")

    def is_at_rest(self) -> bool:
        """Say whether every partition that it was given is worked on, and nothing is in work."""
        running = all(task.phase is Phase.RUNNING for task in self.plane.tasks.values())
        return self.plane.joined and running and self.plane.ledger.budget.held == 0

    def check_states(self) -> None:
        """Look at the states of all partitions that are at rest."""
        for source, task in self.plane.tasks.items():
            self._cluster.check_state(source, task.position, task.state)

    async def wire(self, call: str) -> None:
        """Take the time that a call to Kafka takes; the dead call nobody."""
        if call == "commit_transaction" and self._random.random() < 0.1:
            await asyncio.sleep(self._random.choice([0.05, 0.5, 3.0]))
        if self._dead:
            raise asyncio.CancelledError

    def is_committing(self) -> bool:
        """Say whether a transaction of it has its offsets, and is not yet ended."""
        return self.line.open is not None and bool(self.line.open.offsets)

    # -- ends --------------------------------------------------------------------------------------

    async def kill(self) -> None:
        """End without a word: what it has open in Kafka stays open."""
        self._dead = True
        while alive := self.tasks():
            for task in alive:
                task.cancel()
            await asyncio.wait(alive, timeout=0.1)

    async def stop(self) -> None:
        """End as a worker does that was told to."""
        self._leaving = True
        await self.revoke()
        await self.plane.close()
        await turns(3)  # what waited for its turn goes home
        mine = self.tasks()
        main = {"_consume", "_deliver", "commit_forever"}
        strays = [t for t in mine if t.get_coro().__name__ not in main]  # type: ignore[union-attr]
        if strays:
            raise WrongError(f"{self.name} has tasks left: {strays}")
        if self.line.running or self._sent.running:
            raise WrongError(f"{self.name} has producers left")
        self._dead = True
        for task in mine:
            task.cancel()
        await asyncio.wait(mine)

    def tasks(self) -> list[OwnedTask]:
        """Return its tasks that have not ended."""
        found = [task for task in asyncio.all_tasks() if isinstance(task, OwnedTask)]
        return sorted((t for t in found if t.owner == self.name), key=lambda task: task.number)


class _Refused:
    def intersection(self, values: Collection[bytes | None]) -> bool:
        return any(value is not None and value.endswith(b"|refused") for value in values)


def _alive(process: Process, make: Callable[[], Any]) -> Any:
    return _Alive(process, make())


class _Alive:
    """A producer, as long as its process lives; after that no call of it goes out or comes back."""

    def __init__(self, process: Process, producer: Any) -> None:
        self._process = process
        self._producer = producer

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._producer, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def call(*arguments: Any, **options: Any) -> Any:
            await self._process.wire(name)
            return await found(*arguments, **options)

        return call
