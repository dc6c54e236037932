"""The security of a connection as Faust takes it, for the clients that Faust makes itself.

Faust's driver hands its credentials to aiokafka as they are (``security_protocol``,
``sasl_mechanism``, user, password, ``ssl_context``), SCRAM over TLS included. Its own class for
TLS cannot make a context by itself (it passes no purpose), so it is always given ours, and its
messages name the user only.
"""

from __future__ import annotations

from typing import Any

from faust.auth import SASLCredentials, SSLCredentials
from faust.types.auth import CredentialsT

from stream_infer.kafka.connection import Connection
from stream_infer.kafka.security import DEFAULT_MECHANISM


def faust_credentials(connection: Connection) -> CredentialsT | None:
    """Return Faust's ``broker_credentials`` for a connection, None for PLAINTEXT.

    Raises  ConfigError for certificates that are missing, unreadable or do not fit together
    """
    security = connection.security
    if security.sasl and security.password is not None:
        return SASLCredentials(
            username=security.user,
            password=security.password.reveal(),
            mechanism=security.mechanism or DEFAULT_MECHANISM,
            ssl_context=security.tls_context() if security.tls else None,
        )
    return SSLCredentials(security.tls_context()) if security.tls else None


def faust_options(connection: Connection) -> dict[str, Any]:
    """Return the settings of a `faust.App` that the security of a connection asks for."""
    credentials = faust_credentials(connection)
    return {} if credentials is None else {"broker_credentials": credentials}
