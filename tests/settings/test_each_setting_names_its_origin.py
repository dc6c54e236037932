from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stream_infer.errors import ConfigError
from stream_infer.settings.loading import Settings, load_settings
from stream_infer.settings.origin import Told, explain_settings
from support.commands import run_command

FILE = """
fields = { amount = "payment.amount" }
[kafka]
bootstrap = "file:1"
client_id = "from-file"
[worker]
align_skew = "2h"
[model]
path = "mine.onnx"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("STREAM_INFER_BOOTSTRAP", raising=False)
    path = tmp_path / "some.toml"
    path.write_text(FILE)
    return path


def by_name(config: Path, **overrides: dict[str, Any]) -> dict[str, Told]:
    return {told.name: told for told in explain_settings(config, overrides)[1]}


def test_every_setting_is_told_with_the_value_that_holds(config: Path) -> None:
    told = by_name(config)
    sections = {name.partition(".")[0] for name in told}
    assert sections == set(Settings.model_fields) - {"label_fields"}
    assert told["worker.align_skew"].value == 7_200_000
    assert told["worker.align_skew"].where == str(config)
    assert (told["worker.start"].origin, told["worker.start"].where) == ("default", "")
    assert told["fields.amount"].value == "payment.amount"
    assert told["model.path"].value == str(config.parent / "mine.onnx")


@pytest.mark.parametrize(
    ("environment", "flag", "where", "value"),
    [
        ({}, None, "some.toml", "file:1"),
        ({"STREAM_INFER_BOOTSTRAP": "short:1"}, None, "STREAM_INFER_BOOTSTRAP", "short:1"),
        (
            {"STREAM_INFER_BOOTSTRAP": "short:1", "STREAM_INFER_KAFKA__BOOTSTRAP": "long:1"},
            None,
            "STREAM_INFER_KAFKA__BOOTSTRAP",
            "long:1",
        ),
        (
            {"STREAM_INFER_BOOTSTRAP": "s:1", "STREAM_INFER_KAFKA": '{"bootstrap": "json:1"}'},
            None,
            "STREAM_INFER_KAFKA",
            "json:1",
        ),
        ({"stream_infer_kafka__bootstrap": "small:1"}, None, "stream_infer_kafka__", "small:1"),
        ({"STREAM_INFER_KAFKA__BOOTSTRAP": "long:1"}, "flag:1", "--bootstrap", "flag:1"),
    ],
)
def test_the_origin_is_the_place_whose_value_holds(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    flag: str | None,
    where: str,
    value: str,
) -> None:
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    overrides = {"kafka": {"bootstrap": flag}}
    told = by_name(config, **overrides)["kafka.bootstrap"]
    assert told.value == load_settings(config, overrides).kafka.bootstrap == value
    assert where in told.where


def test_a_part_of_a_field_s_place_counts_as_its_origin(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_INFER_FIELDS__EVENT_TIME__PATH", "at")
    told = by_name(config)
    assert told["fields.event_time"].where == "STREAM_INFER_FIELDS__EVENT_TIME__PATH"
    assert told["fields.amount"].origin == "file"


def test_config_show_prints_each_with_its_origin(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = run_command("config", "show", "--config", config, "--changed", "--json").json
    assert [row["name"] for row in rows["settings"]] == [
        "kafka.bootstrap",
        "kafka.client_id",
        "model.path",
        "worker.align_skew",
        "fields.amount",
    ]
    shown = run_command("config", "show", "--config", config, "--origin")
    [line] = [line for line in shown.out.splitlines() if line.startswith("kafka.client_id")]
    assert "7200000" in shown.out
    assert line.split() == ["kafka.client_id", "from-file", "file", str(config)]
    monkeypatch.chdir(config.parent)
    config.rename("stream-infer.toml")
    found = run_command("config", "show", "--changed", "--json")
    assert len(found.json["settings"]) == 5
    assert "read stream-infer.toml" in found.err


def test_what_looks_like_a_secret_is_masked(config: Path) -> None:
    config.write_text('[fields]\napi_token = "hunter2"\n')
    shown = run_command("config", "show", "--config", config, "--origin")
    assert "api_token" in shown.out
    assert "hunter2" not in shown.out + shown.err


@pytest.mark.parametrize(
    ("text", "code", "error"),
    [
        ("", 0, None),
        ("[wrker]\n", 2, "setting_unknown"),
        ('[kafka]\nbootstrap = "nowhere:port"\n', 2, "bad_bootstrap"),
        ('[fields]\namount = "a..b"\n', 2, "bad_field_mapping"),
        ("[model]\nreview = 0.9\ndecline = 0.1\n", 2, "setting_invalid"),
        ('[pipeline]\nfile = "none.py"\n', 3, "pipeline_file_missing"),
        ('[pipeline]\nfile = "fraud"\n', 0, None),
        ('[pipeline]\nfile = "fraud"\n[fields]\namont = "a"\n', 2, "unknown_field"),
        ('[pipeline]\nfile = "fraud"\n[model]\npath = "none.onnx"\n', 3, "model_not_found"),
    ],
)
def test_config_check_says_the_first_thing_that_is_wrong(
    config: Path, text: str, code: int, error: str | None
) -> None:
    config.write_text(text)
    ran = run_command("config", "check", "--config", config, "--json")
    assert ran.code == code
    assert ran.json.get("error", {}).get("code") == error


def test_a_wrong_value_is_told_with_the_place_it_comes_from(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("[kafka]\nconnect_timeout = 'soon'\n")
    with pytest.raises(ConfigError) as raised:
        load_settings(config)
    assert str(config) in raised.value.fix
    monkeypatch.setenv("STREAM_INFER_KAFKA__CONNECT_TIMEOUT", "later")
    with pytest.raises(ConfigError) as raised:
        load_settings(config)
    assert "STREAM_INFER_KAFKA__CONNECT_TIMEOUT" in raised.value.fix
