"""A wrong declaration of alerts is named, with what to write instead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stream_infer.alerts.declared import check_names, compile_alerts
from stream_infer.alerts.defaults import fraud_alerts, traffic_alerts
from stream_infer.alerts.spec import (
    Alerts,
    EntityList,
    Limit,
    Reason,
    Storm,
    UsualConstant,
    UsualOf,
)
from stream_infer.errors import ConfigError
from stream_infer.features.plan import compile_plan
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.pipelines.loading import load_pipeline
from stream_infer.scoring.conditions import ROAD_LEVELS
from support.alerts import kind


@pytest.mark.parametrize(
    ("words", "cause", "fix"),
    [
        ({"name": "Card fraud"}, "no lower-case word", "letters, digits"),
        ({"keep_at": 0.6}, "keep_at 0.6 is above open_at 0.5", "at open_at or below"),
        ({"open_at": float("nan")}, "no numbers", "finite"),
        ({"severities": ()}, "do not rise", "mild to grave"),
        ({"severities": ((0.9, "high"), (0.5, "low"))}, "do not rise", "mild to grave"),
        ({"hold": "0s"}, "hold is 0", 'hold="15m"'),
        ({"hold": "ten minutes"}, "not a duration", "whole number and a unit"),
        ({"count_min": 0}, "below 1", "1 or more"),
        ({"tells": ("speed",)}, "is the model's", "leave tells out"),
        ({"distinct_min": 3}, "does not say of what", "other="),
        ({"storm": Storm(single_max=0)}, "single_max is below 1", "storm=None"),
        ({"text": "{amont}", "facts": ("amount",)}, "'amont'", "Did you mean 'amount'?"),
        ({"text": "{amount"}, "cannot be read", "{{"),
    ],
)
def test_a_wrong_kind_is_named(words: dict[str, Any], cause: str, fix: str) -> None:
    alerts = Alerts(topic="alerts-plant", kinds=(kind(**({"name": "heat"} | words)),))
    with pytest.raises(ConfigError) as caught:
        compile_alerts(alerts, "plant")
    assert cause in caught.value.message
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("changed", "cause", "fix"),
    [
        ({"topic": ""}, "no topic", "topic="),
        ({"kinds": ()}, "no kind", "at least one"),
        ({"kinds": (kind(), kind())}, "'heat' is wrong: it is declared twice", "another name"),
        ({"limits": (Limit(name="l", of="amount"),)}, "exactly one bound", "above="),
        ({"limits": (Limit(name="l", of="a", above=1, below=0),)}, "exactly one", "two limits"),
        (
            {"limits": (Limit(name="l", of="a", above=1, decision="approve"),)},
            "cannot approve",
            "allow list",
        ),
        ({"limits": (Limit(name="l", of="a", above=1, score=2.0),)}, "0 to 1", "score=0.5"),
        ({"reasons": (Reason(feature="a"),)}, "no feature with a usual value", "Known are"),
        (
            {"usual": {"a": UsualConstant()}, "reasons": (Reason(feature="a", phrase="{vale}"),)},
            "'vale'",
            "Did you mean 'value'?",
        ),
        ({"reasons_max": -1}, "below 0", "0 for no reasons"),
    ],
)
def test_a_wrong_rule_or_reason_is_named(changed: dict[str, Any], cause: str, fix: str) -> None:
    alerts = replace(Alerts(topic="alerts-plant", kinds=(kind(),)), **changed)
    with pytest.raises(ConfigError) as caught:
        compile_alerts(alerts, "plant")
    assert cause in caught.value.message
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"kinds": (kind(level="heet", entity="customer_id"),)}, "'heet' is no level"),
        ({"kinds": (kind(entity="customer"),)}, "'customer' is no entity"),
        ({"kinds": (kind(entity="customer_id", other="terminal"),)}, "'terminal' is no entity"),
        ({"kinds": (kind(entity="customer_id", facts=("amont",)),)}, "'amont' is no fact"),
        (
            {"kinds": (kind(entity="customer_id", level="TX_AMOUNT", tells=("TX",)),)},
            "'TX' is no feature",
        ),
        ({"limits": (Limit(name="l", of="amont", above=1),)}, "'amont' is no value or feature"),
        ({"lists": (EntityList(name="l", entity="card", kind="block"),)}, "'card' is no entity"),
        ({"usual": {"TX_AMOUNTS": UsualConstant()}}, "'TX_AMOUNTS' is no feature"),
        ({"usual": {"TX_AMOUNT": UsualOf(of="TX")}}, "'TX' is no feature"),
    ],
)
def test_what_the_pipeline_does_not_have_is_named(changed: dict[str, Any], cause: str) -> None:
    names = compile_plan(fraud).feature_names
    with pytest.raises(ConfigError, match=cause):
        check_names(replace(fraud_alerts, **changed), fraud.events, names)


def test_the_built_in_alerts_fit_the_built_in_pipelines() -> None:
    traffic = load_pipeline("traffic")
    for alerts, pipeline in ((fraud_alerts, fraud), (traffic_alerts, traffic)):
        compile_alerts(alerts, pipeline.name)
        check_names(
            alerts,
            pipeline.events,
            compile_plan(pipeline).feature_names,
            (*ROAD_LEVELS, "silent"),
        )


def test_only_what_the_state_depends_on_is_in_the_fingerprint() -> None:
    def fingerprint(**changed: Any) -> str:
        alerts = Alerts(topic="alerts-plant", kinds=(kind(**changed),))
        return compile_alerts(alerts, "plant").fingerprint

    assert fingerprint() == fingerprint(text="Hot", facts=("speed",))
    assert len({fingerprint(), fingerprint(hold="11m"), fingerprint(storm=Storm())}) == 3


def test_the_log_must_reach_back_over_the_longest_kind() -> None:
    alerts = Alerts(topic="a", kinds=(kind(), kind("noise", hold="2h", quiet="3h", within="1h")))
    assert compile_alerts(alerts, "plant").look_back_ms == 6 * 3_600_000
