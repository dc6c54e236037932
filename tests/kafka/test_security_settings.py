from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest

from stream_infer.broker import EmbeddedBroker, Listener, config
from stream_infer.broker.formatting import scram_argument
from stream_infer.broker.listeners import sasl_settings, tls_settings
from stream_infer.errors import ConfigError
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.security import InsecureConnectionWarning, Secret, Security
from stream_infer.settings.loading import load_settings
from support.commands import run_command
from support.secure_kafka import KEY_PASSWORD, PASSWORD, Authority


@pytest.fixture(autouse=True)
def _no_secret_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BOOTSTRAP", "SASL_PASSWORD", "KEY_PASSWORD"):
        monkeypatch.delenv(f"STREAM_INFER_{name}", raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"), "authority")


def written(folder: Path, **security: str) -> Path:
    lines = [f'{name} = "{value}"' for name, value in security.items()]
    file = folder / "stream-infer.toml"
    file.write_text("\n".join(["[security]", *lines]))
    return file


def code_of(make: Any) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        make()
    assert raised.value.fix
    assert PASSWORD not in f"{raised.value}{raised.value.envelope()}"
    return raised.value


# -- where secrets come from --------------------------------------------------------------------


def test_a_password_comes_from_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(f"{PASSWORD}\n")
    file = written(tmp_path, protocol="SASL_PLAINTEXT", user="worker", password_file="pw")  # noqa: S106
    options = load_settings(file).connection().client_options()
    assert options["sasl_plain_password"] == PASSWORD
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert options["security_protocol"] == "SASL_PLAINTEXT"


def test_a_password_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, protocol="SASL_PLAINTEXT", user="worker", mechanism="PLAIN")
    monkeypatch.setenv("STREAM_INFER_SASL_PASSWORD", PASSWORD)
    options = load_settings(file).connection().client_options()
    assert (options["sasl_mechanism"], options["sasl_plain_password"]) == ("PLAIN", PASSWORD)


def test_a_password_given_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pw").write_text(PASSWORD)
    file = written(tmp_path, protocol="SASL_PLAINTEXT", user="worker", password_file="pw")  # noqa: S106
    monkeypatch.setenv("STREAM_INFER_SASL_PASSWORD", "another")
    assert code_of(load_settings(file).connection).code == "secret_twice"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_a_secret_s_file_that_holds_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "pw").write_bytes(content)
    file = written(tmp_path, protocol="SASL_PLAINTEXT", user="worker", password_file="pw")  # noqa: S106
    assert code_of(load_settings(file).connection).code == "secret_unreadable"


def test_a_password_in_the_place_of_its_file_is_not_shown(tmp_path: Path) -> None:
    file = written(tmp_path, protocol="SASL_PLAINTEXT", user="worker", password_file=PASSWORD)
    assert code_of(load_settings(file).connection).code == "secret_unreadable"
    ran = run_command("topics", "describe", "fraud", "--config", file, "--json")
    shown = run_command("config", "show", "--config", file, "--origin")
    assert ran.code == 2
    assert PASSWORD not in ran.out + ran.err + shown.out + shown.err


@pytest.mark.parametrize(
    ("variable", "toml"),
    [("STREAM_INFER_SECURITY__PASSWORD", None), (None, "password"), (None, "sasl_password")],
)
def test_a_secret_s_text_is_no_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, toml: str | None
) -> None:
    if variable:
        monkeypatch.setenv(variable, PASSWORD)
    file = written(tmp_path, **({toml: PASSWORD} if toml else {}))
    error = code_of(lambda: load_settings(file))
    assert error.code == "setting_unknown"
    assert PASSWORD not in str(error.__cause__)


def test_no_command_takes_a_password_as_a_flag() -> None:
    for command in ("worker", "check", "doctor", "tail"):
        ran = run_command(command, "fraud", "--password", PASSWORD)
        assert ran.code == 2
        assert PASSWORD not in ran.out + ran.err
        assert "--password-file" in run_command(command, "--help").out


