"""The text of the broker's settings."""

from __future__ import annotations

import pytest

from stream_infer.broker import config
from stream_infer.errors import ConfigError


def parse(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_one_node_is_broker_and_controller_on_loopback() -> None:
    settings = parse(config.server_properties(1000, 1001))
    assert settings["process.roles"] == "broker,controller"
    assert settings["listeners"] == "PLAINTEXT://127.0.0.1:1000,CONTROLLER://127.0.0.1:1001"
    assert settings["advertised.listeners"] == "PLAINTEXT://127.0.0.1:1000"
    assert settings["controller.quorum.voters"] == "1@127.0.0.1:1001"


def test_internal_topics_are_content_with_one_node() -> None:
    settings = parse(config.server_properties(1000, 1001))
    wanted = [name for name in settings if name.endswith(("replication.factor", "min.isr"))]
    assert len(wanted) == 5
    assert {settings[name] for name in wanted} == {"1"}
    assert settings["group.initial.rebalance.delay.ms"] == "0"
    assert settings["auto.create.topics.enable"] == "false"


def test_an_override_wins_over_our_setting() -> None:
    settings = parse(
        config.server_properties(
            1000, 1001, {"num.io.threads": "9", "message.max.bytes": "2000000"}
        )
    )
    assert settings["num.io.threads"] == "9"
    assert settings["message.max.bytes"] == "2000000"


@pytest.mark.parametrize("name", sorted(config.RESERVED))
def test_a_setting_that_is_ours_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config.server_properties(1000, 1001, {name: "x"})
    assert refused.value.code == "broker_config_reserved"
    assert name in refused.value.message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\\b", "a\\\\b"),
        ("two\nlines", "two\\nlines"),
        (" leading", "\\ leading"),
        ("ä", "\\u00e4"),
        ("\N{GRINNING FACE}", "\\ud83d\\ude00"),
        ("plain value=1:2", "plain value=1:2"),
    ],
)
def test_values_are_written_as_java_reads_them(value: str, text: str) -> None:
    assert config.properties_text({"name": value}) == f"name={text}\n"
