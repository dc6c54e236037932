"""The types on the wire. A field's constraint is what makes bad input a dead letter.

JSON Schemas of the topics are generated from these types, so a change here is a
change of the contract: add optional fields only.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
EventTime = Annotated[
    int | str,
    msgspec.Meta(description="RFC 3339 text with an offset, or whole milliseconds since the epoch"),
]


class Transaction(msgspec.Struct, gc=False):
    """One card transaction. Key: customer_id."""

    transaction_id: Id
    event_time: EventTime
    customer_id: Id
    terminal_id: Id
    amount: Annotated[float, msgspec.Meta(ge=0, description="in the account's currency")]
    currency: str | None = None
    channel: str | None = None
    merchant_category: str | None = None


Amount = Annotated[float, msgspec.Meta(ge=0)]


class SensorReading(msgspec.Struct, gc=False):
    """What one road sensor measured. Key: sensor_id. At least one of the three is there.

    Units are those that the sensor table declares for the sensor.
    """

    sensor_id: Id
    event_time: EventTime
    speed: Annotated[Amount | None, msgspec.Meta(description="mean speed of the vehicles")] = None
    flow: Annotated[Amount | None, msgspec.Meta(description="vehicles over all lanes")] = None
    occupancy: Annotated[
        Amount | None, msgspec.Meta(description="share of the time that the detector is covered")
    ] = None


class FraudLabel(msgspec.Struct, gc=False):
    """The truth about one transaction. Key: transaction_id. The highest label_time wins."""

    transaction_id: Id
    customer_id: Id
    terminal_id: Id
    event_time: EventTime
    is_fraud: bool
    label_time: EventTime
