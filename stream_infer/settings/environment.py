"""Which variables of the environment are ours: a misspelt one must not pass unnoticed.

pydantic reads the sections that it knows and passes over every other name, so
``STREAM_INFER_WROKER__START=latest`` would start a worker at the earliest record.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping

from stream_infer.errors import ConfigError

PREFIX = "STREAM_INFER_"
BOOTSTRAP_VARIABLE = f"{PREFIX}BOOTSTRAP"
_READ_ELSEWHERE = ("BOOTSTRAP", "CACHE", "DATA", "KEY_PASSWORD", "SASL_PASSWORD", "STATE")
"""By the embedded Kafka, by tests, the short form of an address, and secrets."""
_TEST_PREFIX = "TEST_"
_SERVICE_LINK = re.compile(
    r"(^|_)(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$"
)
"""What Kubernetes sets in every container for a service that is called ``stream-infer...``
(https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables)."""


def check_environment(names: Iterable[str], sections: Mapping[str, Iterable[str]]) -> None:
    """Raise `ConfigError` for the first variable that looks like ours and that nobody reads.

    names     of the environment's variables
    sections  section -> its keys; none where any key may stand
    """
    for name in sorted(names):
        variable = name.upper()
        if not variable.startswith(PREFIX):
            continue
        word = variable.removeprefix(PREFIX)
        if word.partition("__")[0].lower() in sections or _is_read_elsewhere(word):
            continue
        near = _nearest(word, sections)
        raise ConfigError(
            "setting_unknown",
            f"There is no setting for the variable {name}.",
            f"Did you mean {PREFIX}{near}?" if near else "Unset it, or give it another name.",
            setting=name,
            source="the environment",
        )


def variable_of(section: str, key: str) -> str | None:
    """Return the variable that sets the key: its own, its section's as JSON, or the short one."""
    own = f"{PREFIX}{section}__{key}".upper()
    names = {name.upper(): name for name in os.environ}
    for name in sorted(names):
        # Deeper ones name a part of the value, such as the unit of a field.
        if name == own or name.startswith(f"{own}__"):
            return names[name]
    whole = names.get(f"{PREFIX}{section}".upper())
    if whole is not None:
        with contextlib.suppress(json.JSONDecodeError):  # refused when the settings were loaded
            if key in json.loads(os.environ[whole]):
                return whole
    if (section, key) == ("kafka", "bootstrap") and os.environ.get(BOOTSTRAP_VARIABLE):
        return BOOTSTRAP_VARIABLE
    return None


def _is_read_elsewhere(word: str) -> bool:
    if word in _READ_ELSEWHERE or word.startswith(_TEST_PREFIX):
        return True
    return _SERVICE_LINK.search(word) is not None


def _nearest(word: str, sections: Mapping[str, Iterable[str]]) -> str | None:
    section, separator, key = word.partition("__")
    by_section = {name.upper(): keys for name, keys in sections.items()}
    close = difflib.get_close_matches(section, by_section, n=1)
    if separator and close:
        return f"{close[0]}__{key}"
    known = [f"{name}__{key.upper()}" for name, keys in by_section.items() for key in keys]
    close = difflib.get_close_matches(word, [*_READ_ELSEWHERE, *known], n=1)
    return close[0] if close else None
