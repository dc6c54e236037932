"""Read which records a pipeline's folds pass over.

The topic ``<pipeline>-skips`` is compacted, of one partition, and small: a record that ends a
process is rare. It is written by a transaction that holds the record's dead letter too, so
that a reader of committed records finds both or neither. A tombstone takes a skip back: then
the record is folded again wherever the log is read anew.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stream_infer.errors import InvalidDataError, NotFoundError
from stream_infer.events.skip import Skip, decode_skip
from stream_infer.events.topic_names import skips_topic
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.pipeline import Pipeline

Skipped = Mapping[tuple[str, int], frozenset[int]]
"""(topic, partition) -> offsets. A pair of the clients' own or of ours finds them."""


async def read_skips(connection: Connection, pipeline: Pipeline) -> list[Skip]:
    """Return the skips of a pipeline, in the order of their positions; none without the topic.

    Raises  InvalidDataError ``skip_unreadable``: to go on without it would fold a record that
            others passed over; BrokerError
    """
    topic = skips_topic(pipeline)
    found: dict[bytes, Skip] = {}
    try:
        async with log_reader(connection) as reader:
            bounds = await reader.bounds(await reader.partitions(topic))
            async for _tp, records in reader.read(bounds):
                for record in records:
                    if record.value is None:
                        found.pop(record.key, None)
                    else:
                        found[record.key] = _read(topic, record.offset, record.value)
    except NotFoundError:
        return []
    return sorted(found.values(), key=lambda skip: (skip.topic, skip.partition, skip.offset))


def skipped_offsets(skips: list[Skip]) -> Skipped:
    """Return the offsets to pass over, by topic and partition."""
    offsets: dict[tuple[str, int], set[int]] = {}
    for skip in skips:
        offsets.setdefault((skip.topic, skip.partition), set()).add(skip.offset)
    return {place: frozenset(each) for place, each in offsets.items()}


def _read(topic: str, offset: int, value: bytes) -> Skip:
    try:
        return decode_skip(value)
    except msgspec.MsgspecError as error:
        raise InvalidDataError(
            "skip_unreadable",
            f"Record {offset} of {topic} is no skip: {error}.",
            f"Find out who writes to {topic}; a tombstone with the record's key takes it back.",
            topic=topic,
            offset=offset,
        ) from error
