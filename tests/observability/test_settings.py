from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stream_infer.errors import ConfigError
from stream_infer.settings.loading import load_settings
from stream_infer.settings.log import LogSettings
from stream_infer.settings.web import WebSettings


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAM_INFER_BOOTSTRAP", raising=False)


def test_without_anything_the_documented_defaults_hold() -> None:
    assert load_settings().web_settings() == WebSettings()
    assert load_settings().log_settings() == LogSettings()


def test_they_come_from_file_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "stream-infer.toml"
    path.write_text(
        '[web]\nport = 8080\nstuck_after = "2m"\nlag_max = 5000\n[log]\nformat = "json"\n'
    )
    monkeypatch.setenv("STREAM_INFER_WEB__HOST", "0.0.0.0")  # noqa: S104 - nothing listens
    monkeypatch.setenv("STREAM_INFER_LOG__LEVEL", "debug")
    settings = load_settings(path)
    assert settings.web_settings() == WebSettings(
        host="0.0.0.0",  # noqa: S104
        port=8080,
        stuck_after_ms=120_000,
        lag_max=5000,
    )
    assert settings.log_settings() == LogSettings(format="json", level="debug")


@pytest.mark.parametrize(
    ("text", "port"), [("9090", 9090), ("0", 0), ("auto", "auto"), ("off", "off")]
)
def test_a_port_is_a_number_or_one_of_two_words(
    monkeypatch: pytest.MonkeyPatch, text: str, port: Any
) -> None:
    monkeypatch.setenv("STREAM_INFER_WEB__PORT", text)
    assert load_settings().web_settings().port == port


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WEB__PORT", "65536"),
        ("WEB__PORT", "-1"),
        ("WEB__PORT", "http"),
        ("WEB__HOST", ""),
        ("WEB__STUCK_AFTER", "1ms"),
        ("WEB__LAG_MAX", "-1"),
        ("LOG__FORMAT", "xml"),
        ("LOG__LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(f"STREAM_INFER_{variable}", value)
    with pytest.raises(ConfigError, match=variable.lower().replace("__", ".")) as caught:
        load_settings()
    assert caught.value.code == "setting_invalid"


def test_a_misspelt_key_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "stream-infer.toml"
    path.write_text("[web]\nprot = 1\n")
    with pytest.raises(ConfigError, match=r"web\.prot") as caught:
        load_settings(path)
    assert "web.port" in caught.value.fix
