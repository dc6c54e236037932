"""What is generated in the two forms that others read: Kafka records and columns.

The truth of a simulation goes to topics of its own, for whoever compares what a pipeline
says with what was so. It is written when it happens; labels come later, as in life.

    fraud-truth    key: transaction_id; one record a fraud, see `FraudTruth`
    traffic-truth  key: corridor or sensor_id; one record at the beginning of each incident
                   and fault, see `IncidentTruth` and `FaultTruth`, told apart by `kind`
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from stream_infer.events.columns import EVENT, LABEL, NO_POSITION, EventColumns
from stream_infer.simulators.road_plan import FAULT_NAMES, Fault, Incident
from stream_infer.simulators.roads import corridor_id
from stream_infer.simulators.traffic import Readings
from stream_infer.simulators.transactions import FRAUD_NAMES, Transactions

FRAUD_TRUTH = "fraud-truth"
TRAFFIC_TRUTH = "traffic-truth"


class FraudTruth(msgspec.Struct, frozen=True):
    """A transaction that is a fraud.

    event_time  ms since the epoch
    kind        amount, terminal, card, account or testing
    """

    transaction_id: str
    customer_id: str
    terminal_id: str
    event_time: int
    kind: str


class IncidentTruth(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a corridor is closed from `start_time` to `end_time`, ms since the epoch.

    severity  share of the capacity that is lost
    """

    kind: Literal["incident"] = "incident"
    incident_id: str
    corridor: str
    position_km: float
    start_time: int
    end_time: int
    severity: float


class FaultTruth(msgspec.Struct, frozen=True, kw_only=True):
    """A sensor is faulty from `start_time` to `end_time`, ms since the epoch.

    kind            silent, stuck, spikes or drift
    drift_per_hour  ms that its clock gains an hour
    """

    kind: str
    sensor_id: str
    start_time: int
    end_time: int
    drift_per_hour: float


@dataclass(frozen=True, slots=True)
class Records:
    """Keys, values and times of ``n`` records, ready to be sent.

    timestamps  ms since the epoch; what the record is about happened (or became known) then
    """

    keys: list[bytes]
    values: list[bytes]
    timestamps: list[int]

    def __len__(self) -> int:
        return len(self.values)


def transaction_records(transactions: Transactions) -> Records:
    """Return the records of the topic of transactions, keyed by customer."""
    times = transactions.event_time.tolist()
    customers = transactions.customer_ids
    rows = zip(
        transactions.ids,
        times,
        customers,
        transactions.terminal_ids,
        transactions.amount_cents.tolist(),
        strict=True,
    )
    # Text by hand: cents print exactly, and ids of ours need no escapes.
    values = [
        f'{{"transaction_id":"{name}","event_time":{time},"customer_id":"{customer}",'
        f'"terminal_id":"{terminal}","amount":{cents // 100}.{cents % 100:02d}}}'.encode()
        for name, time, customer, terminal, cents in rows
    ]
    return Records([customer.encode() for customer in customers], values, times)


def label_records(labels: Transactions) -> Records:
    """Return the records of the topic of labels, keyed by transaction."""
    ids = labels.ids
    known = labels.label_time.tolist()
    rows = zip(
        ids,
        labels.customer_ids,
        labels.terminal_ids,
        labels.event_time.tolist(),
        labels.is_fraud.tolist(),
        known,
        strict=True,
    )
    values = [
        f'{{"transaction_id":"{name}","customer_id":"{customer}","terminal_id":"{terminal}",'
        f'"event_time":{time},"is_fraud":{"true" if fraud else "false"},'
        f'"label_time":{label_time}}}'.encode()
        for name, customer, terminal, time, fraud, label_time in rows
    ]
    return Records([name.encode() for name in ids], values, known)


def fraud_truth_records(transactions: Transactions) -> Records:
    """Return the truth about those of the transactions that are frauds."""
    frauds = transactions.take(transactions.is_fraud)
    truth = map(
        FraudTruth,
        frauds.ids,
        frauds.customer_ids,
        frauds.terminal_ids,
        frauds.event_time.tolist(),
        [FRAUD_NAMES[kind] for kind in frauds.fraud.tolist()],
    )
    keys = [name.encode() for name in frauds.ids]
    return Records(keys, list(map(msgspec.json.encode, truth)), frauds.event_time.tolist())


