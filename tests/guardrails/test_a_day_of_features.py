"""Features are compared with the manifest over a day, each hour by its rows."""

from __future__ import annotations

import numpy as np
import pytest

from stream_infer.errors import InvalidDataError
from stream_infer.events.evidence import Counted, Evidence
from stream_infer.events.hour_word import (
    HOURS_KEPT,
    decode_hour_word,
    encode_hour_word,
    hour_key,
)
from stream_infer.guardrails.hours import DAY_HOURS_MIN, HOUR_MS, Day, EvidenceHours
from stream_infer.guardrails.judging import feature_drift
from stream_infer.scoring.reference import Histogram, Reference
from support.guarding import evidence
from support.registries import NOON_MS

KNOWN = Histogram(edges=(1.0, 2.0), counts=(500, 300, 200))
REFERENCE = Reference(features={"amount": KNOWN, "gone": KNOWN})


def seen(hour: int, counts: tuple[int, ...], *, rows: int = 1_000, missing: int = 0) -> Evidence:
    return evidence(
        "1",
        NOON_MS + hour * HOUR_MS,
        rows=rows,
        features={"amount": Counted(counts=counts, missing=missing)},
    )


def a_day(*records: Evidence) -> Day:
    hours = EvidenceHours()
    for each in records:
        hours.add(each)
    return hours.day("1", NOON_MS + 23 * HOUR_MS)


def test_features_that_moved_are_told_and_those_that_did_not_are_not() -> None:
    moved = a_day(*(seen(hour, (25, 50, 175)) for hour in range(24)))
    still = a_day(*(seen(hour, (125, 75, 50)) for hour in range(24)))
    assert feature_drift(moved, REFERENCE)["amount"].drifted()
    assert not feature_drift(still, REFERENCE)["amount"].drifted()
    assert set(feature_drift(still, REFERENCE)) == {"amount"}
    assert feature_drift(still, None) == {}


def test_a_feature_that_is_missing_all_at_once_has_drifted() -> None:
    day = a_day(*(seen(hour, (5, 3, 2), missing=240) for hour in range(24)))
    assert feature_drift(day, REFERENCE)["amount"].drifted()


def test_less_than_a_day_says_nothing() -> None:
    part = a_day(*(seen(hour, (25, 50, 175)) for hour in range(24 - DAY_HOURS_MIN + 1, 24)))
    assert part.hours == DAY_HOURS_MIN - 1
    assert feature_drift(part, REFERENCE) == {}


def test_a_feature_that_follows_the_time_of_day_has_not_drifted() -> None:
    """At night, with few rows of which as many are sampled, it always lies elsewhere."""
    night = [seen(hour, (0, 0, 250), rows=100) for hour in range(8)]
    noon = [seen(hour, (140, 84, 26), rows=2_000) for hour in range(8, 24)]
    found = feature_drift(a_day(*night, *noon), REFERENCE)["amount"]
    # Plainly added, a third of all samples would be the night's, which has a fortieth of the rows.
    assert found.index < 0.1
    assert not found.drifted()


def test_an_uneven_sample_is_worth_fewer_rows_than_it_has() -> None:
    even = a_day(*(seen(hour, (125, 75, 50)) for hour in range(24)))
    uneven = a_day(
        seen(0, (125, 75, 50), rows=100_000),
        *(seen(hour, (125, 75, 50), rows=10) for hour in range(1, 24)),
    )
    assert even.features["amount"].sum() == pytest.approx(24 * 250)
    assert uneven.features["amount"].sum() == pytest.approx(250, rel=0.01)


def test_a_small_sample_of_the_same_distribution_is_hardly_ever_called_drift() -> None:
    random = np.random.default_rng(5)
    alarms = 0
    for _ in range(500):
        counts = random.multinomial(3, [0.5, 0.3, 0.2], 24)
        day = a_day(*(seen(h, tuple(each)) for h, each in enumerate(counts.tolist())))
        alarms += feature_drift(day, REFERENCE)["amount"].drifted()
    assert alarms <= 1


def test_hours_go_on_in_other_hands() -> None:
    first, second = EvidenceHours(), EvidenceHours()
    for hour in range(24):
        first.add(seen(hour, (125, 75, 50)))
    words = [decode_hour_word(encode_hour_word(word)) for word in first.changed("tiny")]
    assert len(words) == 24
    assert first.changed("tiny") == []
    second.restore(words)
    now_ms = NOON_MS + 23 * HOUR_MS
    assert second.day("1", now_ms).features["amount"].tolist() == (
        first.day("1", now_ms).features["amount"].tolist()
    )
    week_later = now_ms + 168 * HOUR_MS
    assert second.usual_scores("1", week_later).tolist() == list(evidence().scores)
    assert second.changed("tiny") == []


def test_what_is_written_down_of_hours_is_bounded() -> None:
    assert len({hour_key("tiny", hour) for hour in range(3_000)}) == HOURS_KEPT
    with pytest.raises(InvalidDataError) as caught:
        decode_hour_word(b'{"model": "tiny", "hour": -1}')
    assert caught.value.code == "hour_word_invalid"
