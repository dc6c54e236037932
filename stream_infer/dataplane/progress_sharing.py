"""Keeps partitions of several workers in step: tells how far ours are, hears how far theirs are.

A word about a partition is written by the sender of its stage, behind the acknowledged outputs
that it speaks of. Exactly once, it is so in their transaction or in a later one of the same
producer, and readers of committed records hear it when those outputs are in the log for good.

A worker that owns all partitions that feed a log says nothing about them and listens to nothing.
`progress_rules` decides when a word is due, `progress_board` what is known of others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog

from stream_infer.dataplane.alignment import AlignmentGroup
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.lifecycle import UNDECIDED
from stream_infer.dataplane.outputs import NO_HEADERS, Outputs, Refused
from stream_infer.dataplane.progress_board import Board
from stream_infer.dataplane.progress_rules import LOOK_SECONDS, Telling, say
from stream_infer.dataplane.sender import SENDER_STOPPED
from stream_infer.dataplane.senders import Senders
from stream_infer.dataplane.stage import Stage
from stream_infer.dataplane.task import PartitionTask
from stream_infer.dataplane.transaction_rules import AssignmentMovedOnError
from stream_infer.errors import BrokerError, StreamInferError
from stream_infer.events.progress import Progress, encode_progress
from stream_infer.kafka.coming_up import come_up

log = structlog.get_logger("stream_infer.progress")

RETRY_SECONDS = 1.0
CLOSE_SECONDS_MAX = 5.0
DENIED = "denied_"
"""What the code of an error begins with that no waiting mends: this user lacks an ACL."""

Read = Callable[[Callable[[Collection[Progress]], None]], Awaitable[None]]
"""Hands words over until cancelled; raises `StreamInferError`."""


@dataclass(frozen=True, slots=True)
class Ours:
    """One partition of ours that is read in step with those of others."""

    task: PartitionTask
    group: AlignmentGroup
    telling: Telling


class ProgressSharing:
    """The words of one worker, said and heard.

    topic         where they stand
    partitions    number of partitions of each topic
    instance      name of this worker in its words
    generation    of the group's assignment that this worker works on
    read          reads the words of others
    silent_s_max  see `Board`
    on_progress   called when another worker's partition has moved
    on_failure    called with what must stop the worker
    """

    def __init__(
        self,
        topic: str,
        partitions: Mapping[str, int],
        *,
        instance: str,
        generation: Callable[[], int],
        read: Read,
        silent_s_max: float,
        on_progress: Callable[[], None],
        on_failure: Callable[[BaseException], Awaitable[None]],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._destination = Partition(topic, 0)
        self._partitions = partitions
        self._instance = instance
        self._generation = generation
        self._read = read
        self._on_progress = on_progress
        self._on_failure = on_failure
        self._seconds = seconds
        self._board = Board(silent_s_max)
        self._groups: list[AlignmentGroup] = []
        self._tellers: list[asyncio.Task[None]] = []
        self._shared = asyncio.Event()
        self._alone = asyncio.Event()
        self._said_by = 0

    # -- the life of an assignment ----------------------------------------------------------

    def assigned(
        self,
        groups: Mapping[str, AlignmentGroup],
        stages: Mapping[str, Stage],
        tasks: Mapping[Partition, PartitionTask],
        senders: Senders,
    ) -> None:
        """Let the partitions of others into the groups of ours, before any of ours is read.

        groups  by the topic that their partitions feed
        stages  by the topic that they read
        """
        others: dict[Partition, AlignmentGroup] = {}
        ours: dict[str, dict[Partition, Ours]] = {}
        for feeds, group in groups.items():
            members = self._members(feeds, stages)
            for partition in group.partitions if members - group.partitions else ():
                telling = Telling(group.skew_ms)
                each = Ours(tasks[partition], group, telling)
                ours.setdefault(partition.topic, {})[partition] = each
            others |= dict.fromkeys(members - group.partitions, group)
        self._said_by = self._generation()
        self._board.assigned(self._said_by, others, self._seconds())
        self._groups = list(groups.values())
        self._tellers = [
            asyncio.create_task(self._tell_forever(each, senders), name=f"progress-{topic}")
            for topic, each in ours.items()
        ]
        listen, rest = (self._shared, self._alone) if others else (self._alone, self._shared)
        rest.clear()
        listen.set()
        if others:
            log.info("in_step_with_others", partitions=len(others))

    def _members(self, feeds: str, stages: Mapping[str, Stage]) -> set[Partition]:
        return {
            Partition(topic, number)
            for topic, stage in stages.items()
            if stage.feeds == feeds
            for number in range(self._partitions.get(topic, 0))
        }

    async def revoked(self) -> None:
        """Say nothing more, and keep what is known for the next assignment. Safe to repeat."""
        tellers, self._tellers = self._tellers, []
        for each in tellers:
            each.cancel()
        if tellers:
            await asyncio.wait(tellers, timeout=CLOSE_SECONDS_MAX)
        if self._groups:
            self._board.revoked(self._groups)
            self._groups = []

    def is_restoring(self) -> bool:
        """Say whether a partition of another worker holds ours because its state is restored."""
        return self._board.is_restoring()

    # -- what is said -------------------------------------------------------------------------

    async def _tell_forever(self, ours: Mapping[Partition, Ours], senders: Senders) -> None:
        """Say what is due about the partitions of one stage, until cancelled."""
        sender = senders.of(min(ours))
        try:
            await come_up(sender.start())
            while True:
                self._look()
                words = self._words_due(ours)
                if words:
                    await sender.deliver(words, None, _give_up)
                await asyncio.sleep(LOOK_SECONDS)
        except BrokerError as error:
            if error.code != SENDER_STOPPED and not isinstance(error, AssignmentMovedOnError):
                await self._on_failure(error)
        except Exception as error:  # noqa: BLE001 - handed on to whoever runs the app
            await self._on_failure(error)

    def _words_due(self, ours: Mapping[Partition, Ours]) -> Outputs:
        words, now_s = Outputs(), self._seconds()
        for partition, each in ours.items():
            each.task.refresh_head()
            standing = each.group.standing(partition)
            said = say(standing, is_restoring=each.task.phase in UNDECIDED)
            if each.telling.maybe_tell(said, now_s):
                word = Progress(
                    topic=partition.topic,
                    partition=partition.partition,
                    place=said.place,
                    head=said.head,
                    generation=self._said_by,
                    instance=self._instance,
                )
                words.add(self._destination, *encode_progress(word), NO_HEADERS, 0)
        return words

    # -- what is heard ------------------------------------------------------------------------

    def _look(self) -> None:
        given_up = self._board.look(self._seconds())
        if given_up:
            log.warning(
                "progress_silent",
                partitions=sorted(map(str, given_up)),
                cause="Nothing is heard of them, and ours are no longer kept in step with them.",
            )
            self._on_progress()

    def _hear(self, words: Collection[Progress]) -> None:
        if sum(self._board.hear(word) for word in words):
            self._on_progress()

    async def read_forever(self) -> None:
        """Hear what others say, whenever there are any, until cancelled."""
        while True:
            await self._shared.wait()
            reading = asyncio.create_task(self._read_on(), name="progress-reader")
            try:
                await self._alone.wait()
            finally:
                # Inside a Kafka client a cancellation may get lost. Not again at once: it would
                # cut short how the client closes its connections.
                while not reading.done():
                    reading.cancel()
                    await asyncio.wait([reading], timeout=CLOSE_SECONDS_MAX)

    async def _read_on(self) -> None:
        told = ""
        while True:
            try:
                await self._read(self._hear)
            except StreamInferError as error:
                if error.code.startswith(DENIED):
                    await self._on_failure(error)
                    return
                if error.code != told:
                    told = error.code
                    log.warning("progress_not_heard", cause=error.message, fix=error.fix)
            except Exception as error:  # noqa: BLE001 - handed on to whoever runs the app
                await self._on_failure(error)
                return
            await asyncio.sleep(RETRY_SECONDS)


def _give_up(refused: Sequence[Refused]) -> Outputs:
    for destination, _, answer in refused:
        log.warning("progress_refused", topic=destination.topic, cause=answer)
    return Outputs()
