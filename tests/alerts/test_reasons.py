"""Reasons: what the score would be if one thing were as usual for this entity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_infer.alerts.reasons import ROWS_MAX, ReasonMaker
from stream_infer.alerts.spec import Alerts, Reason, UsualConstant, UsualMean, UsualOf
from support.alerts import kind

FEATURES = ("amount", "mean_30d", "count_30d", "count_1d", "risk_1d", "risk_7d")
USUAL = {
    "amount": UsualMean(mean="mean_30d", count="count_30d", value="amount", otherwise=50.0),
    "count_1d": UsualOf(of="count_30d", times=1 / 30),
    "risk_1d": UsualConstant(),
    "risk_7d": UsualConstant(),
}
REASONS = (
    Reason(feature="amount"),
    Reason(feature="count_1d"),
    Reason(feature="risk_7d", along=("risk_1d",)),
)
ROW = [912.0, 161.9, 10.0, 3.0, 0.6, 0.5]


def maker(**changed: object) -> ReasonMaker:
    given_words = {"usual": USUAL, "reasons": REASONS, **changed}
    return ReasonMaker(Alerts(topic="a", kinds=(kind(),), **given_words), FEATURES)  # type: ignore[arg-type]


def score(matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return a score of which amount, counts and the larger of two risks have known shares."""
    amount = np.minimum(matrix[:, 0] / 1000, 1) * 0.5
    return np.asarray(
        amount + matrix[:, 3] / 100 + 0.3 * np.maximum(matrix[:, 4], matrix[:, 5]), np.float32
    )


def scored(*rows: list[float]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    matrix = np.array(rows, np.float64)
    return matrix, score(matrix)


def test_the_usual_value_of_an_amount_leaves_the_payment_itself_out() -> None:
    # Nine payments before this one, of 70.7 on average: (10 * 161.9 - 912) / 9 is 78.56.
    usual = maker().usual(np.array([ROW]))
    assert usual[0, 0] == pytest.approx((10 * 161.9 - 912.0) / 9)
    assert usual[0, 3] == pytest.approx(10 / 30)
    assert np.isnan(usual[0, 1])


def test_a_first_payment_is_measured_against_what_is_declared() -> None:
    usual = maker().usual(np.array([[912.0, 912.0, 1.0, 1.0, 0.0, 0.0]]))
    assert usual[0, 0] == 50.0


def test_the_largest_contribution_comes_first() -> None:
    [reasons] = maker().explain(*scored(ROW), score)
    assert [reason.feature for reason in reasons] == ["amount", "risk_7d", "count_1d"]
    amount, risk, count = reasons
    assert amount.contribution == pytest.approx(0.5 * (912 - 78.5556) / 1000, abs=1e-4)
    assert (risk.value, risk.usual) == (0.5, 0.0)
    assert risk.contribution == pytest.approx(0.18, abs=1e-4)
    assert count.contribution == pytest.approx((3 - 1 / 3) / 100, abs=1e-4)


def test_features_that_say_the_same_are_put_back_together() -> None:
    alone = tuple(Reason(feature=name) for name in ("risk_1d", "risk_7d"))
    [reasons] = maker(reasons=alone).explain(*scored([0.0, 0, 0, 0, 0.6, 0.6]), score)
    assert reasons == ()
    [reasons] = maker().explain(*scored([0.0, 0, 0, 0, 0.6, 0.6]), score)
    assert [reason.feature for reason in reasons] == ["risk_7d"]


def test_what_makes_a_score_lower_or_hardly_higher_is_no_reason() -> None:
    [reasons] = maker().explain(*scored([10.0, 100.0, 10.0, 0.6, 0.0, 0.0]), score)
    assert reasons == ()


def test_only_so_many_reasons_are_told() -> None:
    [reasons] = maker(reasons_max=1).explain(*scored(ROW), score)
    assert [reason.feature for reason in reasons] == ["amount"]
    assert maker(reasons_max=0).explain(*scored(ROW), score) == [()]


def test_where_nothing_is_usual_the_training_data_s_medians_are() -> None:
    alerts = Alerts(topic="a", kinds=(kind(),))
    assert ReasonMaker(alerts, FEATURES).explain(*scored(ROW), score) == [()]
    explained = ReasonMaker(alerts, FEATURES, {"amount": 60.0, "count_1d": 1.0})
    [reasons] = explained.explain(*scored(ROW), score)
    assert [(reason.feature, reason.usual) for reason in reasons] == [
        ("amount", 60.0), ("count_1d", 1.0),
    ]  # fmt: skip


def test_a_feature_that_is_no_number_is_told_as_unknown() -> None:
    def finite(matrix: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.where(np.isnan(matrix[:, 3]), 0.9, 0.1).astype(np.float32)

    matrix = np.array([[1.0, 1, 60, np.nan, 0, 0]])
    [[reason]] = maker().explain(matrix, finite(matrix), finite)
    assert (reason.feature, reason.value, reason.usual) == ("count_1d", None, 2.0)


def test_a_model_that_answers_with_no_number_gives_no_reasons() -> None:
    def broken(matrix: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.full(len(matrix), np.nan, np.float32)

    matrix = np.array([ROW])
    assert maker().explain(matrix, broken(matrix), broken) == [()]


def test_a_batch_in_which_everything_alerts_is_scored_in_bounded_runs() -> None:
    runs: list[int] = []

    def counted(matrix: NDArray[np.float64]) -> NDArray[np.float32]:
        runs.append(len(matrix))
        return score(matrix)

    matrix, scores = scored(*([ROW] * 3000))
    reasons = maker().explain(matrix, scores, counted)
    assert len(reasons) == 3000
    assert max(runs) <= ROWS_MAX
    assert len(runs) == 3


numbers = st.floats(0, 1000, width=32)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(numbers, min_size=6, max_size=6), min_size=1, max_size=9))
def test_one_run_for_all_rows_agrees_with_a_slow_twin(rows: list[list[float]]) -> None:
    matrix, scores = scored(*rows)
    explained = maker(reasons_max=9)
    usual = explained.usual(matrix)
    for row, reasons in enumerate(explained.explain(matrix, scores, score)):
        slow = {}
        for reason in REASONS:
            put_back = matrix[row].copy()
            for name in (reason.feature, *reason.along):
                column = FEATURES.index(name)
                put_back[column] = usual[row, column]
            slow[reason.feature] = float(scores[row]) - float(score(put_back[None])[0])
        assert {reason.feature for reason in reasons} == {
            name for name, contribution in slow.items() if contribution >= 0.01
        }
        for told in reasons:
            assert told.contribution == pytest.approx(slow[told.feature], abs=1e-6)
        contributions = [told.contribution or 0.0 for told in reasons]
        assert contributions == sorted(contributions, reverse=True)


def test_a_contribution_without_bounds_is_no_reason() -> None:
    matrix = np.array([ROW])
    assert maker().explain(matrix, np.array([np.inf], np.float32), score) == [()]