# -- what does not fit together -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"protocol": "TLS"}, "security_protocol"),
        ({"protocol": "SASL_SSL", "mechanism": "GSSAPI"}, "sasl_mechanism"),
        ({"protocol": "SASL_SSL", "password": Secret(PASSWORD)}, "sasl_user_missing"),
        ({"protocol": "SASL_SSL", "user": "worker"}, "sasl_password_missing"),
        (
            {"protocol": "SASL_SSL", "user": "worker", "password": Secret("")},
            "sasl_password_missing",
        ),
        ({"user": "worker"}, "security_unused"),
        ({"mechanism": "PLAIN"}, "security_unused"),
        ({"protocol": "SSL", "user": "worker"}, "security_unused"),
        ({"ca_file": Path("ca.pem")}, "security_unused"),
        ({"check_hostname": False}, "security_unused"),
        ({"protocol": "SSL", "key_file": Path("key.pem")}, "tls_certificate_missing"),
    ],
)
def test_parts_that_are_missing_or_unused_are_refused(parts: dict[str, Any], code: str) -> None:
    assert code_of(lambda: Security(**parts)).code == code


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"ca_file": "nowhere.pem"}, "tls_file_unreadable"),
        ({"ca_file": "rubbish.pem"}, "tls_ca_unreadable"),
        ({"certificate_file": "nowhere.pem"}, "tls_file_unreadable"),
        ({"certificate_file": "rubbish.pem"}, "tls_certificate_unreadable"),
        ({"certificate_file": "one.pem", "key_file": "nowhere.pem"}, "tls_file_unreadable"),
        ({"certificate_file": "one.pem", "key_file": "two.pem"}, "tls_key_mismatch"),
        ({"certificate_file": "hidden.pem"}, "tls_key_password"),
        ({"certificate_file": "hidden.pem", "key_password": Secret("wrong")}, "tls_key_password"),
    ],
)
def test_certificates_that_cannot_be_used_are_named(
    authority: Authority, parts: dict[str, Any], code: str
) -> None:
    authority.issue("one")
    authority.issue("two")
    authority.issue("hidden", password=KEY_PASSWORD)
    (authority.folder / "rubbish.pem").write_text("rubbish")
    files: dict[str, Any] = {
        name: authority.folder / value if isinstance(value, str) else value
        for name, value in parts.items()
    }
    security = Security(protocol="SSL", **files)
    assert code_of(security.client_options).code == code


def test_a_renewed_certificate_is_read_again(authority: Authority) -> None:
    security = Security(protocol="SSL", ca_file=authority.file)
    first = security.tls_context()
    assert security.tls_context() is first
    content = authority.file.read_bytes()
    authority.file.write_bytes(content + content)
    assert security.tls_context() is not first


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("ca_file", "/nowhere/ca.pem", "tls_file_unreadable"),
        ("mechanism", "GSSAPI", "setting_invalid"),
        ("user", "worker", "sasl_password_missing"),
    ],
)
def test_a_command_says_what_is_wrong_before_it_reaches_out(
    tmp_path: Path, key: str, value: str, code: str
) -> None:
    protocol = "SASL_SSL" if key == "user" else "SSL"
    file = written(tmp_path, protocol=protocol, **{key: value})
    ran = run_command("topics", "describe", "fraud", "--config", file, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, code)
    assert ran.json["error"]["fix"]


def test_dev_starts_no_open_kafka_in_place_of_a_secured_one(tmp_path: Path) -> None:
    file = written(tmp_path, protocol="SSL")
    for words, code in (((), "broker_refused"), (("--broker",), "own_broker_is_open")):
        ran = run_command(
            "dev", "fraud", "--config", file, "--bootstrap", "127.0.0.1:1", *words, "--json"
        )
        assert ran.json["error"]["code"] == code


# -- nothing is weakened in silence, and nothing is shown ---------------------------------------


