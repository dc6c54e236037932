"""A real Kafka with certificates, users and ACLs, one listener for each way to reach it.

    SASL_SSL   TLS and a user: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
    SASL       a user, no TLS; SCRAM-SHA-512 only
    TLS        TLS, no user
    MTLS       TLS, and the client must show a certificate
    EXPIRED    TLS with a certificate that is past its time
    ELSEWHERE  TLS with a certificate for another name
    NOWHERE    no TLS, no user; it tells clients to go to a name that has no address

The certificates are made on the spot and are good for one day. `open_bootstrap` is the
listener at which everything is allowed.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stream_infer.broker import EmbeddedBroker, Listener
from stream_infer.broker.listeners import acl_settings, sasl_settings, tls_settings
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.security import Mechanism, Protocol, Secret, Security
from support.kafka import BROKER_CONFIG

PASSWORD = "correct-horse-7281"  # noqa: S105 - of users that live as long as this test's broker
KEY_PASSWORD = "battery-staple-3391"  # noqa: S105 - as above
USERS = ("producer", "worker", "subscriber", "console", "operator", "nobody")
DAY = dt.timedelta(days=1)
NOW = dt.datetime.now(dt.UTC)


class Authority:
    """A CA with its folder of PEM files."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = (
            _builder(self.name, self.name, self.key)
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        name: str,
        *hosts: str,
        ends: dt.datetime = NOW + DAY,
        password: str | None = None,
    ) -> Path:
        """Write a PEM file of a key and its certificate; its subject is ``CN=name``."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            _builder(subject, self.name, key).not_valid_before(ends - 2 * DAY).not_valid_after(ends)
        )
        if hosts:
            names = x509.SubjectAlternativeName([_alternative(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        hidden: Any = serialization.NoEncryption()
        if password is not None:
            hidden = serialization.BestAvailableEncryption(password.encode())
        file = self.folder / f"{name}.pem"
        file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        return file


def _builder(subject: x509.Name, issuer: x509.Name, key: Any) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@dataclass(frozen=True)
class SecureKafka:
    """The running broker and what its clients need.

    addresses  listener -> bootstrap
    """

    broker: EmbeddedBroker
    addresses: dict[str, str]
    authority: Authority
    stranger: Authority

    @property
    def open_bootstrap(self) -> str:
        """Where everything is allowed."""
        return self.broker.bootstrap

    def open(self) -> Connection:
        """Return a connection that may do everything."""
        return Connection(bootstrap=self.open_bootstrap)

    def at(self, listener: str, protocol: Protocol = "PLAINTEXT", **security: Any) -> Connection:
        """Return a connection to a listener; with TLS the CA is known unless said otherwise."""
        if protocol.endswith("SSL"):
            security.setdefault("ca_file", self.authority.file)
        return Connection(
            bootstrap=self.addresses[listener],
            connect_timeout_ms=5_000,
            security=Security(protocol=protocol, **security),
        )

    def user(self, name: str, mechanism: Mechanism = "SCRAM-SHA-512") -> Connection:
        """Return a user's connection over TLS."""
        return self.at(
            "SASL_SSL", "SASL_SSL", user=name, password=Secret(PASSWORD), mechanism=mechanism
        )

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a command that a user runs."""
        return {
            "STREAM_INFER_BOOTSTRAP": self.addresses["SASL_SSL"],
            "STREAM_INFER_SECURITY__PROTOCOL": "SASL_SSL",
            "STREAM_INFER_SECURITY__USER": name,
            "STREAM_INFER_SECURITY__CA_FILE": str(self.authority.file),
            "STREAM_INFER_SASL_PASSWORD": PASSWORD,
        }

    def certified_environment(self, name: str) -> dict[str, str]:
        """Return the environment of a command whose user shows a certificate: ``User:CN=name``."""
        certificate = self.authority.issue(name, password=KEY_PASSWORD)
        return {
            "STREAM_INFER_BOOTSTRAP": self.addresses["MTLS"],
            "STREAM_INFER_SECURITY__PROTOCOL": "SSL",
            "STREAM_INFER_SECURITY__CA_FILE": str(self.authority.file),
            "STREAM_INFER_SECURITY__CERTIFICATE_FILE": str(certificate),
            "STREAM_INFER_KEY_PASSWORD": KEY_PASSWORD,
        }


def changed(connection: Connection, **security: Any) -> Connection:
    """Return the connection with parts of its security replaced."""
    return replace(connection, security=replace(connection.security, **security))


@contextmanager
def secure_kafka(folder: Path) -> Iterator[SecureKafka]:
    """Run the broker."""
    authority, stranger = Authority(folder, "authority"), Authority(folder, "stranger")
    good = authority.issue("broker", "localhost", "127.0.0.1")
    expired = authority.issue("expired-broker", "localhost", "127.0.0.1", ends=NOW - DAY)
    elsewhere = authority.issue("other-broker", "kafka.example.org")
    users = dict.fromkeys(USERS, PASSWORD)
    sasl = sasl_settings(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], users)
    listeners = (
        Listener(name="SASL_SSL", protocol="SASL_SSL", settings=tls_settings(keystore=good) | sasl),
        Listener(name="SASL", protocol="SASL_PLAINTEXT", settings=sasl_settings(["SCRAM-SHA-512"])),
        Listener(name="TLS", protocol="SSL", settings=tls_settings(keystore=good)),
        Listener(
            name="MTLS",
            protocol="SSL",
            settings=tls_settings(keystore=good, truststore=authority.file, wants_certificate=True),
        ),
        Listener(name="EXPIRED", protocol="SSL", settings=tls_settings(keystore=expired)),
        Listener(name="ELSEWHERE", protocol="SSL", settings=tls_settings(keystore=elsewhere)),
        Listener(name="NOWHERE", protocol="PLAINTEXT", host="no-such-host.invalid"),
    )
    with EmbeddedBroker(
        listeners=listeners, scram_users=users, config=BROKER_CONFIG | acl_settings()
    ) as broker:
        yield SecureKafka(broker, broker.addresses, authority, stranger)
