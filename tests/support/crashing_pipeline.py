"""A pipeline whose events end the process when they cost 666, by a real SIGSEGV.

It is named by its file, as a user's own; the environment gives it a name that no other test uses.
"""

from __future__ import annotations

import ctypes
import os
from typing import Annotated

import msgspec

from stream_infer import Count, Events, Pipeline, Value

NAME = os.environ.get("TEST_PIPELINE", "crashing")


class Payment(msgspec.Struct):
    """A payment."""

    payment_id: str
    event_time: int
    customer_id: str
    amount: Annotated[float, msgspec.Meta(ge=0)]

    def __post_init__(self) -> None:
        if self.amount == 666.0:
            ctypes.string_at(0)


pipeline = Pipeline(
    name=NAME,
    events=Events(
        topic=f"{NAME}-payments",
        type=Payment,
        id="payment_id",
        time="event_time",
        key="customer_id",
        entities=("customer_id",),
        decimals={"amount": 2},
        partitioning="trusted",
    ),
    features=(
        Value(of="amount", name="amount"),
        Count(by="customer_id", over=("7d",), name="count_{window}"),
    ),
    scored=f"{NAME}-scored",
)
