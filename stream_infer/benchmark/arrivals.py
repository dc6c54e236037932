"""When a reader of committed records has each record: a process of its own that notes it.

A record is invisible until its transaction is committed, so the time of its append says nothing
about when somebody can use it. The reader runs beside the load, on its own interpreter, and notes
only how far it has come and when; which event stands where is looked up afterwards. Its clock is
this machine's, so Kafka must be on it as well: the inputs carry Kafka's time.

    python -m stream_infer.benchmark.arrivals HOST:PORT TOPIC

prints a line for each fetch and partition: partition, the offset after its last record, and the
time in ns since the epoch. It ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import math
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_infer.benchmark.latency import NAME_DECODER
from stream_infer.benchmark.subject import Subject
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader

READY = "ready"
ENDS_WITHIN_S = 1.0
"""After Kafka has everything, so long is given to the reader to have it too."""


def arrivals_command(bootstrap: str, topic: str) -> list[str]:
    """Return the command of a reader."""
    return [sys.executable, "-m", "stream_infer.benchmark.arrivals", bootstrap, topic]


class Arrivals:
    """What a reader has noted: how far it had come, and when.

    text  its lines
    """

    def __init__(self, text: str) -> None:
        lines: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for line in text.splitlines():
            parts = line.split()
            if len(parts) == 3 and all(part.isdigit() for part in parts):
                lines[int(parts[0])].append((int(parts[1]), int(parts[2])))
        self._noted = {partition: np.array(noted) for partition, noted in lines.items()}

    def times_ms(self, partition: int, offsets: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return when the reader had the records at these offsets, epoch ms; NaN where never.

        >>> Arrivals("0 3 1000000").times_ms(0, np.array([2, 3]))
        array([ 1., nan])
        """
        noted = self._noted.get(partition)
        if noted is None:
            return np.full(len(offsets), np.nan)
        at = np.searchsorted(noted[:, 0], offsets, side="right")
        times = np.append(noted[:, 1] / 1e6, np.nan)
        return np.asarray(times[at], np.float64)


async def arrival_times(connection: Connection, topic: str, arrivals: Arrivals) -> dict[str, float]:
    """Return when the reader had the first record of each event, epoch ms, by its name."""
    times: dict[str, float] = {}
    async with log_reader(connection) as reader:
        stretches = await reader.bounds(await reader.partitions(topic))
        async for tp, records in reader.read(stretches):
            offsets = np.array([record.offset for record in records])
            had_ms = arrivals.times_ms(tp.partition, offsets)
            for record, time_ms in zip(records, had_ms.tolist(), strict=True):
                if not math.isnan(time_ms):
                    times.setdefault(NAME_DECODER.decode(record.value).name, time_ms)
    return times


async def wait_until_ready(reader: Subject, log: Path) -> None:
    """Wait until a reader reads that prints to `log`; raise GateFailedError when it has ended."""
    while READY not in await asyncio.to_thread(log.read_text):
        reader.check()
        await asyncio.sleep(0.05)


async def note_arrivals(connection: Connection, topic: str) -> None:
    """Read a topic for ever, and print how far and when."""
    async with log_reader(connection) as reader:
        partitions = await reader.partitions(topic)
        _say(READY)
        async for tp, records in reader.follow(dict.fromkeys(partitions, 0)):
            _say(f"{tp.partition} {records[-1].offset + 1} {time.time_ns()}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _main(bootstrap: str, topic: str) -> None:
    noting = asyncio.create_task(note_arrivals(Connection(bootstrap=bootstrap), topic))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, noting.cancel)
    await asyncio.wait([noting])
    if not noting.cancelled():
        noting.result()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
