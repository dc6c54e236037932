"""Candidates and alerts as records: what is written is read, and what is not ours is named."""

from __future__ import annotations

import json

import msgspec
import pytest

from stream_infer.alerts.candidate import (
    CandidateDecoder,
    FeatureReason,
    candidate_schema,
    encode_candidates,
    tick,
)
from stream_infer.alerts.declared import compile_alerts
from stream_infer.alerts.defaults import fraud_alerts
from stream_infer.alerts.spec import Alerts
from stream_infer.alerts.stage import AlertEmitter, AlertReader
from stream_infer.alerts.wire import alert_schemas, decode_alert
from support.alerts import START, Log, folded, kind, plan_of

DECODER = CandidateDecoder(["heat"])


def changed(position: int, value: object) -> bytes:
    [text] = encode_candidates([Log().at(0, 0.6)])
    cells = json.loads(text)
    cells[position] = value
    return json.dumps(cells).encode()


def test_a_candidate_comes_back_as_it_was() -> None:
    candidate = Log().at(
        0,
        0.1 + 0.2,
        "Zoë \N{SNOWMAN}",
        decision="review",
        rule="limit",
        model="m",
        version="2",
        other="c-1",
        reasons=(FeatureReason("amount", 912.0, None, 0.25),),
        facts={"amount": 912.0, "terminal_id": "4711", "lanes": 3},
    )
    rows, found, bad = DECODER.decode(encode_candidates([candidate, tick(START)]))
    assert (rows.tolist(), found, bad) == ([0, 1], [candidate, tick(START)], [])


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "tombstone"),
        (b"", "empty"),
        (b"{}", "not_an_object"),
        (b"[1", "truncated"),
        (b"\xff", "invalid_utf8"),
        (changed(0, 2), "out_of_range"),
        (changed(1, "noise"), "unknown_kind"),
        (changed(3, 2**15), "out_of_range"),
        (changed(5, 2**31), "out_of_range"),
        (changed(6, 10**15), "out_of_range"),
        (changed(7, None), "wrong_type"),
        (changed(9, None), "wrong_type"),
        (changed(17, [["a", 1.0]]), "out_of_range"),
        (changed(18, {"a": [1]}), "wrong_type"),
        (b"[" * 100, "too_deep"),
    ],
)
def test_a_record_that_is_no_candidate_is_named_among_good_ones(
    value: bytes | None, code: str
) -> None:
    good = encode_candidates([Log().at(0, 0.6), tick(START)])
    rows, found, bad = DECODER.decode([*good, value, *good])
    assert [(record.row, record.code) for record in bad] == [(2, code)]
    assert rows.tolist() == [0, 1, 3, 4]
    assert len(found) == 4


def test_a_level_is_a_finite_number() -> None:
    for text in (b"1e999", b"NaN", b"Infinity"):
        value = changed(9, 0.5).replace(b"0.5", text, 1)
        assert [record.row for record in DECODER.decode([value])[2]] == [0]


def test_a_candidate_of_a_later_form_with_more_cells_is_read() -> None:
    [value] = encode_candidates([Log().at(0, 0.6)])
    assert DECODER.decode([value[:-1] + b',"later"]'])[2] == []


def test_the_reader_says_how_far_the_log_has_come() -> None:
    log = Log()
    read = AlertReader(plan_of(kind())).read(
        [*encode_candidates([log.at(0, 0.6), log.at(2, 0.6)]), b"?"]
    )
    assert read.rows.tolist() == [0, 1]
    assert read.progress.tolist() == [START, START + 120_000]
    assert [record.code for record in read.bad] == ["not_json"]


def test_every_change_is_written_to_both_topics_under_the_alert_s_id() -> None:
    plan = plan_of(kind(text="Hot at {entity}"))
    log = Log()
    changes = folded(plan, [log.at(0, 0.6), log.at(0, 0.9)])
    records = AlertEmitter(plan).records(changes)
    assert [(record.topic, record.row) for record in records] == [
        ("alerts-plant", 0), ("alerts-plant-current", 0),
        ("alerts-plant", 1), ("alerts-plant-current", 1),
    ]  # fmt: skip
    assert len({record.key for record in records}) == 1
    assert records[2].value == records[3].value
    alert = decode_alert(records[2].value)
    assert records[2].key == alert.alert_id.encode()
    assert alert.text == "Hot at s-1. 2 events so far."
    assert msgspec.structs.replace(alert, text="") == changes[1].alert


def test_the_same_log_gives_the_same_ids_and_another_pipeline_others() -> None:
    candidates = [Log().at(0, 0.6)]
    [first], [again] = (folded(plan_of(kind()), candidates) for _ in range(2))
    assert first.alert.alert_id == again.alert.alert_id
    other = compile_alerts(Alerts(topic="alerts-other", kinds=(kind(),)), "other")
    assert folded(other, candidates)[0].alert.alert_id != first.alert.alert_id


def test_the_schemas_of_both_topics_are_generated_from_the_type() -> None:
    schemas = alert_schemas(fraud_alerts)
    assert list(schemas) == ["alerts-fraud", "alerts-fraud-current"]
    for schema in schemas.values():
        assert "alert_id" in schema["$defs"]["Alert"]["properties"]


def test_the_schema_of_a_candidate_names_its_positions() -> None:
    cells = candidate_schema()["$defs"]["Candidate"]["prefixItems"]
    assert [cell["title"] for cell in cells[:3]] == ["schema_version", "kind", "upstream_topic"]
    assert len(cells) == 19
