"""How a client proves who it is to Kafka, and Kafka to the client.

`Security` is the one value that holds it: protocol, SASL user, certificates. It is checked
for sense when it is made (no files are touched) and turned into a client's options by
`client_options`, which reads the certificates and says by name what is wrong with them.

Two rules hold throughout:

- a `Secret` shows itself to nobody: not by `repr`, not in a format, not in an error's text;
- what weakens a connection is said, never silent: see `Security.weaknesses`.

Names and meaning are those of Kafka's own clients (Apache Kafka documentation, Security).
"""

from __future__ import annotations

import functools
import hmac
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

from stream_infer.errors import ConfigError
from stream_infer.kafka.certificates import load_authorities, load_certificate

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

DEFAULT_MECHANISM: Mechanism = "SCRAM-SHA-512"
"""Kafka's own default is Kerberos, which few have. SCRAM never sends the password itself."""
HIDDEN = "***"


class InsecureConnectionWarning(UserWarning):
    """Something that protects the connection is switched off."""


class Secret:
    """A text that never shows itself; `reveal` is the one way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, for the library that needs it."""
        return self._text

    def __repr__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Weakness:
    """One way in which a connection protects less than it could."""

    code: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """Protocol and proofs of a connection.

    protocol          PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL
    mechanism         how a SASL user proves the password; None: SCRAM-SHA-512
    user, password    for SASL
    ca_file           PEM file of those who may sign Kafka's certificate; None: this system's
    certificate_file  PEM file of this client's certificate and its chain (mutual TLS)
    key_file          PEM file of its private key; None: it stands in `certificate_file`
    key_password      of an encrypted key
    check_hostname    whether Kafka's certificate must be for the name that was asked for.
                      Without it any holder of a certificate of that CA can pose as Kafka
    Raises            ConfigError where parts are missing or would be unused
    """

    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism | None = None
    user: str | None = None
    password: Secret | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: Secret | None = None
    check_hostname: bool = True

    def __post_init__(self) -> None:
        if self.protocol not in get_args(Protocol):
            _refuse("security_protocol", f"{self.protocol!r} is no security protocol.", Protocol)
        if self.mechanism is not None and self.mechanism not in get_args(Mechanism):
            _refuse("sasl_mechanism", f"{self.mechanism!r} is no SASL mechanism.", Mechanism)
        self._require_whole_sasl()
        self._refuse_unused()

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted and Kafka proves its name."""
        return self.protocol in ("SSL", "SASL_SSL")

    @property
    def sasl(self) -> bool:
        """Whether the client proves a user and a password."""
        return self.protocol in ("SASL_PLAINTEXT", "SASL_SSL")

    def _require_whole_sasl(self) -> None:
        if not self.sasl:
            return
        if not self.user:
            raise ConfigError(
                "sasl_user_missing",
                f"Protocol {self.protocol} needs a user, and none is given.",
                "Set user in [security], or STREAM_INFER_SECURITY__USER.",
            )
        if self.password is None or not self.password.reveal():
            raise ConfigError(
                "sasl_password_missing",
                f"Protocol {self.protocol} needs the password of user {self.user!r}.",
                "Set STREAM_INFER_SASL_PASSWORD, or name a file that holds it: --password-file,"
                " or password_file in [security].",
            )

    def _refuse_unused(self) -> None:
        """Refuse what the protocol would pass over: whoever set it counts on it."""
        sasl = {"user": self.user, "mechanism": self.mechanism}
        tls = {
            "ca_file": self.ca_file,
            "certificate_file": self.certificate_file,
            "key_file": self.key_file,
            "check_hostname": None if self.check_hostname else False,
        }
        unused = [] if self.sasl else [name for name, value in sasl.items() if value is not None]
        if not self.tls:
            unused += [name for name, value in tls.items() if value is not None]
        if unused:
            raise ConfigError(
                "security_unused",
                f"{' and '.join(unused)} would not be used with protocol {self.protocol}.",
                "Set protocol in [security] to SASL_SSL or SSL (TLS), SASL_SSL or SASL_PLAINTEXT"
                " (user and password), or remove what is unused.",
                unused=unused,
            )
        if self.key_file is not None and self.certificate_file is None:
            raise ConfigError(
                "tls_certificate_missing",
                "key_file is set and certificate_file is not.",
                "Name the certificate that belongs to the key, too.",
            )

    def weaknesses(self, hosts: list[str]) -> list[Weakness]:
        """Return what protects less than it could towards these hosts. Pure."""
        found = []
        if not self.check_hostname:
            found.append(
                Weakness(
                    code="hostname_unchecked",
                    message="The name in Kafka's certificate is not checked: whoever holds any"
                    " certificate of the same CA can pose as Kafka.",
                    fix="Remove check_hostname = false and let Kafka's certificate carry the names"
                    " by which clients reach it.",
                )
            )
        if self.protocol == "SASL_PLAINTEXT" and not all(map(_is_loopback, hosts)):
            how = "the password itself" if self.mechanism == "PLAIN" else "all that follows"
            found.append(
                Weakness(
                    code="sasl_unencrypted",
                    message=f"SASL_PLAINTEXT sends {how} unencrypted over the network.",
                    fix="Use a SASL_SSL listener of Kafka.",
                )
            )
        return found

    def client_options(self) -> dict[str, Any]:
        """Return the keyword arguments of an aiokafka client; none for PLAINTEXT.

        Raises  ConfigError for files that are missing, unreadable or do not fit together
        """
        if self.protocol == "PLAINTEXT":
            return {}
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.tls:
            options["ssl_context"] = self.tls_context()
        if self.sasl and self.password is not None:
            options["sasl_mechanism"] = self.mechanism or DEFAULT_MECHANISM
            options["sasl_plain_username"] = self.user
            options["sasl_plain_password"] = self.password.reveal()
        return options

    def tls_context(self) -> ssl.SSLContext:
        """Return the TLS side of a client. Shared between clients while the files are the same."""
        files = (self.ca_file, self.certificate_file, self.key_file)
        return _tls_context(self, tuple(_changed_ns(file) for file in files))


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _refuse(code: str, message: str, words: Any) -> NoReturn:
    raise ConfigError(code, message, f"Use one of {', '.join(get_args(words))}.")


def _changed_ns(file: Path | None) -> int:
    try:
        return file.stat().st_mtime_ns if file else 0
    except OSError:
        return 0  # whoever reads it says what is wrong


@functools.lru_cache(maxsize=16)
def _tls_context(security: Security, _changed_ns: tuple[int, ...]) -> ssl.SSLContext:
    # Reading this system's certificates takes 20 ms, and a worker makes a client per partition.
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    if security.ca_file is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        load_authorities(context, security.ca_file)
    if security.certificate_file is not None:
        password = security.key_password.reveal() if security.key_password else None
        load_certificate(context, security.certificate_file, security.key_file, password)
    context.check_hostname = security.check_hostname
    return context
