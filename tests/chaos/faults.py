"""Carries out the faults of a script."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from chaos.load import Feeder, Load
from chaos.script import Step
from chaos.transactions import fence, transactional_ids
from chaos.verdict import settle
from chaos.workers import Crew
from stream_infer.pipeline import Pipeline
from support.cluster import Cluster, Node

WORKERS_MAX = 3
EXPIRY_S = 6.0
"""How long nothing is to be done, for an idle transactional id to expire."""
FORWARD = 0.5
"""Draws below this set a clock ahead, others back."""
FULL_DISK = "checkpoint_disk_full"
MEET_S_MAX = 30.0
"""For a worker to meet a full disk, or to publish one more checkpoint: in these runs it writes one
every second or so."""
LONG_ZOMBIES = 0.6
"""Draws from here on are of zombies that sleep until Kafka has aborted what they had open."""


class Faults:
    """Does to a run what its script says; owns nothing but what it has done.

    session_s    session time-out of the group
    abort_s_max  after so long at the latest Kafka has aborted what a dead worker left open
    """

    def __init__(
        self,
        cluster: Cluster,
        crew: Crew,
        pipeline: Pipeline,
        feeder: Feeder,
        load: Load,
        session_s: float,
        abort_s_max: float,
    ) -> None:
        self._cluster = cluster
        self._crew = crew
        self._pipeline = pipeline
        self._feeder = feeder
        self._load = load
        self._session_s = session_s
        self._abort_s_max = abort_s_max
        self.idle: list[str] = []
        self._ways: dict[str, Callable[[float], Awaitable[None]]] = {
            "kill_worker": self._kill_worker,
            "kill_at_checkpoint": self._kill_at_checkpoint,
            "zombie": self._zombie,
            "stall": self._stall,
            "terminate_worker": self._terminate_worker,
            "add_worker": self._add_worker,
            "remove_worker": self._remove_worker,
            "kill_broker": self._kill_broker,
            "cut_line": self._cut_line,
            "slow_line": self._slow_line,
            "refused_output": self._refused_output,
            "clock_jump": self._clock_jump,
            "disk_full": self._disk_full,
            "fence_owner": self._fence_owner,
            "expired_id": self._expired_id,
            "kill_group_coordinator": self._kill_group_coordinator,
            "kill_transaction_coordinator": self._kill_transaction_coordinator,
            "kill_partition_leader": self._kill_partition_leader,
            "roll_brokers": self._roll_brokers,
        }

    async def do(self, step: Step) -> None:
        """Carry out one step."""
        await self._ways[step.fault](step.draw)

    # -- workers ----------------------------------------------------------------------------

    async def _kill_worker(self, draw: float) -> None:
        self._crew.kill(self._crew.pick(draw))
        await asyncio.sleep(draw)
        self._crew.add()

    async def _kill_at_checkpoint(self, _draw: float) -> None:
        try:
            async with asyncio.timeout(MEET_S_MAX):
                await self._crew.fall_at_checkpoint()
            self._crew.add()
        except TimeoutError:
            self.idle.append("kill_at_checkpoint")

    async def _zombie(self, draw: float) -> None:
        worker = self._crew.pick(draw)
        worker.pause()
        asleep_s = self._session_s * (1.3 + 0.4 * draw)
        if draw >= LONG_ZOMBIES:
            asleep_s = max(asleep_s, self._abort_s_max + 1.0)
        await asyncio.sleep(asleep_s)
        worker.resume()

    async def _stall(self, draw: float) -> None:
        worker = self._crew.pick(draw)
        worker.pause()
        await asyncio.sleep(self._session_s * (0.5 + 0.3 * draw))
        worker.resume()

    async def _terminate_worker(self, draw: float) -> None:
        self._crew.add()
        await self._crew.terminate(self._crew.pick(draw))

    async def _add_worker(self, _draw: float) -> None:
        if len(self._crew.running) < WORKERS_MAX:
            self._crew.add()

    async def _remove_worker(self, draw: float) -> None:
        if len(self._crew.running) > 1:
            await self._crew.terminate(self._crew.pick(draw))

    # -- what a process has of its machine -----------------------------------------------------

    async def _clock_jump(self, draw: float) -> None:
        """Set a worker's clock wrong, forward or back, for the rest of its life.

        Less than an hour: a record further ahead than that Kafka does not take.
        """
        minutes = 20 + 30 * abs(2 * draw - 1)
        self._crew.pick(draw).shift_clock(60 * minutes * (1 if draw < FORWARD else -1))

    async def _disk_full(self, draw: float) -> None:
        """Fill the disk until a worker has met it, and some moments more."""
        before = self._crew.said(FULL_DISK)
        self._crew.fill_disk()
        try:
            async with asyncio.timeout(MEET_S_MAX):
                while self._crew.said(FULL_DISK) == before:
                    self._crew.look_after()
                    await asyncio.sleep(0.1)
            await asyncio.sleep(3 * draw)
        except TimeoutError:
            self.idle.append("disk_full")
        finally:
            self._crew.empty_disk()

    # -- brokers and lines --------------------------------------------------------------------

    async def _kill_broker(self, draw: float) -> None:
        await self._away(self._cluster.nodes[int(draw * self._cluster.size)], 0.5 + 2.5 * draw)

    async def _away(self, node: Node, seconds: float) -> None:
        await self._cluster.kill(node)
        await asyncio.sleep(seconds)
        await self._cluster.start(node)
        await self._until_in_sync()

    async def _cut_line(self, draw: float) -> None:
        proxy = self._cluster.nodes[int(draw * self._cluster.size)].proxy
        await proxy.cut()
        await asyncio.sleep(0.2 + 2.5 * draw)
        proxy.mend()

    async def _slow_line(self, draw: float) -> None:
        proxy = self._cluster.nodes[int(draw * self._cluster.size)].proxy
        proxy.delay_s = 0.05 + 0.25 * draw
        await asyncio.sleep(3.0)
        proxy.delay_s = 0.0

    async def _kill_group_coordinator(self, draw: float) -> None:
        await self._away(await self._coordinator(self._pipeline.name, 0), 1.0 + 2.0 * draw)

    async def _kill_transaction_coordinator(self, draw: float) -> None:
        ids = await transactional_ids(self._cluster.bootstrap, self._pipeline.name)
        if not ids:
            self.idle.append("kill_transaction_coordinator")
            return
        name = ids[int(draw * len(ids))]
        await self._away(await self._coordinator(name, 1), 1.0 + 2.0 * draw)

    async def _kill_partition_leader(self, draw: float) -> None:
        topics = [self._pipeline.events.topic, self._pipeline.scored]
        leaders = await self._with_admin(lambda admin: admin.describe_topics(topics))
        places = [partition["leader"] for topic in leaders for partition in topic["partitions"]]
        await self._away(self._node(places[int(draw * len(places))]), 1.0 + 2.0 * draw)

    async def _roll_brokers(self, _draw: float) -> None:
        for node in self._cluster.nodes:
            await self._cluster.stop(node)
            await self._cluster.start(node)
            await self._until_in_sync()

    async def _coordinator(self, name: str, kind: int) -> Node:
        found = await self._with_admin(lambda admin: _find_coordinator(admin, name, kind))
        return self._node(int(found))

    def _node(self, number: int) -> Node:
        return next(node for node in self._cluster.nodes if node.number == number)

    async def _with_admin(self, ask: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> Any:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._cluster.bootstrap)
        await admin.start()
        try:
            return await ask(admin)
        finally:
            await admin.close()

    async def _until_in_sync(self) -> None:
        """Wait until every partition has all its replicas: only one node may be away at a time."""
        async with asyncio.timeout(60):
            while self._cluster.size > 1:
                topics = await self._with_admin(lambda admin: admin.describe_topics())
                states = [part for topic in topics for part in topic["partitions"]]
                if all(len(part["isr"]) == len(part["replicas"]) for part in states):
                    return
                await asyncio.sleep(0.2)

    # -- what is sent ---------------------------------------------------------------------------

    async def _refused_output(self, _draw: float) -> None:
        self._feeder.interject(self._load.too_large())

    # -- transactions -----------------------------------------------------------------------------

    async def _fence_owner(self, draw: float) -> None:
        ids = await transactional_ids(self._cluster.bootstrap, self._pipeline.name)
        if not ids:
            self.idle.append("fence_owner")
            return
        await fence(self._cluster.bootstrap, ids[int(draw * len(ids))])

    async def _expired_id(self, _draw: float) -> None:
        self._feeder.paused = True
        # An id is idle from when all is done, which waits for what dead workers have left open.
        await settle(self._cluster.bootstrap, self._pipeline, self._crew.look_after)
        await asyncio.sleep(EXPIRY_S)
        self._feeder.paused = False


async def _find_coordinator(admin: AIOKafkaAdminClient, name: str, kind: int) -> int:
    while True:
        found = await admin._client.coordinator_lookup(kind, name)
        if found is not None:
            return int(found)
        await asyncio.sleep(0.2)
