"""Further listeners of an embedded Kafka: TLS, SASL, ACLs. Pure.

The first listener stays as it is: unencrypted, on loopback, for whoever started the broker.
With ACLs (`acl_settings`) it is the one that may do everything, so that the rules can be set.

    tls = tls_settings(keystore=Path("broker.pem"), truststore=Path("ca.pem"))
    sasl = sasl_settings(["SCRAM-SHA-512"])
    EmbeddedBroker(
        listeners=[Listener(name="SASL_SSL", protocol="SASL_SSL", settings=tls | sasl)],
        scram_users={"worker": "..."},
        config=acl_settings(),
    )

Source: Apache Kafka 4.3 documentation, Security; KIP-103 (settings by listener), KIP-651 (PEM).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from stream_infer.errors import ConfigError

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_TAKEN = frozenset({"PLAINTEXT", "CONTROLLER"})
_LOGIN = "org.apache.kafka.common.security"


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A further listener, on loopback.

    name      a word in capitals, its own; those of the broker's first two are taken
    host      what clients are told to connect to; it must mean loopback
    settings  by Kafka's names, for this listener only
    Raises    ConfigError for a name that cannot be used
    """

    name: str
    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
    host: str = "127.0.0.1"
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name in _TAKEN or not _NAME.fullmatch(self.name):
            raise ConfigError(
                "listener_name",
                f"{self.name!r} cannot name a further listener.",
                f"Use capitals, digits and '_', and none of {', '.join(sorted(_TAKEN))}.",
            )

    def properties(self) -> dict[str, str]:
        """Return its settings as they stand in ``server.properties``."""
        prefix = f"listener.name.{self.name.lower()}."
        return {prefix + key: value for key, value in self.settings.items()}


def tls_settings(
    *, keystore: Path, truststore: Path | None = None, wants_certificate: bool = False
) -> dict[str, str]:
    """Return the settings of a listener with TLS.

    keystore           PEM file: private key, then the certificate and its chain
    truststore         PEM file of those who may sign clients' certificates
    wants_certificate  whether a client must show one (mutual TLS)
    """
    settings = {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(keystore)}
    if truststore is not None:
        settings |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(truststore)}
    return settings | {"ssl.client.auth": "required" if wants_certificate else "none"}


def sasl_settings(
    mechanisms: Sequence[str], plain_users: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the settings of a listener with SASL.

    mechanisms   PLAIN, SCRAM-SHA-256, SCRAM-SHA-512; users of SCRAM are the broker's
    plain_users  user -> password, for PLAIN
    """
    settings = {"sasl.enabled.mechanisms": ",".join(mechanisms)}
    for mechanism in mechanisms:
        if mechanism == "PLAIN":
            users = "".join(
                f" user_{name}={_quoted(password)}"
                for name, password in (plain_users or {}).items()
            )
            module = f"{_LOGIN}.plain.PlainLoginModule required{users};"
        else:
            module = f"{_LOGIN}.scram.ScramLoginModule required;"
        settings[f"{mechanism.lower()}.sasl.jaas.config"] = module
    return settings


def acl_settings() -> dict[str, str]:
    """Return the settings of a broker that allows only what an ACL grants.

    Whoever comes unnamed may do everything: the broker itself and its first listener.
    """
    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
