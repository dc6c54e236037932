"""Certificates and keys on disk, read into a TLS context; each fault by its name.

OpenSSL says ``[SSL] PEM lib`` for most of what can be wrong with a file.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from stream_infer.errors import ConfigError


def load_authorities(context: ssl.SSLContext, file: Path) -> None:
    """Trust the certificates of a PEM file. Raises ConfigError."""
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError as error:
        raise ConfigError(
            "tls_ca_unreadable",
            f"{file} (ca_file) holds no certificate in PEM form.",
            "Name a PEM file with the certificates of those who sign Kafka's"
            " (-----BEGIN CERTIFICATE-----); a Java keystore is exported with keytool -rfc.",
            path=str(file),
        ) from error
    except OSError as error:
        raise _unreadable("ca_file", file, error) from error


def load_certificate(
    context: ssl.SSLContext, file: Path, key_file: Path | None, password: str | None
) -> None:
    """Show a certificate to whoever asks for one. Raises ConfigError.

    key_file  None: the key stands in `file`
    password  of an encrypted key
    """
    for name, each in (("certificate_file", file), ("key_file", key_file)):
        if each is not None:
            try:
                each.open("rb").close()
            except OSError as error:
                raise _unreadable(name, each, error) from error
    asked = []

    def answer() -> str:
        # Without a function OpenSSL would ask whoever sits at the terminal, and wait.
        asked.append(True)
        return password or ""

    try:
        context.load_cert_chain(file, key_file, answer)
    except (ssl.SSLError, ValueError) as error:
        raise _certificate_refused(
            error, file, key_file, password, encrypted=bool(asked)
        ) from error


def _certificate_refused(
    error: Exception,
    file: Path,
    key_file: Path | None,
    password: str | None,
    *,
    encrypted: bool,
) -> ConfigError:
    reason = getattr(error, "reason", None) or ""
    facts = {"certificate_file": str(file), "key_file": str(key_file or file)}
    if reason == "KEY_VALUES_MISMATCH":
        return ConfigError(
            "tls_key_mismatch",
            f"The key in {key_file or file} does not belong to the certificate in {file}.",
            "Name the key for which the certificate was issued.",
            **facts,
        )
    if encrypted:
        word = "is wrong" if password is not None else "is needed and none is given"
        return ConfigError(
            "tls_key_password",
            f"The password of the encrypted key in {key_file or file} {word}.",
            "Set STREAM_INFER_KEY_PASSWORD, or key_password_file in [security].",
            **facts,
        )
    return ConfigError(
        "tls_certificate_unreadable",
        f"{file} (certificate_file) and {key_file or file} (key) cannot be read as PEM.",
        "Name PEM files: a certificate with its chain, and its private key.",
        **facts,
    )


def _unreadable(name: str, file: Path, error: OSError) -> ConfigError:
    return ConfigError(
        "tls_file_unreadable",
        f"{file} ({name}) cannot be read: {error.strerror or error}.",
        f"Correct {name} in [security], or let this user read the file.",
        path=str(file),
    )
