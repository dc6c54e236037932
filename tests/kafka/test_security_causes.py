"""What goes wrong between a client and a secured Kafka has one name and one fix.

Every case is put to a real listener: what a broker says depends on its kind, and often it only
hangs up.
"""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import errors as kafka_errors

from stream_infer.errors import BrokerError
from stream_infer.kafka.connection import Connection, diagnose, reach
from stream_infer.kafka.security import Secret, Security
from stream_infer.kafka.security_causes import tls_refused
from support.commands import run_command
from support.secure_kafka import DAY, KEY_PASSWORD, NOW, PASSWORD, SecureKafka, changed

pytestmark = pytest.mark.kafka

USER: dict[str, Any] = {"user": "worker", "password": Secret(PASSWORD)}
WRONG = Secret("wrong-horse-9912")
Case = Callable[[SecureKafka], Connection]


def to_plaintext(kafka: SecureKafka, security: Security) -> Connection:
    return Connection(bootstrap=kafka.open_bootstrap, security=security)


GOOD: dict[str, Case] = {
    "SCRAM-SHA-512 over TLS": lambda kafka: kafka.user("worker"),
    "SCRAM-SHA-256 over TLS": lambda kafka: kafka.user("worker", "SCRAM-SHA-256"),
    "PLAIN over TLS": lambda kafka: kafka.user("worker", "PLAIN"),
    "SCRAM without TLS": lambda kafka: kafka.at("SASL", "SASL_PLAINTEXT", **USER),
    "TLS": lambda kafka: kafka.at("TLS", "SSL"),
    "a certificate of its own": lambda kafka: kafka.at(
        "MTLS", "SSL", certificate_file=kafka.authority.issue("client")
    ),
    "an encrypted key": lambda kafka: kafka.at(
        "MTLS",
        "SSL",
        certificate_file=kafka.authority.issue("hidden", password=KEY_PASSWORD),
        key_password=Secret(KEY_PASSWORD),
    ),
}


@pytest.mark.parametrize("case", GOOD)
async def test_a_client_that_fits_its_listener_reaches_kafka(
    secured: SecureKafka, case: str
) -> None:
    connection = GOOD[case](secured)
    assert await reach(connection) == [connection.bootstrap]


BAD: dict[str, tuple[str, Case]] = {
    "TLS to a plaintext port": (
        "broker_not_tls",
        lambda kafka: to_plaintext(kafka, Security(protocol="SSL")),
    ),
    "TLS and a user to a plaintext port": (
        "broker_not_tls",
        lambda kafka: to_plaintext(kafka, Security(protocol="SASL_SSL", **USER)),
    ),
    "TLS to a port with users": ("broker_not_tls", lambda kafka: kafka.at("SASL", "SSL")),
    "plaintext to a TLS port": ("broker_needs_tls", lambda kafka: kafka.at("TLS")),
    "plaintext to TLS and users": ("broker_needs_tls", lambda kafka: kafka.at("SASL_SSL")),
    "plaintext to a port that wants certificates": (
        "broker_needs_tls",
        lambda kafka: kafka.at("MTLS"),
    ),
    "a user without TLS to a TLS port": (
        "broker_needs_tls",
        lambda kafka: kafka.at("SASL_SSL", "SASL_PLAINTEXT", **USER),
    ),
    "nobody to a port with users": ("broker_needs_sasl", lambda kafka: kafka.at("SASL")),
    "nobody to TLS and users": ("broker_needs_sasl", lambda kafka: kafka.at("SASL_SSL", "SSL")),
    "a user to a plaintext port": (
        "broker_not_sasl",
        lambda kafka: to_plaintext(kafka, Security(protocol="SASL_PLAINTEXT", **USER)),
    ),
    "a user to a TLS port without users": (
        "broker_not_sasl",
        lambda kafka: kafka.at("TLS", "SASL_SSL", **USER),
    ),
    "a mechanism that is not offered": (
        "broker_mechanism",
        lambda kafka: kafka.at("SASL", "SASL_PLAINTEXT", mechanism="PLAIN", **USER),
    ),
    "a wrong password by SCRAM": (
        "broker_login",
        lambda kafka: changed(kafka.user("worker"), password=WRONG),
    ),
    "a wrong password by PLAIN": (
        "broker_login",
        lambda kafka: changed(kafka.user("worker", "PLAIN"), password=WRONG),
    ),
    "an unknown user": ("broker_login", lambda kafka: changed(kafka.user("worker"), user="who")),
    "an unknown CA": (
        "broker_certificate_unknown",
        lambda kafka: changed(kafka.user("worker"), ca_file=kafka.stranger.file),
    ),
    "the system's CAs": (
        "broker_certificate_unknown",
        lambda kafka: changed(kafka.user("worker"), ca_file=None),
    ),
    "an expired certificate": (
        "broker_certificate_expired",
        lambda kafka: kafka.at("EXPIRED", "SSL"),
    ),
    "a certificate for another name": (
        "broker_certificate_hostname",
        lambda kafka: kafka.at("ELSEWHERE", "SSL"),
    ),
    "no certificate of the client": (
        "client_certificate_missing",
        lambda kafka: kafka.at("MTLS", "SSL"),
    ),
    "a client's certificate by a stranger": (
        "client_certificate_refused",
        lambda kafka: kafka.at("MTLS", "SSL", certificate_file=kafka.stranger.issue("alien")),
    ),
    "an expired certificate of the client": (
        "client_certificate_refused",
        lambda kafka: kafka.at(
            "MTLS", "SSL", certificate_file=kafka.authority.issue("late", ends=NOW - DAY)
        ),
    ),
}


