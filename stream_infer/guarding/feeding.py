"""Feeds a trial from Kafka: scores of both versions, and the labels that came back.

Only the worker that decides reads them, and no faster than `RECORDS_A_SECOND`: a trial must not
cost what it watches. Where more is written than that, it passes records over; which ones depends
on nothing that they hold, so what it has read is a fair sample of all.

When another worker takes over, the sums go on from what was written down last (each word names
the labels that it counts). Scores whose labels had not come are read again, as far back as
`BACKLOG` records before the end; what lies before is lost to the trial.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer

from stream_infer.errors import InvalidDataError, StreamInferError
from stream_infer.events.trial_word import (
    TrialWord,
    decode_trial_word,
    encode_trial_word,
    trial_key,
)
from stream_infer.guarding.latest import read_latest
from stream_infer.guarding.publishing import Send
from stream_infer.guarding.trial_records import TrialRecords
from stream_infer.guarding.trials import TrialKeeper
from stream_infer.guardrails.trying import Tried
from stream_infer.kafka.coming_up import opened
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import LogReader, TopicPartition
from stream_infer.kafka.ungrouped import ungrouped_consumer

log = structlog.get_logger("stream_infer.models")

RECORDS_A_SECOND = 4_000
"""A twentieth of a core."""
BACKLOG = 200_000
"""Scores before the end that are read when a trial is taken over: a minute's reading."""
BEHIND_MAX = 2 * BACKLOG
WRITE_EVERY_S = 5.0
AGAIN_S = 5.0
_FETCH_RECORDS_MAX = 1_000


@dataclass
class _Places:
    """Partitions of the topics that a trial is read from.

    scores, labels  partitions
    ends            where the logs of scores ended when reading began
    """

    scores: list[TopicPartition]
    labels: list[TopicPartition]
    ends: dict[TopicPartition, int] = field(default_factory=dict)


class TrialFeed:
    """Feeds the trials of one model while this worker decides.

    topic  the guard's own, in which is written down what is known; None: nowhere
    """

    def __init__(
        self,
        connection: Connection,
        keeper: TrialKeeper,
        records: TrialRecords,
        topic: str | None,
        *,
        seconds: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._connection = connection
        self._keeper = keeper
        self._records = records
        self._topic = topic
        self._seconds = seconds
        self._sleep = sleep
        self._written: TrialWord | None = None

    async def feed_forever(self, send: Send | None) -> None:
        """Feed one trial after the other; where Kafka does not answer, try again."""
        while True:
            tried = await self._keeper.begun()
            try:
                await self._feed(tried, send)
            except StreamInferError as error:
                log.warning("trial_not_fed", cause=error.message, fix=error.fix)
                await self._sleep(AGAIN_S)

    async def _feed(self, tried: Tried, send: Send | None) -> None:
        word = await self._read_word()
        reading = ungrouped_consumer(
            self._connection, fetch_max_wait_ms=250, max_partition_fetch_bytes=1 << 20
        )
        async with opened(reading) as consumer:
            places = await self._begin(consumer, tried, word)
            log.info(
                "trial_begins",
                champion=tried.champion,
                challenger=tried.challenger,
                labels=0 if self._keeper.state is None else self._keeper.state.trial.steps,
            )
            await self._read(consumer, tried, places, send)

    async def _read_word(self) -> TrialWord | None:
        """Return what an earlier owner wrote down."""
        if self._topic is None:
            return None
        value = (await read_latest(self._connection, self._topic)).get(
            trial_key(self._keeper.model)
        )
        try:
            return None if value is None else decode_trial_word(value)
        except InvalidDataError as error:
            log.warning("trial_word_invalid", cause=error.message, fix=error.fix)
            return None

    async def _begin(
        self, consumer: AIOKafkaConsumer, tried: Tried, word: TrialWord | None
    ) -> _Places:
        """Find where to begin, and go there."""
        reader = LogReader(consumer, self._connection)
        scores = [
            each for topic in self._records.topics(tried) for each in await reader.partitions(topic)
        ]
        labels = await reader.partitions(self._records.labels_topic)
        bounds = await reader.bounds([*scores, *labels])
        began = await consumer.offsets_for_times(dict.fromkeys([*scores, *labels], tried.began_ms))
        state = self._keeper.restore(tried, word)
        consumer.assign([*scores, *labels])
        for each, log_ in bounds.items():
            first = log_.end if began.get(each) is None else began[each].offset
            if each in scores:
                first = max(first, log_.end - BACKLOG // len(scores))
            else:
                first = state.read.get(each.partition, first)
            consumer.seek(each, min(max(first, log_.start), log_.end))
        return _Places(scores, labels, {each: bounds[each].end for each in scores})

    async def _read(
        self, consumer: AIOKafkaConsumer, tried: Tried, places: _Places, send: Send | None
    ) -> None:
        """Read until another trial begins. Labels wait until the scores before them are there."""
        both, written_s = False, self._seconds()
        while self._keeper.tried == tried:
            began_s = self._seconds()
            wanted = [*places.scores, *places.labels] if both else places.scores
            fetched = await consumer.getmany(
                *wanted, timeout_ms=200, max_records=_FETCH_RECORDS_MAX
            )
            if self._keeper.tried != tried:
                return
            for source, found in fetched.items():
                self._take(tried, source, found)
            both = both or await _has_come_to(consumer, places.ends)
            if send is not None and self._seconds() - written_s >= WRITE_EVERY_S:
                written_s = self._seconds()
                await self._write(send)
            if both:
                await self._pass_over(consumer, places)
            due_s = sum(map(len, fetched.values())) / RECORDS_A_SECOND
            await self._sleep(max(0.0, due_s - (self._seconds() - began_s)))

    def _take(self, tried: Tried, source: TopicPartition, found: list[Any]) -> None:
        values = [record.value for record in found]
        if source.topic == self._records.labels_topic:
            end = found[-1].offset + 1
            self._keeper.take_labels(self._records.labels(values), source.partition, end)
        else:
            self._keeper.take_scores(self._records.scores(tried, source.topic, values))

    async def _write(self, send: Send) -> None:
        """Write down what is known, if that has changed."""
        word = self._keeper.word()
        if word is None or word == self._written:
            return
        stamped = msgspec.structs.replace(word, at=time.time_ns() // 1_000_000)
        await send(trial_key(self._keeper.model), encode_trial_word(stamped))
        self._written = word

    async def _pass_over(self, consumer: AIOKafkaConsumer, places: _Places) -> None:
        """Go to the end of logs that are written faster than a trial may read."""
        for sources in (places.scores, places.labels):
            behind = 0
            for each in sources:
                end = consumer.highwater(each)
                behind += 0 if end is None else max(0, end - await consumer.position(each))
            if behind > BEHIND_MAX:
                log.info("trial_passes_over", topic=sources[0].topic, records=behind)
                await consumer.seek_to_end(*sources)


async def _has_come_to(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
    for source, end in ends.items():
        if await consumer.position(source) < end:
            return False
    return True
