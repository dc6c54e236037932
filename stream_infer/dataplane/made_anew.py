"""Refuses to run on an input topic that was deleted and made anew behind a stage's back.

Kafka removes a group's offsets together with a deleted topic. A stage behind it would
take the new topic's first records for ones it has folded already, since their offsets
are not above the highest it has seen, and would ignore them without a word.

The topic of allow and block lists needs a look of its own. It is read from its beginning each
time, and lists may be declared when a pipeline has run for months, so an offset that is not
there says nothing by itself. But where the deciding stage's log holds a change of a list, a
worker had read the lists, and had committed their offset before: then the topic is another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.stage import Stage
from stream_infer.errors import ConflictError
from stream_infer.events.internal import is_list_change
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.topics import committed_offsets

PATIENCE_SECONDS = 3.0
"""Workers that start a group together commit their starts one after the other."""


def inputs_made_anew(
    feeds: Mapping[str, Sequence[str]],
    partitions: Mapping[str, int],
    committed: Collection[Partition],
    written: Collection[str],
) -> list[Partition]:
    """Return the input partitions that were read before and whose offset is gone.

    feeds       internal topic -> the topics that its records are made of
    partitions  topic -> number of partitions
    committed   partitions for which the group has an offset
    written     internal topics that hold, or held, records
    """
    return [
        Partition(source, partition)
        for internal, sources in feeds.items()
        if internal in written
        for source in sources
        for partition in range(partitions[source])
        if Partition(source, partition) not in committed
    ]


async def refuse_inputs_made_anew(
    connection: Connection, group: str, stages: Sequence[Stage], partitions: Mapping[str, int]
) -> None:
    """Look whether what the stages read is still what the stages behind them remember.

    Raises  ConflictError ``input_made_anew`` when an input's offset is gone for good,
            ``lists_made_anew`` for the lists' topic
    Cost    a look at offsets; the deciding stage's log is read where lists are declared and were
            never read
    """
    await _refuse_inputs(connection, group, stages, partitions)
    for stage in stages:
        if stage.feeds is not None and stage.reads_all:
            await _refuse_lists(connection, group, stage.topic, stage.feeds)


async def _refuse_inputs(
    connection: Connection, group: str, stages: Sequence[Stage], partitions: Mapping[str, int]
) -> None:
    feeds: dict[str, list[str]] = {}
    for stage in stages:
        # What is read from its beginning each time loses nothing with its offsets.
        if stage.feeds is not None and not stage.reads_all:
            feeds.setdefault(stage.feeds, []).append(stage.topic)
    if not feeds:
        return
    lost = await _lost(connection, group, feeds, partitions)
    if lost:
        await asyncio.sleep(PATIENCE_SECONDS)
        lost = await _lost(connection, group, feeds, partitions)
    if lost:
        raise input_made_anew(lost)


async def _lost(
    connection: Connection,
    group: str,
    feeds: Mapping[str, Sequence[str]],
    partitions: Mapping[str, int],
) -> list[Partition]:
    # In this order: whoever wrote to an internal topic had committed its start before.
    written = await _written(connection, feeds)
    if not written:
        return []
    offsets = await committed_offsets(connection, group)
    committed = {Partition(tp.topic, tp.partition) for tp in offsets}
    return inputs_made_anew(feeds, partitions, committed, written)


async def _written(connection: Connection, topics: Iterable[str]) -> set[str]:
    async with log_reader(connection) as reader:
        tps = [tp for topic in topics for tp in await reader.partitions(topic)]
        return {tp.topic for tp, log in (await reader.bounds(tps)).items() if log.end > 0}


async def _refuse_lists(connection: Connection, group: str, lists: str, log: str) -> None:
    async with log_reader(connection) as reader:
        # In this order: whoever wrote below these ends had committed the lists' start before.
        told = await reader.bounds(await reader.partitions(log))
        offsets = await committed_offsets(connection, group)
        kept = await reader.bounds(await reader.partitions(lists))
        if all(tp in offsets and offsets[tp] <= stretch.end for tp, stretch in kept.items()):
            return
        async for _, records in reader.read(told):
            if any(is_list_change(record.value) for record in records):
                raise lists_made_anew(lists, log)


def lists_made_anew(lists: str, log: str) -> ConflictError:
    """Return the error for a topic of lists that is another one than before."""
    return ConflictError(
        "lists_made_anew",
        f"{log} holds changes of lists, and the group's offset in {lists} is gone: {lists} was "
        "deleted and made anew. Its first records would be taken for older ones, and ignored.",
        "Delete the pipeline's internal topics and run `stream-infer topics create`, or run the "
        "pipeline under a new name; both begin with an empty state. Another time take entities "
        "off with `stream-infer lists remove`.",
        topic=lists,
    )


def input_made_anew(lost: Sequence[Partition]) -> ConflictError:
    """Return the error for partitions of an input that are others than before."""
    topic = lost[0].topic
    return ConflictError(
        "input_made_anew",
        f"The group has no offset for {', '.join(map(str, lost))}, though records made of "
        f"{topic} are in the pipeline's internal topics: {topic} was deleted and made anew, or "
        "the group's offsets expired.",
        "Delete the pipeline's internal topics and run `stream-infer topics create`, or run the "
        "pipeline under a new name. Both begin with an empty state.",
        topic=topic,
    )
