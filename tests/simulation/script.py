"""What happens in one simulated run: drawn from its seed, and the same each time.

Workers come and go, are left behind by the group or killed, and their calls to Kafka fail, at any
turn of the event loop. In the end all is well again for long enough to finish, and then every
record must have been worked on as if nothing had happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from simulation import virtual_time
from simulation.cluster import Cluster, WrongError
from simulation.process import Process
from simulation.store import Store
from simulation.virtual_time import turns
from stream_infer.dataplane.batch import Partition
from stream_infer.settings.worker import Delivery, WorkerSettings

FINISH_SECONDS_MAX = 300.0
"""Virtual time in which everything must be done, once nothing fails any more."""


@dataclass
class Story:
    """What happened in a run, to see that runs are worth something.

    records, commits, kept  how many records there were, commits looked at, states kept
    steps                   what the script did
    checkpoints             checkpoints that were made known
    faults                  faults that happened to transactions
    """

    records: int = 0
    commits: int = 0
    kept: int = 0
    faults: int = 0
    checkpoints: int = 0
    steps: list[str] = field(default_factory=list)


def simulate(seed: int, delivery: Delivery) -> Story:
    """Run a seed; raises what is wrong, in words that name the seed."""
    story = Story()
    try:
        virtual_time.run(_Run(seed, delivery, story).run())
    except BaseException as error:
        error.add_note(f"seed {seed}, {delivery}: {', '.join(story.steps)}")
        raise
    return story


class _Run:
    def __init__(self, seed: int, delivery: Delivery, story: Story) -> None:
        self._random = random = Random(f"{seed} {delivery}")
        self._story = story
        self._settings = WorkerSettings(
            delivery=delivery,
            in_flight_bytes_max=random.choice([2_000, 20_000, 12_000_000]),
            commit_interval_ms=random.choice([5, 50, 500]),
            align_skew_ms=random.choice([2_000, 10_000, 3_600_000]),
            align_wait_max_ms=random.choice([100, 5_000, None]),
        )
        self._cluster = Cluster(random, random.randint(1, 4), exactly_once=delivery == EXACTLY)
        self._share = random.choice([0.0, 0.02, 0.1, 0.3])
        if random.random() < 0.5:
            self._cluster.store = Store(random, self._cluster.committed, random.choice([0.0, 0.1]))
        self._live: list[Process] = []
        self._owners: dict[Partition, Process] = {}
        self._started = 0
        self._assigning: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        cleaning = asyncio.create_task(self._cluster.abort_what_is_old())
        for _ in range(self._random.randint(1, 3)):
            self._start()
        writing = asyncio.create_task(self._write())
        await self._rebalance(self._live)
        for _ in range(self._random.randint(1, 6)):
            await self._pause()
            await self._disturb()
        await writing
        await self._finish()
        for process in self._live:
            await process.stop()
            self._look(process)
        cleaning.cancel()
        await asyncio.wait([cleaning])
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            raise WrongError(f"tasks are left: {left}")
        if self._cluster.store is not None:
            self._story.checkpoints = self._cluster.store.published
        self._story.commits = self._cluster.commits_checked

    # -- what comes in -----------------------------------------------------------------------------

    async def _write(self) -> None:
        random, cluster = self._random, self._cluster
        for _ in range(random.randint(3, 30)):
            await asyncio.sleep(random.choice([0.0, 0.005, 0.05, 0.2]))
            count = random.randint(1, 15)
            cluster.append(random.choice(cluster.sources), count)
            self._story.records += count

    # -- what happens to the workers ---------------------------------------------------------------

    def _start(self) -> Process:
        self._started += 1
        name = f"worker-{self._started}"
        process = Process(name, self._cluster, self._random, self._settings, self._share)
        self._live.append(process)
        return process

    async def _pause(self) -> None:
        if self._random.random() < 0.5:
            await turns(self._random.randrange(60))
        else:
            await asyncio.sleep(self._random.choice([0.01, 0.1, 1.0, 8.0]))

    async def _disturb(self) -> None:
        step = self._random.choice(
            [self._anew, self._leave_behind, self._kill, self._come, self._go]
        )
        self._story.steps.append(step.__name__.strip("_"))
        await step()

    async def _anew(self) -> None:
        """All join again."""
        await self._rebalance(self._live)

    async def _come(self) -> None:
        """A worker joins."""
        if len(self._live) < 4:
            self._start()
        await self._rebalance(self._live)

    async def _go(self) -> None:
        """A worker is told to stop."""
        process = self._random.choice(self._live)
        stopping = process.begin(process.revoke())
        others = [each for each in self._live if each is not process]
        await asyncio.wait([stopping])
        stopping.result()
        await self._rebalance(others)
        await process.stop()
        self._look(process)
        self._live.remove(process)
        if not self._live:
            self._start()
            await self._rebalance(self._live)

    async def _kill(self) -> None:
        """A worker is killed; the group notices later."""
        process = self._random.choice(self._live)
        await self._moment(process)
        self._live.remove(process)
        await process.kill()
        self._look(process)
        await self._pause()
        if not self._live or self._random.random() < 0.5:
            self._start()
        await self._rebalance(self._live)

    async def _leave_behind(self) -> None:
        """The group goes on without a worker, which learns it only later."""
        process = self._random.choice(self._live)
        await self._moment(process)
        await self._rebalance([each for each in self._live if each is not process])
        await self._pause()
        await asyncio.wait([process.begin(process.revoke())])
        await self._rebalance(self._live)

    async def _moment(self, process: Process) -> None:
        """Wait for the moment at which the most can go wrong, for a while."""
        for _ in range(self._random.choice([0, 0, 500])):
            if process.is_committing():
                return
            await turns(1)

    async def _rebalance(self, members: Sequence[Process]) -> None:
        """All members give up what they have; then each gets a share."""
        revoking = [member.begin(member.revoke()) for member in members]
        if revoking:
            await asyncio.wait(revoking)
        self._cluster.move_on()
        shares: dict[Process, list[Partition]] = {member: [] for member in members}
        for source in self._cluster.sources:
            if shares:
                shares[self._random.choice(members)].append(source)
        generation = self._cluster.generation
        assigning = [m.begin(m.assign(share, generation)) for m, share in shares.items()]
        if self._random.random() < 0.7 and assigning:
            await asyncio.wait(assigning)
        for process in self._live:
            if process.failures:
                raise process.failures[0]

    # -- the end -----------------------------------------------------------------------------------

    async def _finish(self) -> None:
        for process in self._live:
            process.heal()
        await self._rebalance(self._live)
        try:
            async with asyncio.timeout(FINISH_SECONDS_MAX):
                while not self._is_done():
                    await asyncio.sleep(0.05)
                    for process in self._live:
                        if process.failures:
                            raise process.failures[0]
        except TimeoutError:
            cluster = self._cluster
            stands = [
                (str(p), cluster.committed.get(p), cluster.last_offset(p)) for p in cluster.sources
            ]
            held = [process.plane.ledger.budget.held for process in self._live]
            raise WrongError(f"it stands still: committed, written {stands}; held {held}") from None
        for process in self._live:
            process.check_states()

    def _is_done(self) -> bool:
        return all(process.is_at_rest() for process in self._live) and all(
            self._cluster.committed.get(source, (0, ""))[0] >= self._cluster.last_offset(source)
            for source in self._cluster.sources
        )

    def _look(self, process: Process) -> None:
        if process.failures:
            raise process.failures[0]
        self._story.kept += process.kept_seen
        self._story.faults += len(process.line.happened)


EXACTLY: Delivery = "exactly_once"
