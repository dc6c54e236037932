"""Field mappings by name: what a FIWARE broker or a payment hub sends is read in place."""

from __future__ import annotations

import json

import pytest

from stream_infer.errors import ConfigError
from stream_infer.events.decode import EventDecoder
from stream_infer.events.mapping import FieldMapping, FieldSource
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.pipelines.traffic import traffic_pipeline
from stream_infer.traffic.sensors import sensor_table

SENSOR = "urn:ngsi-ld:TrafficFlowObserved:A7-12"
OBSERVED = {
    "id": SENSOR,
    "type": "TrafficFlowObserved",
    "dateObserved": "2026-01-05T07:35:00Z",
    "dateObservedTo": "2026-01-05T07:35:00Z",
    "averageVehicleSpeed": 52.6,
    "intensity": 197,
    "occupancy": 0.76,
    "laneId": 1,
    "refRoadSegment": "A7",
}


def fiware(text: str, reading: dict[str, object]) -> EventDecoder:
    table = sensor_table(
        [{"sensor_id": name, "corridor": "A7", "free_flow_kmh": 100, "flow_unit": "veh/5m"}
         for name in (SENSOR, "A7")]
    )  # fmt: skip
    return EventDecoder(traffic_pipeline(table, model=None).events, FieldMapping.parse(text))


def test_a_fiware_observation_is_a_reading() -> None:
    decoded = fiware("fiware-traffic", OBSERVED).decode([json.dumps(OBSERVED).encode()])
    assert decoded.bad == []
    columns = decoded.columns
    assert columns.ids == [SENSOR]
    assert columns.event_time.tolist() == [1_767_598_500_000]
    assert columns.values["speed"].tolist() == [52_600]
    assert columns.values["flow"].tolist() == [197 * 12 * 10]
    assert columns.values["occupancy"].tolist() == [76_000]


def test_what_is_named_behind_a_ready_mapping_replaces_its_own() -> None:
    interval = OBSERVED | {"dateObserved": "2026-01-05T07:30:00Z/2026-01-05T07:35:00Z"}
    value = json.dumps(interval).encode()
    assert [bad.code for bad in fiware("fiware-traffic", OBSERVED).decode([value]).bad] == [
        "bad_time"
    ]
    changed = "fiware-traffic, event_time=dateObservedTo, sensor_id=refRoadSegment"
    decoded = fiware(changed, interval).decode([value])
    assert decoded.bad == []
    assert decoded.columns.ids == ["A7"]


def test_a_credit_transfer_is_a_transaction() -> None:
    transfer = {
        "PmtId": {"InstrId": "i-1", "EndToEndId": "e-1"},
        "AccptncDtTm": "2026-01-05T07:35:00.250+01:00",
        "IntrBkSttlmAmt": {"Amt": 12.34, "Ccy": "EUR"},
        "DbtrAcct": {"Id": {"IBAN": "DE1"}},
        "CdtrAcct": {"Id": {"IBAN": "FR2"}},
    }
    value = json.dumps(
        {"FIToFICstmrCdtTrf": {"GrpHdr": {"MsgId": "m"}, "CdtTrfTxInf": transfer}}
    ).encode()
    decoded = EventDecoder(fraud.events, FieldMapping.parse("pacs008")).decode([value])
    assert decoded.bad == []
    columns = decoded.columns
    assert columns.ids == ["e-1"]
    assert columns.entities == {"customer_id": ["DE1"], "terminal_id": ["FR2"]}
    assert columns.values["amount"].tolist() == [1234]
    assert columns.event_time.tolist() == [1_767_594_900_250]


def test_the_configuration_names_a_ready_mapping_by_like() -> None:
    mapping = FieldMapping.from_config({"like": "fiware-traffic", "flow": "count"})
    assert mapping.source("flow") == FieldSource(("count",))
    assert mapping.source("sensor_id") == FieldSource(("id",))


def test_an_unknown_ready_mapping_names_those_that_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        FieldMapping.from_config({"like": "fiware"})
    assert caught.value.code == "unknown_mapping"
    assert "pacs008" in caught.value.fix
