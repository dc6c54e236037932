from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stream_infer.durations import parse_duration
from stream_infer.errors import ConfigError, InvalidDataError, NotFoundError, UsageError
from stream_infer.events.mapping import FieldMapping
from stream_infer.files.contract import Records, event_form, label_form, read_records
from stream_infer.files.labels import delayed_labels
from stream_infer.files.tables import read_table, write_table
from stream_infer.pipelines.fraud import pipeline

NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)
NOON_MS = 1_704_196_800_000


def frame(**columns: list[Any]) -> pl.DataFrame:
    rows = {
        "transaction_id": ["t1"],
        "event_time": [NOON_MS],
        "customer_id": ["c1"],
        "terminal_id": ["m1"],
        "amount": [1.5],
    } | columns
    return pl.DataFrame(rows)


def decoded(records: Records) -> list[dict[str, Any]]:
    return [json.loads(value) for value in records.values(0, len(records))]


def one(mapping: str = "", **columns: list[Any]) -> dict[str, Any]:
    found = read_records(frame(**columns), event_form(pipeline), FieldMapping.parse(mapping))
    return decoded(found)[0]


def test_columns_with_the_contract_s_names_need_no_mapping() -> None:
    assert one() == {
        "transaction_id": "t1",
        "event_time": NOON_MS,
        "customer_id": "c1",
        "terminal_id": "m1",
        "amount": 1.5,
    }


def test_ids_become_text_and_whole_floats_lose_their_point() -> None:
    assert one(customer_id=[596], terminal_id=[3156.0])["customer_id"] == "596"
    assert one(customer_id=[596], terminal_id=[3156.0])["terminal_id"] == "3156"


@pytest.mark.parametrize(
    ("cell", "unit"),
    [
        (NOON, ""),
        (NOON.replace(tzinfo=None), ""),
        (NOON_MS, ""),
        (NOON_MS // 1_000, ":s"),
        (NOON_MS * 1_000, ":us"),
        (str(NOON_MS), ""),
        ("2024-01-02T12:00:00Z", ""),
        ("2024-01-02T13:00:00+01:00", ""),
        ("2024-01-02 12:00:00", ""),
        ("2024-01-02T12:00:00.0009", ""),
    ],
)
def test_every_form_of_a_time_becomes_epoch_ms(cell: object, unit: str) -> None:
    assert one(f"event_time=at{unit}", at=[cell])["event_time"] == NOON_MS


def test_a_date_is_its_midnight_in_utc() -> None:
    midnight = NOON_MS - parse_duration("12h")
    assert one("event_time=at", at=[date(2024, 1, 2)])["event_time"] == midnight


def test_a_cell_that_is_no_time_is_sent_as_it_stands() -> None:
    assert one("event_time=at", at=["soon"])["event_time"] == "soon"


def test_empty_cells_are_absent_fields() -> None:
    assert "currency" not in one(currency=pl.Series([None], dtype=pl.String).to_list())
    assert "customer_id" not in one(customer_id=[None])


def test_nested_columns_are_found_by_their_path() -> None:
    nested = {"created": {"at": NOON_MS}, "amount": 3.25}
    found = one("event_time=payment.created.at,amount=payment.amount", payment=[nested])
    assert (found["event_time"], found["amount"]) == (NOON_MS, 3.25)


def test_a_csv_is_read_as_text_so_ids_keep_their_zeros(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "transaction_id,event_time,customer_id,terminal_id,amount\n"
        "007,2024-01-02T12:00:00Z,0042,1e3,12.50\n"
    )
    (found,) = decoded(read_records(read_table(path), event_form(pipeline)))
    assert found == {
        "transaction_id": "007",
        "event_time": NOON_MS,
        "customer_id": "0042",
        "terminal_id": "1e3",
        "amount": 12.5,
    }


def test_a_csv_cell_that_is_no_number_is_sent_as_it_stands() -> None:
    assert one(amount=["twelve"])["amount"] == "twelve"


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_all_forms_of_file_give_the_same_records(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    table = pl.concat([frame(transaction_id=["a"]), frame(transaction_id=["b"], amount=[2.25])])
    write_table(table, path)
    found = decoded(read_records(read_table(path), event_form(pipeline)))
    assert found == decoded(read_records(table, event_form(pipeline)))


def test_a_missing_column_is_named_with_the_option_that_mends_it() -> None:
    table = frame().rename({"amount": "TX_AMOUNT"})
    with pytest.raises(UsageError) as raised:
        read_records(table, event_form(pipeline))
    assert "--fields amount=TX_AMOUNT" in raised.value.fix


def test_a_mapped_field_that_does_not_exist_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError) as raised:
        one("evnt_time=at")
    assert "event_time" in raised.value.fix


def test_an_unknown_suffix_a_missing_file_and_a_broken_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        read_table(tmp_path / "t.xlsx")
    with pytest.raises(NotFoundError):
        read_table(tmp_path / "none.csv")
    broken = tmp_path / "t.parquet"
    broken.write_bytes(b"not parquet")
    with pytest.raises(InvalidDataError):
        read_table(broken)


def test_labels_made_of_events_come_in_order_of_the_time_they_became_known() -> None:
    table = pl.concat(
        [
            frame(transaction_id=["late"], event_time=[NOON_MS + 5]),
            frame(transaction_id=["early"], event_time=[NOON_MS]),
        ]
    ).with_columns(fraud=pl.Series([0, 1]))
    labels = delayed_labels(
        table, pipeline, FieldMapping.parse("is_fraud=fraud"), parse_duration("6d")
    )
    assert [label["transaction_id"] for label in decoded(labels)] == ["early", "late"]
    assert decoded(labels)[0] == {
        "transaction_id": "early",
        "customer_id": "c1",
        "terminal_id": "m1",
        "event_time": NOON_MS,
        "is_fraud": True,
        "label_time": NOON_MS + parse_duration("6d"),
    }
    assert labels.keys(0, 2) == ["early", "late"]


def test_a_file_of_labels_has_its_own_label_time() -> None:
    table = frame(is_fraud=["false"], label_time=["2024-01-08T12:00:00Z"])
    (label,) = decoded(read_records(table, label_form(pipeline)))
    assert (label["is_fraud"], label["label_time"]) == (False, NOON_MS + parse_duration("6d"))