def reading_records(readings: Readings, sensor_ids: Sequence[str]) -> Records:
    """Return the records of the topic of readings, keyed by sensor, at the time of making.

    sensor_ids  of every row of the sensor table
    """
    rows = zip(
        readings.sensor.tolist(),
        readings.event_time.tolist(),
        readings.speed.tolist(),
        readings.flow.tolist(),
        readings.occupancy.tolist(),
        strict=True,
    )
    values = [
        f'{{"sensor_id":"{sensor_ids[sensor]}","event_time":{time}{_speed_part(speed)}'
        f',"flow":{flow:.0f},"occupancy":{occupancy:.4f}}}'.encode()
        for sensor, time, speed, flow, occupancy in rows
    ]
    keys = [name.encode() for name in sensor_ids]
    return Records(
        [keys[sensor] for sensor in readings.sensor.tolist()], values, readings.time.tolist()
    )


def _speed_part(speed: float) -> str:
    return "" if math.isnan(speed) else f',"speed":{speed:.1f}'


def traffic_truth_records(
    incidents: Iterable[Incident], faults: Iterable[Fault], sensor_ids: Sequence[str]
) -> Records:
    """Return the truth about incidents and faults, in the order of their beginnings."""
    truth = [_incident_truth(each) for each in incidents]
    told: list[tuple[str, IncidentTruth | FaultTruth]] = [(each.corridor, each) for each in truth]
    for fault in faults:
        name = sensor_ids[fault.sensor]
        told.append((name, _fault_truth(fault, name)))
    told.sort(key=lambda pair: pair[1].start_time)
    return Records(
        [key.encode() for key, _ in told],
        [msgspec.json.encode(value) for _, value in told],
        [value.start_time for _, value in told],
    )


def _incident_truth(incident: Incident) -> IncidentTruth:
    return IncidentTruth(
        incident_id=incident.incident_id,
        corridor=corridor_id(incident.corridor),
        position_km=incident.position_km,
        start_time=incident.start_ms,
        end_time=incident.end_ms,
        severity=incident.severity,
    )


def _fault_truth(fault: Fault, sensor_id: str) -> FaultTruth:
    return FaultTruth(
        kind=FAULT_NAMES[fault.kind],
        sensor_id=sensor_id,
        start_time=fault.start_ms,
        end_time=fault.end_ms,
        drift_per_hour=fault.drift_per_hour,
    )


def transaction_columns(transactions: Transactions) -> EventColumns:
    """Return the transactions as EVENT rows of one partition, offsets counting from 0."""
    columns = _columns(transactions, EVENT)
    columns.values["amount"] = transactions.amount_cents
    return columns


def label_columns(labels: Transactions) -> EventColumns:
    """Return the labels as LABEL rows of one partition, offsets counting from 0."""
    columns = _columns(labels, LABEL)
    columns.values["amount"] = np.zeros(len(labels), np.int64)
    columns.label = labels.is_fraud.astype(np.int8)
    columns.label_time = labels.label_time
    return columns


def _columns(rows: Transactions, kind: int) -> EventColumns:
    n = len(rows)
    return EventColumns(
        kind=np.full(n, kind, np.int8),
        event_time=rows.event_time,
        ids=rows.ids,
        entities={"customer_id": rows.customer_ids, "terminal_id": rows.terminal_ids},
        values={},
        features=np.zeros((n, 0)),
        source_topic="transactions" if kind == EVENT else "fraud-labels",
        source_partition=np.zeros(n, np.int64),
        source_offset=np.arange(n, dtype=np.int64),
        late=np.zeros(n, np.bool_),
        duplicate_of=np.full(n, NO_POSITION, np.int64),
        label=np.full(n, -1, np.int8),
        label_time=np.zeros(n, np.int64),
    )
