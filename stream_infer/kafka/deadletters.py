"""Look into the dead-letter topic: the newest of them, or one by its position."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from stream_infer.errors import NotFoundError, UsageError
from stream_infer.events.deadletter import DeadLetterFacts, read_dead_letter
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.stretch import Stretch


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record of the dead-letter topic and what its headers tell."""

    record: Any
    facts: DeadLetterFacts

    @property
    def position(self) -> str:
        """Where it stands on the dead-letter topic."""
        return f"{self.record.topic}-{self.record.partition}-{self.record.offset}"

    @property
    def original(self) -> str | None:
        """Where the record stood that it was made of."""
        facts = self.facts
        if facts.topic is None or facts.partition is None or facts.offset is None:
            return None
        return f"{facts.topic}-{facts.partition}-{facts.offset}"


def parse_position(text: str) -> tuple[str, int, int]:
    """Return topic, partition and offset of ``TOPIC-PARTITION-OFFSET``.

    >>> parse_position("card-events-3-17")
    ('card-events', 3, 17)
    """
    rest, _, offset = text.rpartition("-")
    topic, _, partition = rest.rpartition("-")
    if not topic or not (partition.isdecimal() and offset.isdecimal()):
        raise UsageError(
            "bad_position",
            f"{text!r} is not the position of a record.",
            "Write TOPIC-PARTITION-OFFSET, such as transactions-0-1234.",
        )
    return topic, int(partition), int(offset)


async def read_letters(connection: Connection, topic: str) -> AsyncIterator[DeadLetter]:
    """Return every dead letter up to the present end, each partition's in its order.

    Raises  `NotFoundError` when the topic does not exist
    """
    async with log_reader(connection) as reader:
        bounds = await reader.bounds(await reader.partitions(topic))
        async for _tp, records in reader.read(bounds):
            for record in records:
                yield DeadLetter(record, read_dead_letter(record.headers))


async def newest_dead_letters(
    connection: Connection, topic: str, limit: int, *, code: str | None = None
) -> list[DeadLetter]:
    """Return the newest dead letters, oldest first.

    code  only those with this error code; then the whole topic is read for them
    """
    found: list[DeadLetter] = []
    async with log_reader(connection) as reader:
        bounds = await reader.bounds(await reader.partitions(topic))
        if code is None:
            bounds = {
                tp: Stretch(max(log.start, log.end - limit), log.end) for tp, log in bounds.items()
            }
        async for _tp, records in reader.read(bounds):
            letters = [DeadLetter(record, read_dead_letter(record.headers)) for record in records]
            found += [item for item in letters if code in (None, item.facts.error_code)]
            # Only the newest are kept at any time, however large the topic is.
            found = _newest(found, limit)
    return found


def _newest(letters: list[DeadLetter], limit: int) -> list[DeadLetter]:
    by_time = sorted(letters, key=lambda item: (item.record.timestamp, item.position))
    return by_time[max(0, len(by_time) - limit) :]


async def find_dead_letters(connection: Connection, topic: str, position: str) -> list[DeadLetter]:
    """Return the dead letter at a position of the dead-letter topic, or those made of a record.

    Raises  `NotFoundError` when there is none
    """
    named, partition, offset = parse_position(position)
    found: list[DeadLetter] = []
    async with log_reader(connection) as reader:
        bounds = await reader.bounds(await reader.partitions(topic))
        if named == topic:
            bounds = {
                tp: Stretch(max(offset, log.start), min(offset + 1, log.end))
                for tp, log in bounds.items()
                if tp.partition == partition
            }
        async for _tp, records in reader.read(bounds):
            for record in records:
                letter = DeadLetter(record, read_dead_letter(record.headers))
                if position in (letter.position, letter.original):
                    found.append(letter)
    if not found:
        raise NotFoundError(
            "dead_letter_missing",
            f"There is no dead letter at {position!r} and none made of it.",
            "See what there is with: stream-infer dlq list.",
            position=position,
        )
    return found