@pytest.mark.parametrize("case", BAD)
async def test_each_misfit_has_its_name_and_its_fix(secured: SecureKafka, case: str) -> None:
    code, make = BAD[case]
    connection = make(secured)
    with pytest.raises(BrokerError) as raised:
        await reach(connection)
    assert (raised.value.code, bool(raised.value.fix)) == (code, True)
    assert raised.value.details["address"] == connection.bootstrap
    shown = f"{raised.value} {raised.value.envelope()}"
    assert PASSWORD not in shown
    assert WRONG.reveal() not in shown


async def test_the_fix_names_the_protocol_and_the_mechanisms_of_the_listener(
    secured: SecureKafka,
) -> None:
    with pytest.raises(BrokerError) as raised:
        await reach(secured.at("SASL_SSL"))
    assert raised.value.details["listener"] == "SASL_SSL"
    assert "SCRAM-SHA-512" in raised.value.message
    with pytest.raises(BrokerError) as raised:
        await reach(secured.at("SASL_SSL", "SSL"))
    assert set(raised.value.details["mechanisms"]) == {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}


async def test_a_client_that_only_lost_its_way_learns_the_cause(secured: SecureKafka) -> None:
    connection = changed(secured.user("worker"), password=WRONG)
    lost = kafka_errors.KafkaConnectionError("Unable to bootstrap")
    assert (await diagnose(lost, connection)).code == "broker_login"


async def test_one_address_that_fits_is_enough(secured: SecureKafka) -> None:
    good = secured.user("worker")
    both = dataclasses.replace(good, bootstrap=f"{secured.addresses['SASL']},{good.bootstrap}")
    assert await reach(both) == [good.bootstrap]


async def test_an_unchecked_name_is_let_through_and_said(secured: SecureKafka) -> None:
    with pytest.warns(UserWarning, match="can pose as Kafka"):
        connection = secured.at("ELSEWHERE", "SSL", check_hostname=False)
    assert await reach(connection) == [connection.bootstrap]


def test_the_broker_s_file_with_passwords_is_for_its_owner_only(secured: SecureKafka) -> None:
    file = secured.broker.folder / "server.properties"
    assert PASSWORD in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


@pytest.fixture
def environment(secured: SecureKafka, monkeypatch: pytest.MonkeyPatch) -> SecureKafka:
    for name, value in secured.environment("worker").items():
        monkeypatch.setenv(name, value)
    return secured


@pytest.mark.parametrize(
    ("variable", "value", "cause"),
    [
        ("SASL_PASSWORD", "wrong-horse-9912", "user or password is wrong"),
        ("SECURITY__CA_FILE", "stranger", "is not taken"),
        ("BOOTSTRAP", "SASL", "speaks without TLS"),
    ],
)
def test_doctor_and_check_name_the_cause(
    environment: SecureKafka,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    cause: str,
) -> None:
    known = {"stranger": str(environment.stranger.file), **environment.addresses}
    monkeypatch.setenv(f"STREAM_INFER_{variable}", known.get(value, value))
    for command, key in (("doctor", "failed"), ("check", "failed")):
        ran = run_command(command, "fraud", "--json")
        [kafka] = [each for each in ran.json["checks"] if each["name"] == "kafka"]
        assert (kafka["status"], cause in kafka["detail"]) == (key, True), ran.out
        assert kafka["fix"]


def test_a_tls_failure_of_another_kind_is_told_with_its_reason() -> None:
    error = ssl.SSLError(1, "[SSL: NO_SHARED_CIPHER] no shared cipher")
    error.reason = "NO_SHARED_CIPHER"
    found = tls_refused(error, "kafka:9093", has_certificate=False)
    assert found is not None
    assert (found.code, found.details["reason"]) == ("broker_tls", "NO_SHARED_CIPHER")