def test_the_name_in_the_certificate_is_checked_unless_switched_off(authority: Authority) -> None:
    security = Security(protocol="SSL", ca_file=authority.file)
    assert security.tls_context().check_hostname
    with pytest.warns(InsecureConnectionWarning, match="check_hostname"):
        Connection(security=dataclasses.replace(security, check_hostname=False))


def test_a_user_without_tls_is_said_unless_it_stays_on_this_machine() -> None:
    security = Security(protocol="SASL_PLAINTEXT", user="worker", password=Secret(PASSWORD))
    assert Connection(bootstrap="127.0.0.1:1", security=security).weaknesses() == []
    with pytest.warns(InsecureConnectionWarning, match="unencrypted"):
        Connection(bootstrap="127.0.0.1:1,kafka:1", security=security)


@pytest.mark.parametrize("command", ["doctor", "check"])
@pytest.mark.filterwarnings("ignore::stream_infer.kafka.security.InsecureConnectionWarning")
def test_a_weakness_is_a_warning_of_doctor_and_check(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("STREAM_INFER_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("STREAM_INFER_SECURITY__PROTOCOL", "SSL")
    monkeypatch.setenv("STREAM_INFER_SECURITY__CHECK_HOSTNAME", "false")
    checks = run_command(command, "fraud", "--json").json["checks"]
    [found] = [each for each in checks if each["name"] == "security"]
    assert (found["status"], "pose as Kafka" in found["detail"]) == ("warning", True)


def test_a_connection_never_shows_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    security = Security(
        protocol="SASL_SSL",
        user="worker",
        password=Secret(PASSWORD),
        key_password=Secret(KEY_PASSWORD),
    )
    connection = Connection(security=security)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("anybody").warning("%s %r", connection, connection)
    shown = f"{connection} {connection!r} {security} {[security]} {dataclasses.asdict(connection)}"
    for secret in (PASSWORD, KEY_PASSWORD):
        assert secret not in shown + caplog.text
    assert "user='worker'" in shown


# -- the broker's side --------------------------------------------------------------------------


def test_a_further_listener_stands_beside_the_first_on_loopback() -> None:
    listener = Listener(name="MINE", protocol="SASL_SSL", settings={"ssl.client.auth": "none"})
    lines = config.server_properties(1000, 1001, listeners=[(listener, 1002)]).splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    assert settings["listeners"].endswith(",MINE://127.0.0.1:1002")
    assert settings["advertised.listeners"].endswith(",MINE://127.0.0.1:1002")
    assert settings["listener.security.protocol.map"].endswith(",MINE:SASL_SSL")
    assert settings["listener.name.mine.ssl.client.auth"] == "none"


@pytest.mark.parametrize("name", ["PLAINTEXT", "CONTROLLER", "mine", "A-B", ""])
def test_a_listener_s_name_is_its_own(name: str) -> None:
    assert code_of(lambda: Listener(name=name, protocol="SSL")).code == "listener_name"


def test_a_listener_s_settings_are_those_of_kafka() -> None:
    tls = tls_settings(keystore=Path("k.pem"), truststore=Path("t.pem"), wants_certificate=True)
    assert tls["ssl.client.auth"] == "required"
    assert (tls["ssl.keystore.type"], tls["ssl.truststore.location"]) == ("PEM", "t.pem")
    sasl = sasl_settings(["PLAIN", "SCRAM-SHA-512"], {"a": 'b"c'})
    assert sasl["plain.sasl.jaas.config"].endswith('PlainLoginModule required user_a="b\\"c";')
    assert sasl["scram-sha-512.sasl.jaas.config"].endswith("ScramLoginModule required;")


def test_a_user_s_password_stands_on_no_command_line() -> None:
    assert PASSWORD not in scram_argument("SCRAM-SHA-512", "worker", PASSWORD)


def test_addresses_are_asked_of_a_started_broker() -> None:
    listener = Listener(name="MINE", protocol="PLAINTEXT")
    with pytest.raises(Exception, match="not started"):
        _ = EmbeddedBroker(listeners=[listener]).addresses
