"""The senders of one assignment: one a stage for what is little, one a partition for what is much.

At a steady pace the outputs of all partitions of a stage fit into one request. In catch-up their
requests run beside each other: in a common wave each would wait for the answers to the others'
(decision 16 has the figures).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping

from stream_infer.dataplane.batch import ALONE_ROWS, Partition
from stream_infer.dataplane.outputs import Outputs
from stream_infer.dataplane.sender import Refused, StageSender

MakeSender = Callable[[str], StageSender]
"""Makes a sender, not yet started; the name is for logs."""


class PartitionSender:
    """Sends the outputs of one input partition: few with those of others, many alone.

    A partition has one delivery under way at a time, so its order holds whichever way it goes.

    together  of the stage
    alone     of the partition; its producer is started when there is much to send
    """

    def __init__(self, together: StageSender, alone: StageSender) -> None:
        self.alone = alone
        self._together = together

    async def start(self) -> None:
        """Start what is needed for the first delivery."""
        await self._together.start()

    async def deliver(self, outputs: Outputs) -> list[Refused]:
        """Write everything; return what the broker refused. See `StageSender.deliver`."""
        records = sum(len(writes) for _, writes in outputs.items())
        sender = self.alone if records >= ALONE_ROWS else self._together
        return await sender.deliver(outputs)


class AssignmentSenders:
    """The senders of the partitions of one assignment.

    partitions  those that are assigned
    names       topic -> name of the stage that reads it
    make        makes a sender
    """

    def __init__(
        self, partitions: Iterable[Partition], names: Mapping[str, str], make: MakeSender
    ) -> None:
        self._stages: dict[str, StageSender] = {}
        self._partitions: dict[Partition, PartitionSender] = {}
        for partition in partitions:
            topic = partition.topic
            together = self._stages.get(topic)
            if together is None:
                together = self._stages[topic] = make(names[topic])
            self._partitions[partition] = PartitionSender(together, make(str(partition)))

    def of(self, partition: Partition) -> PartitionSender:
        """Return the sender of an input partition."""
        return self._partitions[partition]

    async def end(self, unanswered: Collection[Partition]) -> None:
        """Stop them all; not waiting for what `unanswered` partitions still have under way."""
        topics = {partition.topic for partition in unanswered}
        await asyncio.gather(
            *(_end(sender, topic in topics) for topic, sender in self._stages.items()),
            *(_end(each.alone, p in unanswered) for p, each in self._partitions.items()),
        )


async def _end(sender: StageSender, is_unanswered: bool) -> None:  # noqa: FBT001 - of two kinds
    await (sender.abandon() if is_unanswered else sender.stop())
