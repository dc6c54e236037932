"""How many bytes of input may be held between fetch and acknowledgement.

One budget for the worker, shared evenly among the partitions that hold something: a partition may
always hold one batch, and beyond that only its share. The share matters because a partition that
waits for another one (alignment) must not use up the room that the other needs to move.
"""

from __future__ import annotations

from collections import defaultdict

from stream_infer.dataplane.batch import Partition


class InFlightBudget:
    """Bytes in flight by partition.

    bytes_max   bound for the whole worker; exceeded by at most one batch a partition
    held        bytes in flight over all partitions
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.held = 0
        self._held: dict[Partition, int] = defaultdict(int)

    def take(self, partition: Partition, size: int) -> None:
        """Count a batch that was handed out."""
        self._held[partition] += size
        self.held += size

    def release(self, partition: Partition, size: int) -> None:
        """Count a batch whose outputs are acknowledged, or that was dropped."""
        self._held[partition] -= size
        self.held -= size
        if not self._held[partition]:
            del self._held[partition]

    def has_room(self, partition: Partition) -> bool:
        """Say whether more may be fetched for this partition."""
        held = self._held.get(partition)
        return held is None or held < self.bytes_max // len(self._held)
