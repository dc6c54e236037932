"""Baseline: a batch loop over aiokafka, as somebody would write it by hand for speed.

    python benchmarks/baselines/aiokafka_loop.py --bootstrap … --input … --output … \
        --group … --model model.onnx

Does less than a worker, on purpose, and what it does as quickly as Python lets it: one
`getmany` a turn, joined msgspec decode, a dict from customer to slot, one numba loop over
decaying sums in place of exact windows, ONNX Runtime in chunks, `send_batch`. Offsets are
committed each second, after the sends before them were acknowledged (at least once). It
knows no bad records, no late or doubled events, no restart of its state.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from typing import Any

import msgspec
import numpy as np
import onnxruntime
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from numba import njit
from numpy.typing import NDArray

ROWS_MAX = 4096
SLOTS = 200_000
DAY_MS = 86_400_000.0
COMMIT_S = 1.0


class Transaction(msgspec.Struct, gc=False):
    """The input record."""

    transaction_id: str
    event_time: int
    customer_id: str
    amount: float


class Scored(msgspec.Struct, gc=False):
    """The output record."""

    transaction_id: str
    customer_id: str
    event_time: int
    score: float
    decision: str
    model: str


@njit(cache=True)
def features(
    slots: NDArray[np.int64],
    times: NDArray[np.float64],
    amounts: NDArray[np.float64],
    state: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Fold events into decaying sums (1, 7 and 30 days) and write 15 features a row.

    state  (slots, 11): last time, last amount, then count, sum and sum of squares a window
    """
    for i in range(len(slots)):
        row = state[slots[i]]
        t, amount = times[i], amounts[i]
        known = row[0] > 0
        gap = max(0.0, t - row[0]) if known else 0.0
        day = int(t // DAY_MS)
        hour = int(t % DAY_MS // 3_600_000.0)
        out[i, 0] = amount
        out[i, 1] = hour
        out[i, 2] = 1.0 if (day + 3) % 7 >= 5 else 0.0
        out[i, 3] = 1.0 if hour <= 6 else 0.0
        for w in range(3):
            days = 1.0 if w == 0 else (7.0 if w == 1 else 30.0)
            keep = np.exp(-gap / (days * DAY_MS))
            n = row[2 + 3 * w] * keep + 1.0
            s = row[3 + 3 * w] * keep + amount
            q = row[4 + 3 * w] * keep + amount * amount
            row[2 + 3 * w], row[3 + 3 * w], row[4 + 3 * w] = n, s, q
            mean = s / n
            out[i, 4 + w] = n
            out[i, 7 + w] = mean
            out[i, 10 + w] = np.sqrt(max(0.0, q / n - mean * mean))
        out[i, 13] = gap / 1000.0 if known else np.nan
        out[i, 14] = row[1] if known else np.nan
        row[0], row[1] = t, amount


class Loop:
    """State, model and output of the loop."""

    def __init__(self, model: str, output: str, chunk: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self._output = output
        self._chunk = chunk
        self._decoder = msgspec.json.Decoder(Transaction)
        self._encode = msgspec.json.Encoder().encode
        self._slots: dict[str, int] = {}
        self._state = np.zeros((SLOTS, 11))

    def score(self, matrix: NDArray[np.float32]) -> list[float]:
        """Return a probability a row."""
        parts = [
            self._session.run(None, {self._input: matrix[i : i + self._chunk]})[-1][:, -1]
            for i in range(0, len(matrix), self._chunk)
        ]
        scores: list[float] = np.concatenate(parts).tolist()
        return scores

    def fold(self, events: list[Transaction]) -> NDArray[np.float32]:
        """Return (n, 15) features."""
        known, n = self._slots, len(events)
        slots = np.fromiter(
            (known.setdefault(e.customer_id, len(known)) for e in events), np.int64, n
        )
        times = np.fromiter((e.event_time for e in events), np.float64, n)
        amounts = np.fromiter((e.amount for e in events), np.float64, n)
        matrix = np.empty((n, 15), np.float32)
        features(slots, times, amounts, self._state, matrix)
        return matrix

    async def work(self, producer: AIOKafkaProducer, partition: int, records: list[Any]) -> Any:
        """Score one batch and hand its outputs over; return the futures of their sends."""
        events = self._decoder.decode_lines(b"\n".join([r.value for r in records]))
        scores = self.score(self.fold(events))
        encode, sends = self._encode, []
        batch = producer.create_batch()
        for record, event, score in zip(records, events, scores, strict=True):
            value = encode(
                Scored(
                    event.transaction_id,
                    event.customer_id,
                    event.event_time,
                    score,
                    "approve" if score < 0.5 else "decline",
                    "bench",
                )
            )
            if batch.append(timestamp=None, key=record.key, value=value) is None:
                sends.append(await producer.send_batch(batch, self._output, partition=partition))
                batch = producer.create_batch()
                batch.append(timestamp=None, key=record.key, value=value)
        sends.append(await producer.send_batch(batch, self._output, partition=partition))
        return sends


async def run(options: argparse.Namespace) -> None:
    """Read, score and write until SIGTERM."""
    loop = Loop(options.model, options.output, options.chunk)
    consumer = AIOKafkaConsumer(
        options.input,
        bootstrap_servers=options.bootstrap,
        group_id=options.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=options.bootstrap,
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        max_batch_size=900_000,
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await consumer.start()
    await producer.start()
    sends: list[Any] = []
    next_commit = time.monotonic() + COMMIT_S
    while not stop.is_set():
        fetched = await consumer.getmany(timeout_ms=200, max_records=ROWS_MAX)
        for source, records in fetched.items():
            sends += await loop.work(producer, source.partition, records)
        if time.monotonic() >= next_commit:
            await asyncio.gather(*sends)
            sends.clear()
            await consumer.commit()
            next_commit = time.monotonic() + COMMIT_S
    await asyncio.gather(*sends)
    await producer.stop()
    await consumer.stop()


def arguments(description: str) -> argparse.Namespace:
    """Return the arguments that the benchmark gives to every baseline."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("bootstrap", "input", "output", "group", "model"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--chunk", type=int, default=256, help="rows a call of ONNX Runtime")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(run(arguments(__doc__)))
