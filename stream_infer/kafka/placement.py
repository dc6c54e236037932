"""Whether records of the input topic lie in the partition that their entity's hash names."""

from __future__ import annotations

from dataclasses import dataclass

from stream_infer.events.decode import EventDecoder
from stream_infer.events.mapping import FieldMapping
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.stretch import Stretch
from stream_infer.pipeline import Pipeline
from stream_infer.records.partitioner import KeyPartitioner


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What a sample of the input shows.

    records      looked at
    readable     of them, decoded
    misplaced    of those, in another partition than their entity's
    first_cause  why the first unreadable one is so, empty when all are readable
    """

    records: int
    readable: int
    misplaced: int
    first_cause: str


async def sample_placement(
    connection: Connection, pipeline: Pipeline, mapping: FieldMapping | None, records_max: int
) -> Placement:
    """Look at the newest `records_max` records of each partition of the input."""
    decoder = EventDecoder(pipeline.events, mapping)
    records = readable = misplaced = 0
    first_cause = ""
    async with log_reader(connection) as reader:
        partitions = await reader.partitions(pipeline.events.topic)
        partitioner = KeyPartitioner(len(partitions))
        bounds = await reader.bounds(partitions)
        newest = {
            tp: Stretch(max(log.start, log.end - records_max), log.end)
            for tp, log in bounds.items()
        }
        async for tp, run in reader.read(newest):
            decoded = decoder.decode([record.value for record in run])
            keys = decoded.columns.entities[pipeline.events.key]
            records += len(run)
            readable += len(keys)
            misplaced += sum(
                partition != tp.partition for _key, partition in partitioner.place(keys)
            )
            if decoded.bad and not first_cause:
                first_cause = f"{decoded.bad[0].code}: {decoded.bad[0].message}"
    return Placement(
        records=records, readable=readable, misplaced=misplaced, first_cause=first_cause
    )
