"""Processor time of one call of a stage, by how many records come with it.

    python benchmarks/small_batches.py
    python benchmarks/small_batches.py --pipeline traffic --rows 5,20 --digest

At a steady pace a fetch brings a few records of each partition, and what a call costs whatever
it brings is most of what an event costs. So every stage of a built-in pipeline is given records
of four partitions, a few or many a call, without Kafka: the first stage generated ones, each
later one what the stage before it wrote. Times are of this process alone (``process_time``),
the least of some stretches of calls, since others may use the machine meanwhile.

With ``--digest`` a hash of all that was written is printed beside: a change that is only to be
quicker leaves it as it was.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np

from stream_infer.benchmark.load import reading_load, single_load
from stream_infer.benchmark.pipelines import SENSORS_CITY, traffic_city, traffic_road
from stream_infer.dataplane.batch import ALONE_ROWS, Partition, RecordBatch
from stream_infer.dataplane.build import Parts, build_stages
from stream_infer.dataplane.stage import Stage
from stream_infer.features.plan import compile_plan
from stream_infer.kafka.topics import pipeline_topics
from stream_infer.models.ready import ready_model_dir
from stream_infer.observability.meter import StageMeter
from stream_infer.pipeline import Pipeline
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.records import KeyPartitioner
from stream_infer.scoring.conditions import ConditionScorer
from stream_infer.scoring.session import Scorer
from stream_infer.settings.worker import WorkerSettings
from stream_infer.simulators.records import label_records, reading_records, transaction_records

PARTITIONS = 4
STRETCHES = 20
WARM_ROWS = 4096
CALLS = {5: 800, 20: 600, 100: 200, 1000: 20, 4096: 8}
"""Rows a call -> calls; of each stage the first rows only warm it."""

Log = list[list[Any]]
"""Records of each partition of a topic."""


@dataclass(slots=True)
class Work:
    """One stage, its states, and how far its log is read."""

    stage: Stage
    log: Log
    meter: StageMeter
    states: list[Any]
    read: list[int]

    def call(self, rows: int) -> list[Any] | None:
        """Run one call with so many rows over all partitions; None at the end of the log."""
        batches = []
        for partition, count in self._shares(rows):
            start = self.read[partition]
            records = self.log[partition][start : start + count]
            if len(records) < count:
                return None
            if count:
                batches.append(RecordBatch(Partition(self.stage.topic, partition), records))
            self.read[partition] = start + count
        reads = self.stage.read(batches)
        states = [self.states[read.batch.source.partition] for read in reads]
        return self.stage.step(list(zip(reads, states, strict=True)), self.meter)

    def _shares(self, rows: int) -> list[tuple[int, int]]:
        """Return how many records of which partition; a partition may be without any."""
        filled = [partition for partition, log in enumerate(self.log) if log]
        if rows >= ALONE_ROWS:
            return [(max(filled, key=self.left), rows)]
        return [(p, (rows + at) // len(filled)) for at, p in enumerate(filled)]

    def left(self, partition: int) -> int:
        """Return how many records of a partition were not read yet."""
        return len(self.log[partition]) - self.read[partition]


def measure(
    stages: Sequence[Stage], logs: dict[str, Log], warm: dict[str, int], sizes: Sequence[int]
) -> Iterator[tuple[str, int, float, str]]:
    """Yield (stage, rows a call, seconds a call, digest of what was written) for each."""
    for stage in stages:
        log = logs.get(stage.topic)
        if log is None:
            continue
        work = Work(
            stage,
            log,
            StageMeter(),
            [stage.open_state(None) for _ in range(PARTITIONS)],
            [0] * PARTITIONS,
        )
        written: list[Any] = []
        while sum(work.read) < warm.get(stage.topic, 0):
            results = work.call(ALONE_ROWS - PARTITIONS)
            if results is None:
                break
            written += results
        for rows in sizes:
            digest = hashlib.sha256()
            best = float("inf")
            for _ in range(STRETCHES):
                calls = max(1, CALLS.get(rows, 20) // STRETCHES)
                made: list[Any] = []
                began = time.process_time()
                for _ in range(calls):
                    results = work.call(rows)
                    if results is None:
                        break
                    made += results
                else:
                    best = min(best, (time.process_time() - began) / calls)
                written += made
                _digest(digest, made)
            yield stage.name, rows, best, digest.hexdigest()[:12]
        while results := work.call(ALONE_ROWS - PARTITIONS):
            written += results
        _append(logs, written)


def _digest(digest: Any, results: Sequence[Any]) -> None:
    for result in results:
        for destination, writes in result.outputs.items():
            digest.update(repr((destination, writes.keys, writes.values, writes.rows)).encode())


def _append(logs: dict[str, Log], results: Sequence[Any]) -> None:
    for result in results:
        for destination, writes in result.outputs.items():
            log = logs.setdefault(destination.topic, [[] for _ in range(PARTITIONS)])
            log = log[destination.partition % PARTITIONS]
            for key, value in zip(writes.keys, writes.values, strict=True):
                log.append(_record(len(log), key, value, 2**50))


def _record(offset: int, key: bytes | None, value: bytes | None, timestamp: int) -> Any:
    return SimpleNamespace(
        offset=offset, timestamp=timestamp, timestamp_type=0, key=key, value=value, headers=()
    )


def _log(keys: Sequence[str], values: Sequence[bytes], timestamp: int = 2**50) -> Log:
    log: Log = [[] for _ in range(PARTITIONS)]
    for (key, partition), value in zip(KeyPartitioner(PARTITIONS).place(keys), values, strict=True):
        log[partition].append(_record(len(log[partition]), key, value, timestamp))
    return log


def _stages(pipeline: Pipeline, model: str) -> list[Stage]:
    plan = compile_plan(pipeline)
    folder = ready_model_dir(model)
    scorer: Any
    if pipeline.conditions is not None:
        scorer = ConditionScorer(plan, folder)
    else:
        scorer = Scorer(folder, plan.feature_names, plan.fingerprint)
    partitions = {spec.name: spec.partitions for spec in pipeline_topics(pipeline, PARTITIONS)}
    return build_stages(Parts(plan, scorer, partitions, WorkerSettings()))


def _merged(log: Log) -> Log:
    """Put labels where they became known among the transactions."""
    return [
        [
            _record(offset, record.key, record.value, record.timestamp)
            for offset, record in enumerate(sorted(records, key=_known_at))
        ]
        for records in log
    ]


def _known_at(record: Any) -> int:
    fields = msgspec.json.decode(record.value)
    return int(max(fields[8], fields[16]))


def _fraud(events: int, sizes: Sequence[int]) -> Iterator[tuple[str, int, float, str]]:
    stages = {stage.name: stage for stage in _stages(fraud, "fraud")}
    rows = single_load(events, customers=events // 30).transactions
    known = np.flatnonzero(rows.label_time < rows.event_time[-1])
    labels = rows.take(known[np.argsort(rows.label_time[known], kind="stable")])
    logs = {
        "transactions": _log(rows.customer_ids, transaction_records(rows).values),
        "fraud-labels": _log(labels.ids, label_records(labels).values),
    }
    yield from measure([stages["customer"]], logs, {"transactions": events // 2}, sizes)
    yield from measure([stages["labels"]], logs, {}, sizes)
    by_terminal = stages["terminal"].topic
    logs[by_terminal] = _merged(logs[by_terminal])
    yield from measure([stages["terminal"]], logs, {by_terminal: 6 * events // 10}, sizes)
    yield from measure([stages["alerts"]], logs, {}, [size for size in sizes if size < 50])


def _traffic(
    events: int, sensors: int, sizes: Sequence[int]
) -> Iterator[tuple[str, int, float, str]]:
    pipeline = (traffic_city if sensors == SENSORS_CITY else traffic_road)("t", "t.in")
    stages = _stages(pipeline, "traffic")
    load = reading_load(events, sensors)
    readings = load.readings
    keys = [load.sensor_ids[at] for at in readings.sensor.tolist()]
    logs: dict[str, Log] = {"t.in": _log(keys, reading_records(readings, load.sensor_ids).values)}
    yield from measure(stages[:1], logs, {"t.in": 20_000}, sizes)
    yield from measure(stages[1:2], logs, {stages[1].topic: events // 4}, sizes)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipeline", default="fraud,traffic")
    parser.add_argument("--rows", default="5,20,100,1000,4096")
    parser.add_argument("--events", type=int, default=240_000)
    parser.add_argument("--sensors", type=int, default=SENSORS_CITY)
    parser.add_argument("--digest", action="store_true")
    given = parser.parse_args()
    sizes = [int(size) for size in given.rows.split(",")]
    for name in given.pipeline.split(","):
        if name == "fraud":
            found = _fraud(given.events, sizes)
        else:
            found = _traffic(given.events, given.sensors, sizes)
        for stage, rows, seconds, digest in found:
            print(
                f"{name:>8} {stage:>9} {rows:>5} rows: {seconds * 1e6:9.1f} us a call, "
                f"{seconds * 1e6 / rows:7.2f} us a row  {digest if given.digest else ''}"
            )


if __name__ == "__main__":
    main()
