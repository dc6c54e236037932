"""What stands in a sensitive value's place, and where it is found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream_infer.errors import ConfigError
from stream_infer.events.sensitive import check_sensitive, mask, mask_fields
from stream_infer.pipelines.fraud import pipeline as fraud


@pytest.mark.parametrize(
    ("value", "shown"),
    [("c-17", "***"), ("", "***"), (4711, "***"), ("12345678901", "***"),
     ("123456789012", "***9012"), (4111111111111111, "***1111")],
)  # fmt: skip
def test_only_long_values_keep_their_end(value: object, shown: str) -> None:
    assert mask(value) == shown


def test_fields_are_masked_at_any_depth_and_nothing_else_is() -> None:
    record = {
        "customer_id": "c-17",
        "amount": 912.0,
        "extra": {"customer_id": "c-17", "list": [{"customer_id": 5}, "c-17"]},
        "absent": None,
    }
    assert mask_fields(record, ["customer_id", "absent"]) == {
        "customer_id": "***",
        "amount": 912.0,
        "extra": {"customer_id": "***", "list": [{"customer_id": "***"}, "c-17"]},
        "absent": None,
    }
    assert record["customer_id"] == "c-17"


def test_an_alert_s_entity_and_members_are_masked_by_the_field_that_they_are_of() -> None:
    alert = {
        "entity_type": "terminal_id",
        "entity": "4711",
        "member_type": "customer_id",
        "member_ids": ["c-1", "c-2"],
    }
    assert mask_fields(alert, ["customer_id"]) == {**alert, "member_ids": ["***", "***"]}
    assert mask_fields(alert, ["terminal_id"]) == {**alert, "entity": "***"}


def test_a_misspelt_sensitive_field_is_an_error() -> None:
    check_sensitive(replace(fraud.events, sensitive=("customer_id", "amount", "channel")))
    with pytest.raises(ConfigError, match="'custmer_id' is declared sensitive") as caught:
        check_sensitive(replace(fraud.events, sensitive=("custmer_id",)))
    assert "customer_id" in caught.value.fix
