from __future__ import annotations

from pathlib import Path

import pytest

from stream_infer.errors import ConfigError, NotFoundError
from stream_infer.settings.loading import load_settings
from stream_infer.settings.worker import WorkerSettings


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAM_INFER_BOOTSTRAP", raising=False)


def file_with(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "stream-infer.toml"
    path.write_text(text)
    return path


def test_without_anything_the_documented_defaults_hold() -> None:
    settings = load_settings()
    assert settings.connection().bootstrap == "127.0.0.1:9092"
    assert settings.worker_settings() == WorkerSettings()


def test_flags_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_with(tmp_path, '[kafka]\nbootstrap = "file:1"\nclient_id = "from-file"\n')
    assert load_settings(path).kafka.bootstrap == "file:1"
    monkeypatch.setenv("STREAM_INFER_BOOTSTRAP", "short:1")
    assert load_settings(path).kafka.bootstrap == "short:1"
    monkeypatch.setenv("STREAM_INFER_KAFKA__BOOTSTRAP", "long:1")
    assert load_settings(path).kafka.bootstrap == "long:1"
    flagged = load_settings(path, {"kafka": {"bootstrap": "flag:1"}})
    assert (flagged.kafka.bootstrap, flagged.kafka.client_id) == ("flag:1", "from-file")


def test_a_flag_that_was_not_given_hides_nothing(tmp_path: Path) -> None:
    path = file_with(tmp_path, '[kafka]\nbootstrap = "file:1"\n')
    assert load_settings(path, {"kafka": {"bootstrap": None}}).kafka.bootstrap == "file:1"


def test_durations_are_written_as_people_write_them(tmp_path: Path) -> None:
    path = file_with(tmp_path, '[worker]\nalign_skew = "2h"\nalign_wait_max = "250ms"\n')
    worker = load_settings(path).worker_settings()
    assert (worker.align_skew_ms, worker.align_wait_max_ms) == (7_200_000, 250)


def test_fields_become_the_mapping_of_the_events(tmp_path: Path) -> None:
    path = file_with(
        tmp_path,
        '[fields]\namount = "payment.amount"\nevent_time = {path = "at", unit = "s"}\n',
    )
    mapping = load_settings(path).field_mapping()
    assert mapping is not None
    assert mapping.source("amount").path == ("payment", "amount")
    assert mapping.source("event_time").unit == "s"


def test_label_fields_become_the_mapping_of_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().label_field_mapping() is None
    path = file_with(tmp_path, '[label_fields]\nis_fraud = "verdict.fraud"\n')
    mapping = load_settings(path).label_field_mapping()
    assert mapping is not None
    assert mapping.source("is_fraud").path == ("verdict", "fraud")
    monkeypatch.setenv("STREAM_INFER_LABEL_FIELDS__IS_FRAUD", "fraud")
    mapping = load_settings(path).label_field_mapping()
    assert mapping is not None
    assert mapping.source("is_fraud").path == ("fraud",)


@pytest.mark.parametrize(
    ("text", "key", "suggestion"),
    [
        ('[worker]\ndelivry = "at_least_once"', "worker.delivry", "worker.delivery"),
        ('[kafka]\nbootstrp = "a:1"', "kafka.bootstrp", "kafka.bootstrap"),
        ("[wrker]\nstart = 1", "wrker", "worker"),
    ],
)
def test_an_unknown_key_is_an_error_that_suggests_the_nearest(
    tmp_path: Path, text: str, key: str, suggestion: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load_settings(file_with(tmp_path, text))
    assert raised.value.code == "setting_unknown"
    assert key in raised.value.message
    assert f"Did you mean {suggestion!r}?" in raised.value.fix


def test_an_unknown_key_in_the_environment_is_an_error_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STREAM_INFER_WORKER__STRT", "latest")
    with pytest.raises(ConfigError) as raised:
        load_settings()
    assert "worker.start" in raised.value.fix


@pytest.mark.parametrize(
    ("variable", "suggestion"),
    [
        ("STREAM_INFER_WROKER__START", "STREAM_INFER_WORKER__START"),
        ("STREAM_INFER_WORKER_START", "STREAM_INFER_WORKER__START"),
        ("STREAM_INFER_FEILDS__AMOUNT", "STREAM_INFER_FIELDS__AMOUNT"),
        ("STREAM_INFER_BOOTSRAP", "STREAM_INFER_BOOTSTRAP"),
    ],
)
def test_a_misspelt_variable_is_an_error_that_suggests_the_nearest(
    monkeypatch: pytest.MonkeyPatch, variable: str, suggestion: str
) -> None:
    monkeypatch.setenv(variable, "latest")
    with pytest.raises(ConfigError) as raised:
        load_settings()
    assert raised.value.code == "setting_unknown"
    assert variable in raised.value.message
    assert raised.value.fix == f"Did you mean {suggestion}?"


def test_a_variable_like_no_setting_is_an_error_without_a_guess(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STREAM_INFER_PHASE_OF_THE_MOON", "full")
    with pytest.raises(ConfigError) as raised:
        load_settings()
    assert "Did you mean" not in raised.value.fix


@pytest.mark.parametrize(
    "variable",
    [
        "STREAM_INFER_CACHE",
        "STREAM_INFER_STATE",
        "STREAM_INFER_DATA",
        "STREAM_INFER_TEST_BOOTSTRAP",
        # Kubernetes' own, for services called stream-infer and stream-infer-web
        "STREAM_INFER_SERVICE_HOST",
        "STREAM_INFER_PORT_9092_TCP_ADDR",
        "STREAM_INFER_WEB_SERVICE_PORT_HTTP",
    ],
)
def test_variables_that_others_read_are_no_settings(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "something")
    assert load_settings().worker_settings() == WorkerSettings()


def test_no_limit_is_said_by_a_word_in_the_file_and_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_with(tmp_path, '[worker]\nalign_wait_max = "none"\nstate_bytes_max = 1000\n')
    assert load_settings(path).worker_settings().align_wait_max_ms is None
    monkeypatch.setenv("STREAM_INFER_WORKER__ALIGN_WAIT_MAX", "None")
    monkeypatch.setenv("STREAM_INFER_WORKER__STATE_BYTES_MAX", "none")
    worker = load_settings(path).worker_settings()
    assert (worker.align_wait_max_ms, worker.state_bytes_max) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        '[worker]\nalign_skew = "none"',
        '[worker]\ndelivery = "exactly_never"',
        '[worker]\nalign_skew = "2 hours"',
        "[worker]\nalign_skew = -1",
        "[worker]\nin_flight_bytes_max = 1",
        "[kafka]\nbootstrap = 9092",
    ],
)
def test_a_value_that_does_not_fit_names_its_key(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_settings(file_with(tmp_path, text))
    assert raised.value.code == "setting_invalid"
    assert raised.value.details["setting"].split(".")[1] in text


def test_a_file_that_is_not_toml_is_named_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_settings(file_with(tmp_path, "[kafka\n"))
    assert "line 1" in raised.value.message


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load_settings(tmp_path / "none.toml")


def test_how_far_apart_fetches_are_fits_the_delivery() -> None:
    assert WorkerSettings(delivery="at_least_once").beat_ms == (5, 12)
    assert WorkerSettings().beat_ms == (25, 50), "half of the interval, and all of it when busy"
    assert WorkerSettings(commit_interval_ms=20).beat_ms == (10, 20)
    assert WorkerSettings(commit_interval_ms=60_000).beat_ms == (500, 1_000), "within a bound"


def test_and_is_what_it_is_set_to() -> None:
    assert WorkerSettings(delivery="at_least_once", gather_ms=3).beat_ms == (3, 12)
    assert WorkerSettings(gather_ms=8).beat_ms == (8, 50)
    assert WorkerSettings(gather_ms=80).beat_ms == (80, 80)
