"""Why Kafka and a client do not come together: TLS, users, certificates. Pure.

the listener and this client speak differently
  broker_not_tls       TLS was asked for, and the listener speaks without
  broker_needs_tls     the listener speaks TLS
  broker_not_sasl      a user was given, and the listener asks for none
  broker_needs_sasl    the listener asks for a user
  broker_mechanism     the listener does not know this SASL mechanism
who is who
  broker_login                 user or password is wrong
  broker_certificate_unknown   Kafka's certificate is signed by nobody whom we trust
  broker_certificate_hostname  it is for other names than the one asked for
  broker_certificate_expired   it is past its time, or not yet valid
  broker_certificate_invalid   anything else that is wrong with it
  client_certificate_missing   Kafka wants a certificate of this client
  client_certificate_refused   Kafka does not take the one it was shown
  broker_tls                   any other failure of TLS
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable

from stream_infer.errors import BrokerError

# -- the listener and this client speak differently ---------------------------------------------


def _protocol(*, tls: bool, sasl: bool) -> str:
    return {(0, 0): "PLAINTEXT", (1, 0): "SSL", (0, 1): "SASL_PLAINTEXT", (1, 1): "SASL_SSL"}[
        tls, sasl
    ]


def _sasl_words(mechanisms: Iterable[str] | None) -> str:
    return f" with a user (it takes {', '.join(mechanisms)})" if mechanisms is not None else ""


def no_tls(address: str, protocol: str, mechanisms: Iterable[str] | None) -> BrokerError:
    """Return the error for TLS towards a listener that speaks without."""
    fits = _protocol(tls=False, sasl=mechanisms is not None)
    return BrokerError(
        "broker_not_tls",
        f"{protocol} was asked for, and Kafka's listener at {address} speaks without TLS.",
        f"Give the address of Kafka's {protocol} listener; this one is {fits}.",
        address=address,
        listener=fits,
    )


def tls_wanted(address: str, protocol: str, mechanisms: Iterable[str] | None) -> BrokerError:
    """Return the error for a client without TLS towards a listener that speaks TLS."""
    fits = _protocol(tls=True, sasl=mechanisms is not None or protocol.startswith("SASL"))
    return BrokerError(
        "broker_needs_tls",
        f"The listener at {address} speaks TLS{_sasl_words(mechanisms)}, and this client"
        f" {protocol}.",
        f'Set protocol = "{fits}" in [security], and ca_file unless this system knows who signs'
        " Kafka's certificate.",
        address=address,
        listener=fits,
    )


def no_sasl(address: str, protocol: str) -> BrokerError:
    """Return the error for a user towards a listener that asks for none."""
    fits = _protocol(tls=protocol.endswith("SSL"), sasl=False)
    return BrokerError(
        "broker_not_sasl",
        f"{protocol} was asked for, and Kafka's listener at {address} asks for no user.",
        f'Give the address of Kafka\'s {protocol} listener, or set protocol = "{fits}".',
        address=address,
        listener=fits,
    )


def sasl_wanted(address: str, protocol: str, mechanisms: Iterable[str]) -> BrokerError:
    """Return the error for a client without a user towards a SASL listener."""
    offered = list(mechanisms)
    fits = _protocol(tls=protocol == "SSL", sasl=True)
    return BrokerError(
        "broker_needs_sasl",
        f"Kafka's listener at {address} asks for a user ({', '.join(offered)}), and this client"
        f" speaks {protocol}.",
        f'Set protocol = "{fits}", mechanism, user and the password (password_file, or'
        " STREAM_INFER_SASL_PASSWORD) in [security].",
        address=address,
        listener=fits,
        mechanisms=offered,
    )


def mechanism_refused(address: str, mechanism: str, offered: Iterable[str]) -> BrokerError:
    """Return the error for a SASL mechanism that the listener does not take."""
    known = list(offered)
    return BrokerError(
        "broker_mechanism",
        f"Kafka's listener at {address} does not take {mechanism}; it takes {', '.join(known)}.",
        "Set mechanism in [security] to one of them, or enable this one in Kafka"
        " (sasl.enabled.mechanisms).",
        address=address,
        mechanisms=known,
    )


# -- who is who ---------------------------------------------------------------------------------


def proof_refused(address: str, user: str, mechanism: str) -> BrokerError:
    """Return the error for a wrong user or password; Kafka does not say which of the two."""
    return BrokerError(
        "broker_login",
        f"Kafka at {address} refuses user {user!r} with {mechanism}: user or password is wrong.",
        "Check both. With SCRAM the user must have a password for this very mechanism"
        " (kafka-configs --describe --entity-type users).",
        address=address,
        user=user,
        mechanism=mechanism,
    )


_EXPIRED = 10
_NOT_YET_VALID = 9
_UNKNOWN_SIGNERS = frozenset({2, 18, 19, 20, 21})
_OTHER_NAMES = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_... (openssl/x509_vfy.h)."""
_ABOUT_OUR_CERTIFICATE = re.compile(r"ALERT_.*CERTIFICATE|ALERT_UNKNOWN_CA|ALERT_ACCESS_DENIED")
_NOT_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING"}
)


def tls_refused(error: ssl.SSLError, address: str, *, has_certificate: bool) -> BrokerError | None:
    """Return the error for what went wrong in TLS; None when the peer may not speak TLS at all."""
    reason = error.reason or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_refused(error, address)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) or reason in _NOT_TLS:
        return None
    if _ABOUT_OUR_CERTIFICATE.search(reason):
        return own_certificate_refused(address, reason, has_certificate=has_certificate)
    return BrokerError(
        "broker_tls",
        f"TLS with Kafka at {address} failed: {reason or error}.",
        "Let Kafka and this client agree on a TLS version (1.2 or 1.3) and a cipher"
        " (ssl.enabled.protocols, ssl.cipher.suites).",
        address=address,
        reason=reason,
    )


def _certificate_refused(error: ssl.SSLCertVerificationError, address: str) -> BrokerError:
    number, said = error.verify_code, error.verify_message.rstrip(".")
    if number in (_EXPIRED, _NOT_YET_VALID):
        code = "broker_certificate_expired"
        fix = "Give Kafka a certificate that is valid now, and check the clock of this machine."
    elif number in _OTHER_NAMES:
        code = "broker_certificate_hostname"
        fix = (
            "Reach Kafka by a name that its certificate carries, or give it one with this name"
            " (subject alternative name)."
        )
    elif number in _UNKNOWN_SIGNERS:
        code = "broker_certificate_unknown"
        fix = "Set ca_file in [security] to the certificate of the CA that signs Kafka's."
    else:
        code = "broker_certificate_invalid"
        fix = "Give Kafka a certificate without this fault."
    return BrokerError(
        code,
        f"Kafka's certificate at {address} is not taken: {said}.",
        fix,
        address=address,
        reason=said,
    )


def own_certificate_refused(address: str, reason: str, *, has_certificate: bool) -> BrokerError:
    """Return the error for a client whose certificate Kafka misses or does not take."""
    if not has_certificate:
        return BrokerError(
            "client_certificate_missing",
            f"Kafka at {address} wants a certificate of this client (mutual TLS), and none is set.",
            "Set certificate_file and key_file in [security].",
            address=address,
            reason=reason,
        )
    return BrokerError(
        "client_certificate_refused",
        f"Kafka at {address} does not take this client's certificate ({reason}).",
        "Use a certificate that is valid now and signed by a CA of Kafka's ssl.truststore.",
        address=address,
        reason=reason,
    )
