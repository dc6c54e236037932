"""Cost of bytes to columns and back, per event, on one core without Kafka.

    python benchmarks/decode.py [--events 4000] [--rounds 50]

Prints the best and the median round in microseconds an event, for batches of
`--events` records. The best is what the code costs, the median what it costs beside
whatever else this machine does.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.benchmark.load import reading_load
from stream_infer.events.decode import EventDecoder
from stream_infer.events.internal import InternalDecoder
from stream_infer.events.internal_encoding import encode_internal
from stream_infer.events.mapping import FieldMapping
from stream_infer.events.scored import ScoredEncoder
from stream_infer.events.scored_readings import ScoredReadingEncoder
from stream_infer.pipelines.fraud import pipeline
from stream_infer.pipelines.traffic import pipeline as traffic
from stream_infer.simulators.records import reading_records

FEATURES = 15
STAGE_FEATURES = 6
SENSORS = 100
MAPPING = FieldMapping.parse("event_time=payment.created_at:s,amount=payment.amount")


def transactions(n: int, time_form: str = "%d", extra: str = "") -> list[bytes]:
    """Return n transactions as a payment system writes them, about 115 bytes each."""
    form = (
        '{"transaction_id":"tx-%d","event_time":' + time_form + ',"customer_id":"c%d",'
        '"terminal_id":"m%d","amount":%.2f' + extra + "}"
    )
    start_ms = 1_522_540_800_000
    times = range(start_ms, start_ms + n) if time_form == "%d" else (i % 60 for i in range(n))
    return [
        (form % (i, at, i % 50_000, i % 10_000, i * 0.37)).encode() for i, at in enumerate(times)
    ]


def mapped(n: int) -> list[bytes]:
    """Return n transactions in a nested form of a user's own."""
    return [
        msgspec.json.encode(
            {
                "transaction_id": f"tx-{i}",
                "payment": {"created_at": 1_522_540_800 + i, "amount": round(i * 0.37, 2)},
                "customer_id": f"c{i % 50_000}",
                "terminal_id": f"m{i % 10_000}",
            }
        )
        for i in range(n)
    ]


def cases(n: int) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    events = pipeline.events
    good = transactions(n)
    one_bad = [*good[:-1], b"{"]
    texts = transactions(n, '"2018-04-01T00:00:%02d.123Z"')
    further = transactions(n, extra=',"currency":"EUR","device":{"os":"x"}')
    user_form = mapped(n)
    decoder = EventDecoder(events)
    keeping = EventDecoder(events, unknown_fields="keep")
    mapping = EventDecoder(events, MAPPING)
    columns = decoder.decode(good).columns
    offsets = np.arange(n)
    places = np.full(n, 3)
    columns.source_partition, columns.source_offset = places, offsets
    random = np.random.default_rng(7)
    stage = random.integers(0, 90, (n, STAGE_FEATURES)).astype(np.float64)
    # Three counts and three means, as the customer stage of the fraud pipeline has.
    stage[:, STAGE_FEATURES // 2 :] = random.random((n, STAGE_FEATURES // 2)) * 100
    matrix = random.random((n, FEATURES))
    scores = random.random(n).astype(np.float32)
    decisions = ["approve"] * n
    names = [f"feature_{index}" for index in range(FEATURES)]
    internal = InternalDecoder(events, features_count=STAGE_FEATURES)

    def encode() -> list[bytes]:
        return encode_internal(
            columns, events.topic, places, offsets, stage, "0123456789abcdef", events
        )

    written = encode()
    plain = ScoredEncoder(pipeline, names)
    publishing = ScoredEncoder(pipeline, names, publish_features=True)
    head = ("fraud", "1", "0123456789abcdef")
    return {
        "decode, whole-number times": lambda: decoder.decode(good),
        "decode, one bad record": lambda: decoder.decode(one_bad),
        "decode, RFC 3339 times": lambda: decoder.decode(texts),
        "decode, mapped": lambda: mapping.decode(user_form),
        "decode, unknown fields kept": lambda: keeping.decode(further),
        "encode internal": encode,
        "decode internal": lambda: internal.decode(written),
        "encode scored": lambda: plain.encode(columns, scores, decisions, *head),
        "encode scored readings": _readings(n, scores),
        "encode scored with features": lambda: publishing.encode(
            columns, scores, decisions, *head, matrix
        ),
    }


def _readings(n: int, anomaly: NDArray[np.float32]) -> Callable[[], object]:
    """Return how as many readings are encoded, with a forecast each."""
    load = reading_load(n, SENSORS)
    values = reading_records(load.readings, load.sensor_ids).values
    columns = EventDecoder(traffic.events).decode(values).columns
    columns.source_partition, columns.source_offset = np.full(n, 3), np.arange(n)
    random = np.random.default_rng(7)
    levels = random.integers(0, 6, n).astype(np.int8)
    forecasts = (random.random((n, 9)) * 100).round(2)
    encoder = ScoredReadingEncoder(traffic, ["x"])
    head = ("traffic", "1", "0123456789abcdef")
    return lambda: encoder.encode(columns, anomaly, levels, forecasts, *head)


def main() -> None:
    """Measure every case and print one line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--events", type=int, default=4_000, help="records in a batch")
    parser.add_argument("--rounds", type=int, default=50, help="batches measured of each case")
    options = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, {options.events} a batch")
    print(f"{'µs/event':32}{'best':>8}{'median':>8}")
    for name, run in cases(options.events).items():
        rounds = []
        for _ in range(options.rounds):
            start = time.perf_counter()
            run()
            rounds.append((time.perf_counter() - start) / options.events * 1e6)
        print(f"{name:32}{min(rounds):8.3f}{statistics.median(rounds):8.3f}")


if __name__ == "__main__":
    main()
