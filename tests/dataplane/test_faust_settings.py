"""What a `StreamApp` sets otherwise than Faust does."""

from __future__ import annotations

from pathlib import Path

from stream_infer.app import StreamApp
from stream_infer.kafka.connection import Connection


def test_the_web_server_that_fausts_own_command_starts_is_for_this_machine_only(
    tmp_path: Path,
) -> None:
    app = StreamApp("fraud", datadir=tmp_path)
    assert app.conf.web_bind == "127.0.0.1"
    assert StreamApp("fraud", datadir=tmp_path, web_bind="10.0.0.1").conf.web_bind == "10.0.0.1"


def test_each_broker_of_a_connection_is_named_and_a_users_own_setting_goes_first(
    tmp_path: Path,
) -> None:
    connection = Connection(bootstrap="kafka-1:9092,kafka-2:9093")
    app = StreamApp("fraud", connection=connection, datadir=tmp_path)
    assert [str(url) for url in app.conf.broker] == ["kafka://kafka-1:9092", "kafka://kafka-2:9093"]
    given = StreamApp("fraud", connection=connection, datadir=tmp_path, broker="kafka://b:1")
    assert [str(url) for url in given.conf.broker] == ["kafka://b:1"]
