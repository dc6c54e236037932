"""Baseline: plain Faust, one event at a time, as its documentation shows an agent.

Takes the arguments of ``aiokafka_loop.py``. The state is a dict, the features are the
same decaying sums, the model is asked once an event, and the output is sent with the
customer as its key.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from typing import Any

import faust
import msgspec
import numpy as np
import onnxruntime

DAY_MS = 86_400_000
DAYS = (1, 7, 30)


class Transaction(msgspec.Struct, gc=False):
    """The input record."""

    transaction_id: str
    event_time: int
    customer_id: str
    amount: float


def fold(event: Transaction, state: dict[str, list[float]]) -> list[float]:
    """Fold an event into its customer's decaying sums and return 15 features."""
    row = state.get(event.customer_id)
    known = row is not None
    if row is None:
        row = state[event.customer_id] = [0.0] * 11
    gap = max(0.0, event.event_time - row[0]) if known else 0.0
    hour = event.event_time % DAY_MS // 3_600_000
    weekend = float((event.event_time // DAY_MS + 3) % 7 >= 5)
    counts, means, stds = [], [], []
    for window, days in enumerate(DAYS):
        keep = math.exp(-gap / (days * DAY_MS))
        at = 2 + 3 * window
        row[at] = row[at] * keep + 1
        row[at + 1] = row[at + 1] * keep + event.amount
        row[at + 2] = row[at + 2] * keep + event.amount * event.amount
        mean = row[at + 1] / row[at]
        counts.append(row[at])
        means.append(mean)
        stds.append(math.sqrt(max(0.0, row[at + 2] / row[at] - mean * mean)))
    before = [gap / 1000, row[1]] if known else [math.nan, math.nan]
    row[0], row[1] = event.event_time, event.amount
    return [event.amount, hour, weekend, float(hour <= 6), *counts, *means, *stds, *before]


def make_app(options: argparse.Namespace, folder: str) -> faust.App:
    """Return the app with its one agent."""
    app = faust.App(
        options.group,
        broker=f"kafka://{options.bootstrap}",
        store="memory://",
        datadir=folder,
        web_enabled=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
    )
    source = app.topic(options.input, value_type=bytes, value_serializer="raw")
    target = app.topic(options.output, value_type=bytes, value_serializer="raw")
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        options.model, session_options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    decoder = msgspec.json.Decoder(Transaction)
    state: dict[str, list[float]] = {}

    @app.agent(source)
    async def score(stream: Any) -> None:
        async for value in stream:
            event = decoder.decode(value)
            matrix = np.array([fold(event, state)], np.float32)
            probability = float(session.run(None, {name: matrix})[-1][0, -1])
            scored = {
                "transaction_id": event.transaction_id,
                "customer_id": event.customer_id,
                "event_time": event.event_time,
                "score": probability,
                "decision": "approve" if probability < 0.5 else "decline",
                "model": "bench",
            }
            await target.send(key=event.customer_id, value=msgspec.json.encode(scored))

    return app


def main() -> None:
    """Run the app's worker until SIGTERM."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("bootstrap", "input", "output", "group", "model"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        app = make_app(options, folder)
        sys.argv = [sys.argv[0], "worker", "--loglevel", "error", "--without-web"]
        app.main()


if __name__ == "__main__":
    main()
