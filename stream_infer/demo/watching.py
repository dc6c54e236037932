"""Read what the pipelines publish, as any subscriber would, and keep what the screen needs.

`Watched` is one pipeline as seen from its output topics; nothing in it comes from a worker.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stream_infer.alerts.wire import Alert, decode_alert
from stream_infer.demo.figures import Latencies, Rates
from stream_infer.demo.load import Load
from stream_infer.demo.sent import UNKNOWN_MS
from stream_infer.events.deadletter import read_dead_letter
from stream_infer.events.topic_names import DEAD_LETTERS
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.pipeline import Pipeline


class Scored(msgspec.Struct, gc=False):
    """What is read of a scored event, whichever pipeline it is of."""

    event_id: str
    event_time: int
    late: bool
    decision: str | None = None
    sensor_id: str | None = None
    speed: float | None = None
    level_of_service: str | None = None


_SCORED = msgspec.json.Decoder(Scored)


@dataclass(slots=True)
class Watched:
    """One pipeline, by its outputs.

    scored     scored events read
    scored_ms  event time of the newest of them
    latencies  of events of the present
    ages_ms    of the newest of them
    newest     sensor -> its newest scored reading
    alerts     alert_id -> the newest record of each alert
    first_alert_s  when the first alert came, on the clock of `time.monotonic`
    """

    pipeline: Pipeline
    load: Load
    scored: int = 0
    scored_ms: int | None = None
    late: int = 0
    dead_letters: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    latencies: Latencies = field(default_factory=Latencies)
    rates: Rates = field(default_factory=Rates)
    ages_ms: list[int] = field(default_factory=list)
    newest: dict[str, Scored] = field(default_factory=dict)
    alerts: dict[str, Alert] = field(default_factory=dict)
    first_alert_s: float | None = None

    @property
    def done(self) -> int:
        """Events whose way has ended: scored, or among the dead letters."""
        return self.scored + self.dead_letters

    @property
    def clock_ms(self) -> int | None:
        """What time it is in the world: while the past is scored, how far that has come."""
        return self.scored_ms if self.load.opened_ms is None else self.load.fed.last_ms

    def take_scored(self, records: Sequence[Any]) -> None:
        """Take records of the topic of scored events."""
        taken_ms: list[int] = []
        load, opened_ms = self.load, self.load.opened_ms
        for record in records:
            event = _SCORED.decode(record.value)
            self.scored_ms = event.event_time
            self.late += event.late
            if event.decision is not None:
                self.decisions[event.decision] += 1
            if event.sensor_id is not None:
                self._take_reading(event.sensor_id, event)
            if opened_ms is None:
                continue
            _topic, partition, offset = event.event_id.rsplit("-", 2)
            sent_ms = load.sent.time_of(int(partition), int(offset))
            if sent_ms != UNKNOWN_MS and sent_ms >= opened_ms:
                taken_ms.append(record.timestamp - sent_ms)
                behind_ms = event.event_time - load.pace.time.live_ms
                happened_ms = opened_ms + behind_ms / load.pace.time.speed
                self.ages_ms.append(round(record.timestamp - happened_ms))
        self.scored += len(records)
        self.latencies.add(taken_ms)
        del self.ages_ms[:-1_000]

    def _take_reading(self, sensor_id: str, event: Scored) -> None:
        known = self.newest.get(sensor_id)
        if known is None or known.event_time <= event.event_time:
            self.newest[sensor_id] = event

    def take_alerts(self, records: Sequence[Any]) -> None:
        """Take records of the topic of alerts; one that comes again is the same."""
        for record in records:
            alert = decode_alert(record.value)
            known = self.alerts.get(alert.alert_id)
            if known is None or known.revision < alert.revision:
                self.alerts[alert.alert_id] = alert
        if records and self.first_alert_s is None:
            self.first_alert_s = time.monotonic()

    def median_age_ms(self) -> int | None:
        """Return the median age of the newest scored events."""
        if not self.ages_ms:
            return None
        return sorted(self.ages_ms)[len(self.ages_ms) // 2]


async def watch(
    connection: Connection, watched: Mapping[str, Watched], stop: asyncio.Event
) -> None:
    """Read the outputs of the pipelines, from their beginning until `stop` is set."""
    scored = {each.pipeline.scored: each for each in watched.values()}
    alerts = {
        each.pipeline.alerts.topic: each
        for each in watched.values()
        if each.pipeline.alerts is not None
    }
    async with log_reader(connection) as reader:
        topics = [*scored, *alerts, DEAD_LETTERS]
        partitions = [tp for topic in topics for tp in await reader.partitions(topic)]
        ended = asyncio.create_task(stop.wait())
        runs = reader.follow(dict.fromkeys(partitions, 0))
        coming = asyncio.ensure_future(anext(runs))
        try:
            while not stop.is_set():
                await asyncio.wait([coming, ended], return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    break
                tp, records = coming.result()
                if tp.topic in scored:
                    scored[tp.topic].take_scored(records)
                elif tp.topic in alerts:
                    alerts[tp.topic].take_alerts(records)
                else:
                    _take_dead(records, watched)
                await asyncio.sleep(0)
                coming = asyncio.ensure_future(anext(runs))
        finally:
            # Ended before its reader is closed, which it would complain about.
            coming.cancel()
            ended.cancel()
            await asyncio.wait([coming, ended])


def _take_dead(records: Sequence[Any], watched: Mapping[str, Watched]) -> None:
    for record in records:
        each = watched.get(read_dead_letter(record.headers).consumer_group or "")
        if each is not None:
            each.dead_letters += 1
