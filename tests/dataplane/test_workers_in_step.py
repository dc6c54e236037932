"""Workers that only hear each other's words, late, bring all history in, and stay in step.

A simulation by seed, without Kafka and without a clock of its own: a shared log of words, of
which each worker has heard a part; each partition writes as far as its hold would let it.
"""

from __future__ import annotations

import random
from bisect import bisect_right

import pytest

from stream_infer.dataplane.alignment import AlignmentGroup
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.progress_board import Board
from stream_infer.dataplane.progress_rules import Telling, say
from stream_infer.events.progress import Progress

SKEW = 1_000
BATCH = 20
STEP_S = 0.05

Rows = dict[Partition, list[int]]


class SimulatedWorker:
    """One worker: its partitions, and the words that it has heard of a common log."""

    def __init__(self, rows: Rows, ours: list[Partition], words: list[Progress]) -> None:
        self.rows, self.ours, self.words = rows, ours, words
        self.heard = 0
        self.written = dict.fromkeys(ours, 0)
        self.group = AlignmentGroup(SKEW)
        self.group.assign(ours)
        self.board = Board(silent_s_max=float("inf"))
        self.board.assigned(1, dict.fromkeys(rows.keys() - ours, self.group), 0.0)
        self.telling = {partition: Telling(SKEW) for partition in ours}

    def head(self, partition: Partition) -> int | None:
        at = self.written[partition]
        return self.rows[partition][at] if at < len(self.rows[partition]) else None

    def tell(self, now_s: float) -> None:
        for partition in self.ours:
            self.note_head(partition)
            said = say(self.group.standing(partition), is_restoring=False)
            if self.telling[partition].maybe_tell(said, now_s):
                self.words.append(
                    Progress(
                        topic=partition.topic,
                        partition=partition.partition,
                        place=said.place,
                        head=said.head,
                        generation=1,
                        instance="",
                    )
                )

    def hear(self, count: int) -> None:
        for word in self.words[self.heard : self.heard + count]:
            self.board.hear(word)
            self.heard += 1

    def write(self, partition: Partition) -> list[int]:
        """Write a batch, or what is permitted of it if that is worth a step."""
        head = self.head(partition)
        limit = self.group.limit(partition)
        if head is None or limit is None:
            return []
        rows, at = self.rows[partition], self.written[partition]
        batch_end = min(at + BATCH, len(rows))
        end = min(batch_end, bisect_right(rows, limit))
        if end < batch_end and limit - head < SKEW // 2:
            return []
        self.written[partition] = max(end, at)
        self.note_head(partition)
        return rows[at:end]

    def note_head(self, partition: Partition) -> None:
        head = self.head(partition)
        if head is None:
            self.group.set_read_to_end(partition)
        else:
            self.group.set_head(partition, head)


@pytest.mark.parametrize("seed", range(60))
def test_history_is_brought_in_by_several_workers_within_the_skew(seed: int) -> None:
    draw = random.Random(seed)
    partitions = [Partition("in", number) for number in range(draw.randint(2, 6))]
    rows = {
        partition: sorted(draw.randrange(40 * SKEW) for _ in range(draw.choice([0, 30, 400])))
        for partition in partitions
    }
    words: list[Progress] = []
    cut = draw.randint(1, len(partitions) - 1)
    workers = [
        SimulatedWorker(rows, partitions[:cut], words),
        SimulatedWorker(rows, partitions[cut:], words),
    ]
    now_s = 0.0
    while any(worker.head(p) is not None for worker in workers for p in worker.ours):
        now_s += STEP_S
        assert now_s < 3_600, "nobody moves any more"
        worker = draw.choice(workers)
        worker.hear(draw.choice([0, 1, len(words)]))
        for partition in worker.ours:
            heads = {p: w.head(p) for w in workers for p in w.ours if p != partition}
            others = [head for head in heads.values() if head is not None]
            done = worker.write(partition)
            if done and others:
                assert done[-1] <= min(others) + SKEW
        worker.tell(now_s)
