"""Outputs a second: the ends of the output's log, sampled while the subject runs.

An output counts when a reader of committed records can have it. Where those ends are while the
subject runs is asked ten times a second; how many records that is, is read from the batches once
everything is there, since markers of transactions take offsets too. The rate is taken between two
samples, from `Load.measured` of the outputs, when everything is warm, to 95 % of them, before the
first partition runs dry; at the same two moments the processor time of the subject is read, so
that a figure also says what an event costs when a core is shared.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from stream_infer.benchmark.batches import batch_log
from stream_infer.benchmark.subject import Subject, Usage
from stream_infer.errors import GateFailedError
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import TopicPartition, log_reader

SAMPLE_S = 0.1
END_SHARE = 0.95
FIRST_OUTPUT_TIMEOUT_S = 90.0


@dataclass(frozen=True, slots=True)
class Sample:
    """How many outputs there were, and what the subject had used, at one moment.

    at_s   seconds of a clock that never goes back
    """

    at_s: float
    outputs: int
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Throughput:
    """One run.

    events_per_s     None when too few samples lie between the two moments
    processor_us     processor time of the subject for one event, in µs
    rss_bytes_max    most resident memory of the subject until the end
    rss_bytes        resident memory at the end
    outputs, span_s  what the rate was taken from
    """

    events_per_s: float | None
    processor_us: float | None
    rss_bytes_max: int | None
    rss_bytes: int | None
    outputs: int
    span_s: float


async def watch_outputs(
    connection: Connection,
    topic: str,
    expected: int,
    subject: Subject,
    *,
    seconds_max: float,
    show: Callable[[int], None],
) -> list[Sample]:
    """Sample until `expected` outputs are there, or `seconds_max` after the first one.

    Raises  GateFailedError when the subject ends, or writes nothing for a minute and a half
    """
    samples: list[Sample] = []
    ends: list[dict[TopicPartition, int]] = []
    async with log_reader(connection) as reader, batch_log(connection, [topic]) as log:
        partitions = await reader.partitions(topic)
        started = time.monotonic()
        while not _over(samples, started, seconds_max):
            subject.check()
            bounds = await reader.bounds(partitions)
            ends.append({tp: stretch.end for tp, stretch in bounds.items()})
            offsets = sum(ends[-1].values())
            samples.append(Sample(time.monotonic(), offsets, subject.usage()))
            show(offsets)
            if offsets >= expected:
                # All records but for the markers among them: reading disturbs no figure now.
                await log.read_on()
                if log.readable(ends[-1]) >= expected:
                    break
            await asyncio.sleep(SAMPLE_S)
        await log.read_on()
        return [
            replace(sample, outputs=log.readable(at))
            for sample, at in zip(samples, ends, strict=True)
        ]


def _over(samples: list[Sample], started: float, seconds_max: float) -> bool:
    first = next((sample.at_s for sample in samples if sample.outputs), None)
    now = time.monotonic()
    if first is None and now - started > FIRST_OUTPUT_TIMEOUT_S:
        raise GateFailedError(
            "no_outputs",
            f"Nothing was written within {FIRST_OUTPUT_TIMEOUT_S:.0f} s.",
            "Look at the logs of the process; run the benchmark on a quieter machine.",
        )
    return first is not None and now - first > seconds_max


def throughput(samples: list[Sample], measured: float | None) -> Throughput:
    """Return the figures of one run.

    measured  share of the outputs after which measuring begins; None for a chain of stages, which
              is measured from its first output to its last: in catch-up the first stage runs
              ahead, and in any piece of the run it has done less, or more, than its share
    """
    total = samples[-1].outputs
    end_share = 1.0 if measured is None else END_SHARE
    begin = next(sample for sample in samples if sample.outputs >= max(1, (measured or 0) * total))
    end = next(sample for sample in samples if sample.outputs >= end_share * total)
    outputs, span_s = end.outputs - begin.outputs, end.at_s - begin.at_s
    if outputs <= 0 or span_s < 2 * SAMPLE_S:
        outputs = 0
    used = end.usage.processor_s - begin.usage.processor_s if end.usage and begin.usage else None
    last = samples[-1].usage
    return Throughput(
        events_per_s=outputs / span_s if outputs else None,
        processor_us=used / outputs * 1e6 if outputs and used is not None else None,
        rss_bytes_max=last.rss_bytes_max if last else None,
        rss_bytes=last.rss_bytes if last else None,
        outputs=outputs,
        span_s=span_s,
    )
