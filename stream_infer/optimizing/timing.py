"""How quick models are, measured in turns so that what slows the machine slows all of them.

Rows a second are of processor time: a worker owns a core, and what others do on the machine does
not count. Latencies are of the wall clock, since that is what an event waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCHES = (1, 64, 512)
CALLS = (20, 10, 4)
"""Calls of each batch size in one round."""
ROUNDS = 25
THROUGHPUT_ROWS = 4_096
LOADS = 5
CHUNKS = (64, 128, 256, 512, 1_024, 4_096)
CHUNK_GAIN_MIN = 0.05
"""A chunk takes the place of the one given when it is quicker by so much: less is noise."""
CHUNK_ROUNDS = 7

Score = Callable[[NDArray[np.float32]], Any]


@dataclass(frozen=True, slots=True)
class Speed:
    """How quick one model is.

    rows_per_s  of processor time, in large batches, the median round
    seconds     (rounds,) of one large batch: round i of all models was run in turn
    latency_us  batch size -> (50th, 99th percentile) of one call by the wall clock
    """

    rows_per_s: float
    seconds: NDArray[np.float64]
    latency_us: dict[int, tuple[float, float]]

    def facts(self) -> dict[str, Any]:
        """Return it as JSON-encodable facts."""
        return {
            "rows_per_s": round(self.rows_per_s),
            "latency_us": {
                str(batch): {"p50": round(half, 1), "p99": round(most, 1)}
                for batch, (half, most) in self.latency_us.items()
            },
        }

    def over(self, other: Speed) -> tuple[float, float, float]:
        """Return how many times as many rows a second: the median round, and both quartiles."""
        low, middle, high = np.percentile(other.seconds / self.seconds, (25, 50, 75)).tolist()
        return middle, low, high


def measure_speeds(
    models: Mapping[str, Score], rows: NDArray[np.float32], *, rounds: int = ROUNDS
) -> dict[str, Speed]:
    """Measure all models on the same rows, in turns.

    rows    (n, F) float32, C-contiguous, real ones; repeated where they are fewer than a batch
    Cost    a quarter of a second or so for each model of 100 trees
    """
    many = _repeated(rows, THROUGHPUT_ROWS)
    names = list(models)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    waits: dict[tuple[str, int], list[float]] = {(n, b): [] for n in names for b in BATCHES}
    for name in names:
        models[name](many)  # the first call sets memory aside
    for turn in range(rounds):
        first = turn % len(names)
        order = names[first:] + names[:first]
        for batch, calls in zip(BATCHES, CALLS, strict=True):
            for name in order:
                waits[name, batch] += _waits(models[name], many, batch, calls, turn)
        for name in order:
            began = time.thread_time()
            models[name](many)
            seconds[name].append(time.thread_time() - began)
    return {
        name: Speed(
            len(many) / float(np.median(seconds[name])),
            np.maximum(np.array(seconds[name]), 1e-9),
            {
                batch: tuple(np.percentile(waits[name, batch], (50, 99)).tolist())
                for batch in BATCHES
            },
        )
        for name in names
    }


def _waits(
    score: Score, rows: NDArray[np.float32], batch: int, calls: int, turn: int
) -> list[float]:
    """Return how long calls of one batch size took, in µs; other rows at each turn."""
    said = []
    for call in range(calls):
        start = ((turn * calls + call) * batch) % (len(rows) - batch + 1)
        part = rows[start : start + batch]
        began = time.perf_counter_ns()
        score(part)
        said.append((time.perf_counter_ns() - began) / 1_000)
    return said


def load_ms(load: Callable[[], Any]) -> float:
    """Return how long loading takes, in ms of processor time, the quickest of a few."""
    said = []
    for _ in range(LOADS):
        began = time.process_time()
        load()
        said.append((time.process_time() - began) * 1_000)
    return min(said)


def tune_chunk(score: Callable[[int], Score], rows: NDArray[np.float32], given: int) -> int:
    """Return the number of rows a call that is quickest; the given one unless another is clearly.

    score  makes the function that scores with a chunk
    """
    many = _repeated(rows, THROUGHPUT_ROWS)
    models = {chunk: score(chunk) for chunk in sorted({*CHUNKS, given})}
    took: dict[int, list[float]] = {chunk: [] for chunk in models}
    for turn in range(CHUNK_ROUNDS):
        for chunk, model in models.items():
            began = time.thread_time()
            model(many)
            if turn:  # the first call sets memory aside
                took[chunk].append(time.thread_time() - began)
    medians = {chunk: float(np.median(each)) for chunk, each in took.items()}
    return choose_chunk(medians, given)


def choose_chunk(seconds: Mapping[int, float], given: int) -> int:
    """Return the smallest of the quickest chunks, or the given one where none is clearly quicker.

    seconds  chunk -> seconds of the same rows

    >>> choose_chunk({64: 1.0, 256: 0.99, 1024: 1.2}, 1024)
    64
    >>> choose_chunk({64: 1.0, 256: 0.98, 1024: 1.01}, 1024)
    1024
    """
    best = min(seconds.values())
    if seconds[given] <= best * (1 + CHUNK_GAIN_MIN):
        return given
    return min(chunk for chunk, took in seconds.items() if took <= best * 1.02)


def _repeated(rows: NDArray[np.float32], wanted: int) -> NDArray[np.float32]:
    times = -(-wanted // len(rows))
    return np.ascontiguousarray(np.tile(rows, (times, 1))[:wanted])
