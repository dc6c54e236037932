"""A Kafka in memory for the simulation: input logs, one consumer group, what readers see.

The producers are those of `support.fake_kafka` and `support.fake_transactions`, one Kafka of
theirs for each process of a worker, sharing one group and one set of logs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from random import Random
from types import SimpleNamespace
from typing import Any

from aiokafka.errors import CommitFailedError

from simulation.folding import DEAD, INPUT, QUIET, REFUSED, Folded, destination_of, output_of
from simulation.store import Store
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.offsets import Committed, LogBounds
from support.fake_transactions import FakeTransactionalKafka, Kind

TRANSACTION_SECONDS = 5.0
"""After which Kafka aborts a transaction that nobody ends."""


class WrongError(AssertionError):
    """Something that must never be, was."""


class Line(FakeTransactionalKafka):
    """What a process of a worker knows of the cluster, with a transactional id of its own."""

    def call(self, kind: Kind) -> str | None:
        """Count a call; return its fault. What is refused is so for what it is, not at times."""
        fault = super().call(kind)
        return None if fault == "refused" else fault


class Cluster:
    """Logs and a group.

    commits_checked  how often what is visible was held against what is committed
    """

    def __init__(self, random: Random, partitions: int, *, exactly_once: bool) -> None:
        self.sources = [Partition(INPUT, number) for number in range(partitions)]
        self.logs: dict[Partition, list[Any]] = {source: [] for source in self.sources}
        self.ends = dict.fromkeys(self.sources, 0)
        self.committed: dict[Partition, tuple[int, str]] = {}
        self.visible: dict[Partition, list[bytes | None]] = {}
        self.generation = 0
        self.exactly_once = exactly_once
        self.lines: list[Line] = []
        self.store: Store | None = None
        self.commits_checked = 0
        self._expected: dict[Partition, list[tuple[int, bytes]]] = {s: [] for s in self.sources}
        self._folds: dict[Partition, list[tuple[int, Folded]]] = {s: [] for s in self.sources}
        self._folded = {source: Folded() for source in self.sources}
        self._random = random

    # -- input -------------------------------------------------------------------------------------

    def append(self, source: Partition, count: int) -> None:
        """Write records; now and then markers of transactions stand between them."""
        random = self._random
        for _ in range(count):
            offset = self.ends[source] + (random.random() < 0.1)
            value = random.choices([b"value", QUIET, REFUSED], [20, 3, 1])[0]
            self.logs[source].append(
                SimpleNamespace(
                    offset=offset,
                    timestamp=1000 * len(self.logs[source]) + random.randrange(500),
                    timestamp_type=0,
                    key=None,
                    value=value,
                    headers=(),
                )
            )
            self.ends[source] = offset + 1
            self._expect(source, offset, value)
        if random.random() < 0.2:
            self.ends[source] += 1

    def _expect(self, source: Partition, offset: int, value: bytes) -> None:
        folded = self._folded[source]
        made = output_of(source, offset, value, folded.fold(offset, value))
        self._folds[source].append((offset, Folded(folded.checksum, folded.entries)))
        if made is not None:
            self._expected[source].append((offset, made))

    def records(self, source: Partition, start: int, end: int | None = None) -> list[Any]:
        """Return the records of offsets from `start` to before `end`."""
        return [
            record
            for record in self.logs[source]
            if record.offset >= start and (end is None or record.offset < end)
        ]

    def last_offset(self, source: Partition) -> int:
        """Return the offset after the last record."""
        return self.logs[source][-1].offset + 1 if self.logs[source] else 0

    # -- the group ---------------------------------------------------------------------------------

    def move_on(self) -> None:
        """Begin a generation; nobody of the one before may commit any more."""
        self.generation += 1
        for line in self.lines:
            line.generation = self.generation

    def line(self, faults: Mapping[int, int]) -> Line:
        """Return a new process's way to the cluster."""
        line = Line(
            faults=dict(faults),
            refuses=lambda _, value: value is not None and is_refused(value),
            on_settled=self.check,
            generation=self.generation,
            visible=self.visible,
            offsets=self.committed,
        )
        self.lines.append(line)
        return line

    async def abort_what_is_old(self) -> None:
        """End transactions that nobody ends, until cancelled."""
        seen: dict[int, tuple[Any, float]] = {}
        now_s = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(0.5)
            for number, line in enumerate(self.lines):
                known, since_s = seen.get(number, (None, now_s()))
                if line.open is not known:
                    seen[number] = line.open, now_s()
                elif known is not None and now_s() - since_s >= TRANSACTION_SECONDS:
                    line.fence()

    async def stable(self, partitions: Iterable[Partition]) -> dict[Partition, Committed | None]:
        """Return committed offsets once no open transaction can change them."""
        wanted = set(partitions)
        while any(  # noqa: ASYNC110 - as the client asks, again and again
            each.open and wanted & each.open.offsets.keys() for each in self.lines
        ):
            await asyncio.sleep(0.02)
        return {
            source: Committed(*self.committed[source]) if source in self.committed else None
            for source in wanted
        }

    def commit(self, offsets: Mapping[Partition, tuple[int, str]], generation: int) -> None:
        """Commit offsets apart from a transaction."""
        if generation != self.generation:
            raise CommitFailedError
        for source, (offset, _) in offsets.items():
            if offset < self.committed.get(source, (0, ""))[0]:
                raise WrongError(f"{source} was committed, and now goes back to {offset}")
        self.committed |= offsets
        self.check()

    def bounds(self, partitions: Iterable[Partition]) -> dict[Partition, LogBounds]:
        """Return where the logs start and end."""
        return {source: LogBounds(0, self.ends[source]) for source in partitions}

    # -- what must hold ----------------------------------------------------------------------------

    def fold_to(self, source: Partition, offset: int) -> Folded:
        """Return the fold of the records before an offset, by somebody undisturbed."""
        before = [folded for at, folded in self._folds[source] if at < offset]
        return before[-1] if before else Folded()

    def check_state(self, source: Partition, offset: int, state: Any) -> None:
        """Raise unless a state is the fold up to an offset."""
        expected = self.fold_to(source, offset)
        if (state.checksum, state.entries) != (expected.checksum, expected.entries):
            raise WrongError(
                f"the state of {source} is not the fold up to {offset}: "
                f"{state.entries} records, not {expected.entries}"
            )

    def check(self) -> None:
        """Raise unless what is visible is the outputs of what is committed."""
        self.commits_checked += 1
        for source in self.sources:
            end = self.committed.get(source, (0, ""))[0]
            expected = [(at, value) for at, value in self._expected[source] if at < end]
            refused = [value for at, value in expected if is_refused(value)]
            dead = self._dead(source)
            for destination in {destination_of(at) for at, _ in self._expected[source]}:
                found = self._visible(source, destination)
                wanted = [
                    value
                    for at, value in expected
                    if destination_of(at) == destination and not is_refused(value)
                ]
                self._compare(source, destination, found, wanted)
            if (len(dead) != len(refused)) if self.exactly_once else (len(dead) < len(refused)):
                raise WrongError(f"{len(dead)} dead letters of {source}, not {len(refused)}")

    def _compare(
        self, source: Partition, destination: Partition, found: list[bytes], wanted: list[bytes]
    ) -> None:
        if not self.exactly_once:
            # Doubled and ahead of the commit it may be, but complete, in order, and all right.
            valid = {value for _, value in self._expected[source]}
            wrong = [value for value in found if value not in valid]
            first = list(dict.fromkeys(found))
            if wrong:
                raise WrongError(f"{source} wrote {wrong[:3]} into {destination}")
            found = first[: len(wanted)]
        if found != wanted:
            raise WrongError(
                f"{source} is committed to {self.committed.get(source)}; of it "
                f"{len(found)} outputs are in {destination}, not {len(wanted)}: "
                f"{found[-3:]}, not {wanted[-3:]}"
            )

    def _visible(self, source: Partition, destination: Partition) -> list[bytes]:
        mark = b"%d|" % source.partition
        found = self.visible.get(destination, [])
        return [value for value in found if value is not None and value.startswith(mark)]

    def _dead(self, source: Partition) -> list[bytes | None]:
        # A dead letter is the input as it came; there is one topic of them for each source.
        return self.visible.get(Partition(DEAD.topic, source.partition), [])


def is_refused(value: bytes) -> bool:
    """Say whether an output may not be written."""
    return value.endswith(b"|" + REFUSED)
