"""`train traffic` from a file of readings to figures by horizon, on made-up roads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from stream_infer.cli import main
from stream_infer.errors import ConfigError, InvalidDataError
from stream_infer.features.plan import compile_plan
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.pipelines.traffic import traffic_pipeline
from stream_infer.scoring.conditions import ConditionScorer
from stream_infer.scoring.model import open_session
from stream_infer.training.roads import forecasters
from stream_infer.training.roads.making import by_horizon, cut_span
from stream_infer.training.roads.readings import (
    Readings,
    changes,
    conditions_of,
    read_readings,
)

MINUTE_MS = 60_000
DAYS = 4


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Six sensors whose speed falls each morning and evening, one road after the other."""
    folder = tmp_path_factory.mktemp("roads")
    names = [f"s{i}" for i in range(6)]
    rows = [{"sensor_id": name, "corridor": "ring", "free_flow_kmh": 100.0} for name in names]
    (folder / "sensors.json").write_text(json.dumps(rows))
    random = np.random.default_rng(0)
    minutes = np.arange(0, DAYS * 1_440, 5)
    parts = []
    for at, name in enumerate(names):
        clock = (minutes - 5 * at) % 1_440
        dips = sum(np.exp(-(((clock - rush) / 60) ** 2)) for rush in (480, 1_050))
        speed = 100 - 60 * dips + random.normal(0, 3, len(minutes))
        times = minutes * MINUTE_MS
        parts.append(pl.DataFrame({"who": name, "at": times, "kmh": np.clip(speed, 1, 200)}))
    path = folder / "readings.parquet"
    pl.concat(parts).sort("at", maintain_order=True).write_parquet(path)
    return path, folder / "sensors.json"


@pytest.fixture(autouse=True)
def _small_models(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"trees": 20, "leaves": 7, "rate": 0.2, "leaf_rows": 20}
    small = {"hidden": (24,), "epochs": 6}
    for kind, settings in (("trees", few), ("network", small)):
        monkeypatch.setitem(forecasters.DECLARED, kind, (settings,))
        monkeypatch.setitem(forecasters.SPREAD, kind, settings)


def train(
    capsys: pytest.CaptureFixture[str], files: tuple[Path, Path], out: Path, *more: object
) -> tuple[int, dict[str, Any]]:
    given = ("--data", files[0], "--fields", "sensor_id=who,event_time=at:ms,speed=kmh")
    words = ("train", "traffic", *given, "--sensors", files[1], "--out", out, "--json", *more)
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    code = ended.value.code
    assert isinstance(code, int)
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, said


