"""From features to what is published: anomaly, level of service, forecasts with a band."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_infer.errors import ConflictError
from stream_infer.events.decode import EventDecoder
from stream_infer.events.schema import topic_schemas
from stream_infer.events.scored_readings import ScoredReadingEncoder, scored_reading_type
from stream_infer.features.plan import Plan, compile_plan
from stream_infer.features.table import compute_features
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.pipelines.traffic import pipeline as built_in
from stream_infer.pipelines.traffic import traffic_pipeline
from stream_infer.scoring.conditions import ROAD_LEVELS, ConditionScorer, Judged
from stream_infer.scoring.model import load_model
from stream_infer.scoring.session import Scorer
from stream_infer.traffic.sensors import sensor_table
from stream_infer.traffic.service import level_of_service

REMAKE = "run: python -m benchmarks.ready_models traffic"
TIME_MS = 1_767_225_600_000
TABLE = sensor_table(
    [
        {"sensor_id": "a", "corridor": "east", "free_flow_kmh": 100, "lanes": 2},
        {"sensor_id": "b", "corridor": "east", "free_flow_kmh": 80, "measure": "flow"},
    ]
)


def plan() -> Plan:
    return compile_plan(traffic_pipeline(TABLE))


def scored(readings: list[dict[str, Any]], model: Path | None) -> list[dict[str, Any]]:
    compiled = plan()
    decoded = EventDecoder(compiled.pipeline.events).decode(
        [json.dumps(r).encode() for r in readings]
    )
    assert decoded.bad == []
    columns = decoded.columns
    columns.source_partition[:], columns.source_offset[:] = 3, decoded.rows
    matrix = compute_features(compiled, columns)
    scorer = ConditionScorer(compiled, model)
    judged = scorer.judge(matrix)
    encoder = ScoredReadingEncoder(compiled.pipeline, compiled.feature_names)
    written = encoder.encode(
        columns,
        judged.anomaly,
        judged.levels,
        judged.forecasts,
        scorer.name,
        scorer.version,
        compiled.fingerprint,
    )
    return [json.loads(value) for value in written]


def test_a_scored_reading_says_all_that_is_known() -> None:
    found = scored(
        [
            {"sensor_id": "a", "event_time": TIME_MS, "speed": 81.4, "flow": 840,
             "occupancy": 0.0168},
            {"sensor_id": "a", "event_time": TIME_MS, "speed": 81.4},
            {"sensor_id": "b", "event_time": TIME_MS, "flow": 1_200},
        ],
        ready_model_dir("traffic"),
    )  # fmt: skip
    first, again, flow = found
    assert first["event_id"] == "sensor-readings-3-0"
    assert (first["speed"], first["flow"], first["occupancy"]) == (81.4, 840.0, 0.0168)
    assert first["level_of_service"] == "A"
    assert first["anomaly"] == 0.0
    assert list(first["forecasts"]) == ["15m", "30m", "60m"]
    for forecast in first["forecasts"].values():
        assert 0 <= forecast["low"] <= forecast["value"] <= forecast["high"] < 130
    assert (first["model"], first["version"]) == ("traffic", "1")
    assert (first["late"], first["duplicate_of"]) == (False, None)
    assert again["duplicate_of"] == "sensor-readings-3-0"
    # What was learnt on speeds says nothing of a sensor that is about flows.
    assert flow["forecasts"] is None
    assert (flow["speed"], flow["level_of_service"]) == (None, None)


def test_without_a_model_there_are_no_forecasts_and_all_else_is_there() -> None:
    (found,) = scored([{"sensor_id": "a", "event_time": TIME_MS, "speed": 20}], None)
    assert (found["forecasts"], found["model"]) == (None, None)
    assert found["level_of_service"] == "F"


def test_what_is_published_fits_the_published_schema() -> None:
    compiled = plan()
    kind = scored_reading_type(compiled.pipeline, compiled.feature_names, publish_features=False)
    schema = topic_schemas(compiled.pipeline)["scored-readings"]
    properties = schema["$defs"][kind.__name__]["properties"]
    (found,) = scored([{"sensor_id": "a", "event_time": TIME_MS, "speed": 20}], None)
    assert set(found) == set(properties) - {"extra"}


def test_the_internal_topic_s_schema_says_what_an_absent_value_is() -> None:
    schema = topic_schemas(plan().pipeline)["traffic.by-corridor"]
    assert schema["$comment"] == "Written between stages; key: corridor."
    cells = schema["$defs"]["Values"]["prefixItems"]
    assert cells[0]["title"] == "speed * 10^3, -9007199254740992 when absent"


@pytest.mark.parametrize(
    ("speed", "flow", "level"),
    [
        (100.0, 1_366.0, "A"),  # 6.83 vehicles a km and lane; A reaches to 11 a mile, 6.835
        (100.0, 1_368.0, "B"),
        (80.0, 3_000.0, "D"),
        (20.0, 2_000.0, "F"),
        (86.0, math.nan, "A"),
        (85.0, math.nan, "B"),
        (31.0, math.nan, "E"),
        (30.0, math.nan, "F"),
        (0.0, 0.0, "F"),
        (90.0, 0.0, "A"),
        (math.nan, 500.0, None),
    ],
)
def test_levels_of_service_are_those_of_the_manual(
    speed: float, flow: float, level: str | None
) -> None:
    found = level_of_service(speed, flow, 2.0, 100.0)
    assert (None if math.isnan(found) else "ABCDEF"[int(found)]) == level


def test_the_model_that_ships_is_of_the_pipeline_s_features() -> None:
    model = load_model(ready_model_dir("traffic"))
    compiled = compile_plan(built_in)
    assert model.manifest.features_fingerprint == compiled.meaning, REMAKE
    assert model.manifest.features == compiled.feature_names, REMAKE
    ConditionScorer(compiled, model)


def test_the_model_that_ships_beats_saying_that_nothing_changes() -> None:
    metrics = load_model(ready_model_dir("traffic")).manifest.metrics
    for horizon in ("15m", "30m", "60m"):
        assert metrics[f"rmse_{horizon}"] < 0.85 * metrics[f"last_rmse_{horizon}"]
        assert 0.85 < metrics[f"in_band_{horizon}"] < 0.95


def test_forecasts_do_not_depend_on_where_a_batch_is_cut() -> None:
    compiled = plan()
    scorer = ConditionScorer(compiled, ready_model_dir("traffic"))
    random = np.random.default_rng(5)
    matrix = random.normal(0.0, 0.3, (2_100, len(compiled.feature_names)))
    matrix[:, compiled.feature_names.index("level_of_service")] = np.nan
    whole = scorer.judge(matrix).forecasts
    assert whole is not None
    for start, end in ((0, 1), (1, 700), (700, 2_100)):
        part = scorer.judge(matrix[start:end]).forecasts
        assert part is not None
        np.testing.assert_array_equal(part, whole[start:end])


def test_a_model_of_another_kind_is_refused_both_ways() -> None:
    with pytest.raises(ConflictError) as forecasts:
        ConditionScorer(plan(), ready_model_dir("fraud"))
    assert forecasts.value.code == "features_differ"
    compiled = plan()
    with pytest.raises(ConflictError) as probability:
        Scorer(ready_model_dir("traffic"), compiled.feature_names, compiled.meaning)
    assert probability.value.code == "model_forecasts"
    with pytest.raises(ConflictError):
        Scorer(ready_model_dir("traffic"), ("amount",), compile_plan(fraud).fingerprint)


def test_congestion_is_what_is_missing_of_the_free_flow_speed() -> None:
    compiled = plan()
    scorer = ConditionScorer(compiled, ready_model_dir("traffic"))
    matrix = np.zeros((2, len(compiled.feature_names)))
    matrix[:, compiled.feature_names.index("scale")] = 100.0
    matrix[:, compiled.feature_names.index("speed_now")] = (0.25, np.nan)
    judged = scorer.judge(matrix)
    assert judged.forecasts is not None
    congestion = judged.alert_levels()["congestion"]
    assert congestion[0] == 0.75
    assert math.isnan(congestion[1])


def test_the_worst_forecast_is_told_with_how_far_ahead_it_is() -> None:
    no = math.nan
    judged = Judged(
        anomaly=np.zeros(3, np.float32),
        levels=np.zeros(3, np.int8),
        shares=np.array([0.98, 0.5, no]),
        forecasts=np.array(
            [[90.0, 0, 0, 42.0, 0, 0, 60.0, 0, 0], [50.0, 0, 0, 55.0, 0, 0, 60.0, 0, 0], [no] * 9]
        ),
        scale=np.array([100.0, 120.0, no]),
        ahead=np.array([15.0, 30.0, 60.0]),
    )
    levels = judged.alert_levels()
    assert set(levels) == set(ROAD_LEVELS)
    np.testing.assert_allclose(levels["forecast_congestion"], [0.58, 1 - 50 / 120, no])
    np.testing.assert_allclose(levels["forecast_share"], [0.42, 50 / 120, no])
    np.testing.assert_array_equal(levels["forecast_speed"], [42.0, 50.0, no])
    np.testing.assert_array_equal(levels["forecast_minutes"], [30.0, 15.0, no])
    without = replace(judged, forecasts=None).alert_levels()
    assert np.isnan(without["forecast_congestion"]).all()
    assert np.isnan(without["forecast_minutes"]).all()
    np.testing.assert_array_equal(without["congestion"], levels["congestion"])
