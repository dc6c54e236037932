"""Where secrets come from: a variable of the environment or a file, never a flag or the TOML file.

A command line can be read by everybody on the machine and stays in the shell's history; a
configuration file is copied, committed and printed. So neither takes a secret's text.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from stream_infer.errors import ConfigError
from stream_infer.kafka.security import Secret

SASL_PASSWORD_VARIABLE = "STREAM_INFER_SASL_PASSWORD"  # noqa: S105 - a name, no password
KEY_PASSWORD_VARIABLE = "STREAM_INFER_KEY_PASSWORD"  # noqa: S105 - as above
SECRET_BYTES_MAX = 64 * 1024


def read_secret(
    variable: str, file: Path | None, setting: str, environment: Mapping[str, str] = os.environ
) -> Secret | None:
    """Return the secret of a variable or a file, None when neither is given.

    variable  its name
    file      a text file that holds the secret and nothing else; one line break at its end
              is no part of it
    setting   name of the setting that names the file, for errors
    Raises    ConfigError when both are given, or the file cannot be read or is empty. No
              error holds the file's name: a password may stand where its file is meant
    """
    text = environment.get(variable)
    if file is None:
        return Secret(text) if text else None
    if text:
        raise ConfigError(
            "secret_twice",
            f"Both {variable} and {setting} are set.",
            "Unset the variable, or do not name the file.",
            setting=setting,
            variable=variable,
        )
    return Secret(_content(file, setting, variable))


def _content(file: Path, setting: str, variable: str) -> str:
    try:
        with file.open("rb") as stream:
            text = stream.read(SECRET_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise _unusable(setting, variable, f"cannot be read: {reason}") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise _unusable(setting, variable, "is empty")
    return secret


def _unusable(setting: str, variable: str, what: str) -> ConfigError:
    return ConfigError(
        "secret_unreadable",
        f"The file that {setting} names {what}.",
        f"Let {setting} be the path of a file that holds the secret and that this user may read;"
        f" or set {variable}.",
        setting=setting,
    )
