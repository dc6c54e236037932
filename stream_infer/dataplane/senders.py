"""The senders of one assignment: where outputs go, and what is told when they are safe.

`Senders` is what both kinds of delivery are to the data plane. At least once, an input is done
when its outputs are acknowledged. There is one sender a stage for what is little, and one a
partition for what is much: at a steady pace the outputs of all partitions of a stage fit into
one request; in catch-up their requests run beside each other, where in a common wave each would
wait for the answers to the others' (decision 16 has the figures).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from stream_infer.dataplane.batch import ALONE_ROWS, Partition
from stream_infer.dataplane.handing_on import HandingOn
from stream_infer.dataplane.outputs import Outputs, Replace
from stream_infer.dataplane.sender import StageSender
from stream_infer.dataplane.transaction_gate import not_known
from stream_infer.observability.facts import TransactionFacts

MakeSender = Callable[[str], StageSender]
"""Makes a sender, not yet started; the name is for logs."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """What the senders of an assignment need to know of it.

    positions  of each partition, where it starts
    names      topic -> name of the stage that reads it
    metadata   stored with each commit of a partition
    done       called with a partition and the offset up to which its outputs are safe
    acknowledged  the same when they are acknowledged and may still be aborted
    committed  called with the offsets that the group has now
    handing_on  told what was written, at least once
    is_drained  says whether nothing more comes until more input is fetched
    """

    positions: Mapping[Partition, int]
    names: Mapping[str, str]
    metadata: Callable[[Partition], str]
    done: Callable[[Partition, int], None]
    acknowledged: Callable[[Partition, int], None]
    committed: Callable[[Mapping[Partition, int]], None]
    handing_on: HandingOn | None = None
    is_drained: Callable[[], bool] = not_known


class Sending(Protocol):
    """Sends the outputs of one input partition; one delivery is under way at a time."""

    async def start(self) -> None:
        """Start what is needed for the first delivery."""

    async def deliver(self, outputs: Outputs, until: int | None, replace: Replace) -> None:
        """Write everything, and with it that the input is done up to an offset.

        until    None for what comes from no input, such as a tick
        replace  makes what is written in place of what the broker refuses for good

        Returns when everything is acknowledged. Raises BrokerError when writing is
        forbidden, or the sender was stopped.
        """

    def skip(self, until: int) -> bool:
        """Say that the input up to an offset has no outputs; False when that needs `deliver`."""


class Senders(Protocol):
    """The senders of one assignment."""

    def of(self, partition: Partition) -> Sending:
        """Return the sender of an input partition."""

    async def end(self, given_up: Collection[Partition], seconds_max: float) -> None:
        """Finish and stop them all within a time, but for what `given_up` partitions have written.

        What cannot be finished by then is given up too.
        """

    def facts(self) -> Sequence[TransactionFacts]:
        """Return how the transactions of each stage stand; nothing where there are none."""


class AtLeastOnceSenders:
    """Senders whose input is done as soon as its outputs are acknowledged."""

    def __init__(self, assigned: Assigned, make: MakeSender) -> None:
        self._stages: dict[str, StageSender] = {}
        self._partitions: dict[Partition, _PartitionSender] = {}
        for partition in assigned.positions:
            topic = partition.topic
            together = self._stages.get(topic)
            if together is None:
                together = self._stages[topic] = make(assigned.names[topic])
            alone = make(str(partition))
            self._partitions[partition] = _PartitionSender(
                partition, together, alone, assigned.done
            )

    def of(self, partition: Partition) -> Sending:
        """Return the sender of an input partition."""
        return self._partitions[partition]

    async def end(self, given_up: Collection[Partition], seconds_max: float) -> None:
        """Stop them all: what is not given up was acknowledged, so there is nothing to finish."""
        topics = {partition.topic for partition in given_up}
        await asyncio.gather(
            *(_end(sender, topic in topics) for topic, sender in self._stages.items()),
            *(_end(each.alone, p in given_up) for p, each in self._partitions.items()),
        )

    def facts(self) -> Sequence[TransactionFacts]:
        """Return nothing: there are no transactions."""
        return ()


class _PartitionSender:
    """Sends few outputs with those of the other partitions, many alone.

    A partition has one delivery under way at a time, so its order holds whichever way it goes.

    together  of the stage
    alone     of the partition; its producer is started when there is much to send
    """

    def __init__(
        self,
        partition: Partition,
        together: StageSender,
        alone: StageSender,
        done: Callable[[Partition, int], None],
    ) -> None:
        self.alone = alone
        self._partition = partition
        self._together = together
        self._done = done

    async def start(self) -> None:
        await self._together.start()

    async def deliver(self, outputs: Outputs, until: int | None, replace: Replace) -> None:
        while outputs:
            records = sum(len(writes) for _, writes in outputs.items())
            sender = self.alone if records >= ALONE_ROWS else self._together
            outputs = replace(await sender.deliver(outputs))
        if until is not None:
            self._done(self._partition, until)

    def skip(self, until: int) -> bool:
        self._done(self._partition, until)
        return True


async def _end(sender: StageSender, is_given_up: bool) -> None:  # noqa: FBT001 - of two kinds
    await (sender.abandon() if is_given_up else sender.stop())
