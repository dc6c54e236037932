"""Which days a model is fitted, validated and measured on."""

from __future__ import annotations

import pytest

from stream_infer.errors import UsageError
from stream_infer.training.days import DAY_MS, Protocol, parse_days, validation_folds

TRAIN, TEST = "2018-07-25..2018-07-31", "2018-08-08..2018-08-14"


def protocol(train: str = TRAIN, test: str = TEST, delay_days: float = 7) -> Protocol:
    return Protocol(
        parse_days(train, "--train"), parse_days(test, "--test"), int(delay_days * DAY_MS)
    )


def test_both_ends_belong_to_a_range_of_days() -> None:
    days = parse_days(TRAIN, "--train")
    assert (len(days), str(days)) == (7, TRAIN)
    assert len(parse_days("2018-07-25", "--train")) == 1


@pytest.mark.parametrize(
    "text",
    ["", "..", "2018-07-25..", "25.07.2018..31.07.2018", "2018-02-30", "2018-07-31..2018-07-25"],
)
def test_what_is_no_range_of_days_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_days(text, "--test")
    assert raised.value.code == "bad_days"
    assert "--test" in raised.value.message


def test_test_days_begin_when_the_labels_of_the_training_days_are_known() -> None:
    protocol().check()
    with pytest.raises(UsageError, match="2018-07-31") as raised:
        protocol(test="2018-08-07..2018-08-14").check()
    assert raised.value.details["earliest"] == "2018-08-08"
    protocol(test="2018-08-01..2018-08-02", delay_days=0).check()


def test_no_fold_reaches_behind_the_last_training_day() -> None:
    whole = protocol()
    folds = validation_folds(whole, whole.train.first - 100)
    assert [str(fold.test) for fold in folds] == [
        "2018-07-25..2018-07-31",
        "2018-07-18..2018-07-24",
        "2018-07-11..2018-07-17",
    ]
    assert str(folds[0].train) == "2018-07-11..2018-07-17"
    for fold in folds:
        fold.check()
        assert fold.test.last <= whole.train.last


@pytest.mark.parametrize(("days_before", "expected"), [(40, 3), (22, 1), (0, 3)])
def test_folds_need_history_before_the_days_that_they_fit_on(
    days_before: int, expected: int
) -> None:
    whole = protocol()
    folds = validation_folds(whole, whole.train.first - days_before)
    assert len(folds) == expected
    assert all(fold.train.last < fold.test.first for fold in folds)
    assert all(fold.test.last <= whole.train.last for fold in folds)


def test_without_history_folds_are_cut_from_the_training_days_with_a_gap_where_there_is_room() -> (
    None
):
    whole = protocol("2018-05-01..2018-06-30")
    folds = validation_folds(whole, whole.train.first)
    assert [fold.delay_ms for fold in folds] == [whole.delay_ms, whole.delay_ms, 0]
    for fold in folds:
        fold.check()
        assert fold.train.first == whole.train.first
