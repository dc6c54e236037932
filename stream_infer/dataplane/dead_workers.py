"""Ends at once what workers that are dead have left open, for which readers wait otherwise.

A killed worker leaves a transaction open in each of its stages. Kafka ends it when its time-out is
over and it looks for such, 15 s later by default. Until then no reader of committed records gets
past it, and whoever takes the partitions over must wait to learn what is committed. So whoever is
assigned partitions looks for open transactions of its group:

- the transactional id names the instance (`<group>.<stage>.<instance>`), and so does the client id
  of each member of the group (`<client id>#<instance>`);
- an instance that is no member can commit nothing: the group refuses its offsets. Its transaction
  can only be aborted, and is;
- one that is a member is left alone, whatever it has open.

Two who look at the same time do the same twice, which does no harm. Neither does it when a worker
joins the group again between the look and the end: it is fenced, starts another producer and sends
again what it had sent. Where the rights for it are missing, readers wait as before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog
from aiokafka import errors as kafka_errors

from stream_infer.errors import BrokerError
from stream_infer.kafka.dead_transactions import Listed

log = structlog.get_logger("stream_infer.dataplane")

LOOK_SECONDS_MAX = 10.0
"""For one look; nothing here is worth a wait for a broker that is away."""

AGAIN_SECONDS = 0.5
"""Until the next look, where Kafka could not tell everything."""

_FORBIDDEN = "denied_"
"""How the codes of errors begin that are about missing rights."""

BETWEEN = "#"
"""Stands in a member's client id before its instance."""


# -- decisions -----------------------------------------------------------------------------------


def client_id_of(client_id: str, instance: str) -> str:
    """Return the client id by which a member of the group shows which instance it is."""
    return f"{client_id}{BETWEEN}{instance}"


def instance_of(transactional_id: str, group: str, stages: Collection[str]) -> str | None:
    """Return the instance that a transactional id names; None where it is none of this group's.

    None also for an instance with a dot in it: the id could be one of another group, whose name
    begins with this one's.

    >>> instance_of("fraud.customer.a1", "fraud", ["customer", "terminal"])
    'a1'
    >>> instance_of("fraud.customer.terminal.a1", "fraud", ["customer", "terminal"]) is None
    True
    """
    for stage in stages:
        instance = transactional_id.removeprefix(f"{group}.{stage}.")
        if instance != transactional_id and instance and "." not in instance:
            return instance
    return None


def dead_ids(
    open_ids: Collection[str], members: Collection[str], group: str, stages: Collection[str]
) -> list[str]:
    """Return the transactional ids, of those with open transactions, that nobody can commit.

    members  client ids of the group's members

    None at all while a member does not show its instance: it may be any of them.
    """
    if not all(BETWEEN in member for member in members):
        return []
    return sorted(
        each
        for each in open_ids
        if (instance := instance_of(each, group, stages)) is not None
        and not any(member.endswith(BETWEEN + instance) for member in members)
    )


# -- what is done --------------------------------------------------------------------------------


class AsksKafka(Protocol):
    """What is asked of Kafka, see `GroupTransactions`."""

    async def open_ids(self) -> Listed:
        """Return the open transactions of the group."""

    async def members(self) -> list[str]:
        """Return the client ids of the group's members."""

    async def end(self, transactional_id: str) -> None:
        """Have what is open under an id aborted."""


class DeadWorkers:
    """Looks for what dead workers of a group have left open, and ends it.

    group      the consumer group
    instance   of this worker, whose own transactions are none of this
    seconds_max  how long to look again where Kafka cannot tell: then it has ended them itself
    ask        opens a connection
    """

    def __init__(
        self,
        group: str,
        instance: str,
        seconds_max: float,
        ask: Callable[[], AbstractAsyncContextManager[AsksKafka]],
    ) -> None:
        self.instance = instance
        self._group = group
        self._seconds_max = seconds_max
        self._ask = ask
        self._looking: asyncio.Task[None] | None = None
        self._told: set[str] = set()

    def look(self, stages: Collection[str]) -> None:
        """Begin to look, anew where that is under way already.

        stages  names of the group's stages
        """
        if self._looking is not None:
            self._looking.cancel()
        self._looking = asyncio.create_task(self._look(frozenset(stages)), name="dead-workers")

    async def close(self) -> None:
        """Look no more."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.wait([looking])

    async def _look(self, stages: Collection[str]) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._seconds_max
        while True:
            if await self._has_looked(stages) or loop.time() >= until:
                return
            await asyncio.sleep(AGAIN_SECONDS)

    async def _has_looked(self, stages: Collection[str]) -> bool:
        """Look once; return whether nothing more is to be learnt."""
        try:
            async with asyncio.timeout(LOOK_SECONDS_MAX), self._ask() as kafka:
                return await self._end_in(kafka, stages)
        except BrokerError as error:
            return self._gives_up(error)
        except (kafka_errors.KafkaError, TimeoutError, OSError) as error:
            log.debug("dead_workers_not_known", cause=str(error) or type(error).__name__)
            return False

    async def _end_in(self, kafka: AsksKafka, stages: Collection[str]) -> bool:
        listed = await kafka.open_ids()
        others = [
            each
            for each in listed.ids
            if instance_of(each, self._group, stages) not in (None, self.instance)
        ]
        if others:
            for dead in dead_ids(others, await kafka.members(), self._group, stages):
                await kafka.end(dead)
                log.info("dead_worker_transaction_ended", transactional_id=dead)
        return listed.is_complete

    def _gives_up(self, error: BrokerError) -> bool:
        """Tell once why nothing can be done; return whether that will not change by itself."""
        is_final = error.code.startswith(_FORBIDDEN) or isinstance(
            error.__cause__, kafka_errors.IncompatibleBrokerVersion
        )
        if is_final and error.code not in self._told:
            self._told.add(error.code)
            log.warning(
                "dead_workers_left_alone",
                cause=error.message,
                fix=error.fix,
                instead="readers wait until Kafka ends what a dead worker has left open",
            )
        return is_final