@pytest.mark.parametrize("kind", ["trees", "network"])
def test_a_forecast_is_better_than_the_last_value_and_the_same_when_made_again(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    code, said = train(capsys, files, tmp_path / "one", "--kinds", kind)
    assert (code, said["kind"]) == (0, kind)
    for horizon in ("15m", "30m", "60m"):
        assert said["rmse"][horizon] < 0.8 * said["last_value"]["rmse"][horizon]
        assert said["mae"][horizon] < said["rmse"][horizon]
        assert 0.75 < said["in_band"][horizon] <= 1
    assert {name for name, _ in said["by_sensor"]} == {f"s{i}" for i in range(6)}
    _, again = train(capsys, files, tmp_path / "two", "--kinds", kind)
    assert again["sha256"] == said["sha256"]
    assert (Path(said["folder"]) / "report.html").read_text().count("<svg") == 2

    served = ConditionScorer(compile_plan(traffic_pipeline(files[1])), said["folder"])
    assert served.model is not None
    assert served.model.version == said["version"]


def noisy_rows(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return rows whose change is the first column, and noise that is large where the second is."""
    random = np.random.default_rng(seed)
    matrix = random.normal(0, 0.1, (n, 4)).astype(np.float32)
    size = np.where(matrix[:, 1] > 0, 0.3, 0.03)
    noise: NDArray[np.float64] = random.normal(0, 1, (n, 3)) * size[:, None]
    return matrix, matrix[:, :1] + noise


@pytest.mark.parametrize("kind", ["trees", "network"])
def test_a_band_holds_nine_of_ten_outcomes_is_wide_where_they_spread_and_is_in_the_graph(
    kind: str,
) -> None:
    settings = forecasters.DECLARED[kind][0]
    columns = np.arange(3)
    model = forecasters.fit_forecaster(kind, settings, *noisy_rows(12_000, 1), columns, 4)
    matrix, changed = noisy_rows(6_000, 2)
    bands = forecasters.fit_bands(kind, matrix, changed - model.say(matrix), columns, 4)
    matrix, changed = noisy_rows(6_000, 3)
    matrix[:, 3] = np.nan  # a column that is no input may hold anything
    said = forecasters.answers(model, bands, [0, 1, 2], matrix)
    low, high = said[:, 1::3], said[:, 2::3]
    assert 0.87 < ((changed >= low) & (changed <= high)).mean() < 0.93
    width = (high - low)[:, 0]
    assert width[matrix[:, 1] > 0.05].mean() > 3 * width[matrix[:, 1] < -0.05].mean()
    content = forecasters.to_onnx(model, bands, [0, 1, 2], 4)
    found = open_session(content).run(None, {"features": matrix})[0]
    np.testing.assert_allclose(found, said, atol=1e-4)


def readings_of(times: list[int], shares: list[float]) -> Readings:
    n = len(times)
    plan: Any = None
    one = np.ones(n)
    share = np.array(shares)
    return Readings(
        plan,
        np.zeros((n, 1), np.float32),
        np.array(times, np.int64) * MINUTE_MS,
        np.zeros(n, np.int64),
        share,
        share,
        one,
        one,
    )


def test_an_outcome_is_the_reading_nearest_to_its_horizon_and_none_where_there_is_a_gap() -> None:
    #   minute   0    5    10   15   20             45
    #   share   .5   .6    .7   .8   .9             .1
    readings = readings_of([0, 5, 10, 15, 20, 45], [0.5, 0.6, 0.7, 0.8, 0.9, 0.1])
    said = changes(readings, [5 * MINUTE_MS, 15 * MINUTE_MS])
    np.testing.assert_allclose(said[:4, 0], 0.1)
    assert np.isnan(said[4:, 0]).all()
    np.testing.assert_allclose(said[:2, 1], 0.3)
    assert np.isnan(said[2:, 1]).all()


def test_errors_are_taken_over_all_steps_up_to_a_horizon() -> None:
    errors = np.array([[1.0, 3.0, np.nan], [-1.0, -3.0, 5.0]])
    steps = [5 * MINUTE_MS, 10 * MINUTE_MS, 15 * MINUTE_MS]
    said = by_horizon(errors, steps, [5 * MINUTE_MS, 15 * MINUTE_MS])
    # The first reading's outcome 15 minutes later is unknown.
    assert said["mae"] == {"5m": 1.0, "15m": 3.0}
    assert said["rmse"] == {"5m": 1.0, "15m": 3.4157}


def test_readings_of_too_few_days_are_refused(files: tuple[Path, Path]) -> None:
    with pytest.raises(InvalidDataError) as raised:
        cut_span(readings_of([0, 5, 1_440, 2_000], [0.5] * 4), 0.8)
    assert raised.value.code == "too_short"


def test_a_pipeline_without_forecasts_is_refused() -> None:
    with pytest.raises(ConfigError) as raised:
        conditions_of(fraud)
    assert raised.value.code == "pipeline_without_forecasts"


def test_a_sensor_that_the_table_lacks_is_named(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = tmp_path / "stranger.parquet"
    pl.read_parquet(files[0]).with_columns(pl.lit("s9").alias("who")).write_parquet(stranger)
    code, said = train(capsys, (stranger, files[1]), tmp_path)
    assert (code, said["error"]["code"]) == (5, "bad_rows")
    assert "s9" in said["error"]["message"] or "unknown_sensor" in said["error"]["message"]


def test_units_of_the_file_are_those_of_the_table(files: tuple[Path, Path], tmp_path: Path) -> None:
    rows = json.loads(files[1].read_text())
    table = tmp_path / "mph.json"
    table.write_text(json.dumps([row | {"speed_unit": "mph"} for row in rows]))
    some = tmp_path / "some.parquet"
    pl.read_parquet(files[0]).head(60).rename(
        {"who": "sensor_id", "at": "event_time", "kmh": "speed"}
    ).write_parquet(some)
    both = [read_readings(traffic_pipeline(each), some, None) for each in (files[1], table)]
    np.testing.assert_allclose(both[1].share, both[0].share * 1.609344, rtol=1e-4)
    assert both[1].factor[0] == pytest.approx(1.609344)
