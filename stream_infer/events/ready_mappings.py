"""Field mappings that are ready, by name, for forms that many producers share.

    --fields fiware-traffic                         or in the configuration  [fields]
    --fields fiware-traffic,sensor_id=refRoadSegment                         like = "fiware-traffic"

What is named behind the word replaces the word's own.

fiware-traffic  TrafficFlowObserved of the FIWARE Smart Data Models, key-values form: speed in
                km/h, occupancy 0 to 1, `dateObserved` as an instant. Where that is an interval,
                add event_time=dateObservedTo. `intensity` counts the vehicles of the observation
                period: declare it in the sensor table, such as flow_unit = veh/5m
pacs008         ISO 20022 pacs.008, one credit transfer a message, with the names of its XML form
                as keys and an amount as {"Amt": 12.34, "Ccy": "EUR"}. Debtor's account is the
                customer, creditor's the terminal. The standard leaves the JSON form open: a
                hub that writes amounts in another way needs its own place for `amount`
"""

from __future__ import annotations

_TRANSFER = "FIToFICstmrCdtTrf.CdtTrfTxInf"

READY_MAPPINGS: dict[str, dict[str, str]] = {
    "fiware-traffic": {
        "sensor_id": "id",
        "event_time": "dateObserved",
        "speed": "averageVehicleSpeed",
        "flow": "intensity",
        "occupancy": "occupancy",
    },
    "pacs008": {
        "transaction_id": f"{_TRANSFER}.PmtId.EndToEndId",
        "event_time": f"{_TRANSFER}.AccptncDtTm",
        "customer_id": f"{_TRANSFER}.DbtrAcct.Id.IBAN",
        "terminal_id": f"{_TRANSFER}.CdtrAcct.Id.IBAN",
        "amount": f"{_TRANSFER}.IntrBkSttlmAmt.Amt",
        "currency": f"{_TRANSFER}.IntrBkSttlmAmt.Ccy",
    },
}
