"""Reads what other workers say about their partitions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import msgspec
import structlog

from stream_infer.events.progress import Progress, decode_progress
from stream_infer.kafka.coming_up import opened
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.stretch import Stretch

log = structlog.get_logger("stream_infer.progress")


READ_BACK_MAX = 10_000
"""Offsets before the end from which is read: words of this assignment stand there, as each owner
with unread records repeats its own every second, and they are all that is asked for."""


async def read_progress(
    connection: Connection, topic: str, hear: Callable[[Collection[Progress]], None]
) -> None:
    """Hand words over, for ever: the last ones of each partition first, then each as it comes.

    Raises  `StreamInferError` when Kafka does not answer, or refuses
    """
    async with opened(log_reader(connection)) as reader:
        [source] = await reader.partitions(topic)
        stretch = (await reader.bounds([source]))[source]
        start = max(stretch.start, stretch.end - READ_BACK_MAX)
        last: dict[str, Progress] = {}
        async for _source, records in reader.read({source: Stretch(start, stretch.end)}):
            last |= {word.position: word for word in _words(records)}
        hear(last.values())
        async for _source, records in reader.follow({source: stretch.end}):
            hear(list(_words(records)))


def _words(records: Iterable[Any]) -> Iterator[Progress]:
    """Return what can be read; a word that cannot is as one that was not said."""
    for record in records:
        if record.value is None:
            continue
        try:
            yield decode_progress(record.value)
        except msgspec.MsgspecError as error:
            log.warning("progress_unreadable", offset=record.offset, cause=str(error))
