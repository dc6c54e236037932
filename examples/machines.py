"""A pipeline of one stage over events of one's own: readings of machines.

    stream-infer topics create examples/machines.py
    stream-infer worker examples/machines.py

It has no model: every reading is published with its features.
"""

from typing import Annotated

import msgspec

from stream_infer import Count, Events, Last, Max, Mean, Pipeline, Since, Std, Value


class Reading(msgspec.Struct):
    """One reading of one machine. Key: machine_id."""

    reading_id: str
    taken_at: int | str
    machine_id: str
    temperature: Annotated[float, msgspec.Meta(ge=-273.15)]


HOURS = ("1h", "24h")

pipeline = Pipeline(
    name="machines",
    events=Events(
        topic="machine-readings",
        type=Reading,
        id="reading_id",
        time="taken_at",
        key="machine_id",
        entities=("machine_id",),
        decimals={"temperature": 2},
    ),
    features=(
        Value(of="temperature", name="temperature"),
        Count(by="machine_id", over=HOURS, name="readings_{window}"),
        Mean(of="temperature", by="machine_id", over=HOURS, name="mean_{window}"),
        Std(of="temperature", by="machine_id", over=HOURS, name="std_{window}"),
        Max(of="temperature", by="machine_id", over=("24h",), name="max_{window}"),
        Last(of="temperature", by="machine_id", name="last_temperature"),
        Since(by="machine_id", name="seconds_since_last"),
    ),
    scored="machine-features",
    lateness="1h",
)
