"""Where each setting comes from: the rule of `loading`, told instead of carried out.

A flag goes before the environment, the environment before the file, the file before the
default. Which values hold is read from the loaded settings themselves, so that what is told
here is what a command would use; only the place is looked up again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stream_infer.settings.environment import BOOTSTRAP_VARIABLE, PREFIX
from stream_infer.settings.loading import Settings, load_settings, read_config_file
from stream_infer.settings.sections import SECTIONS

Origin = Literal["default", "file", "environment", "flag"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One setting.

    name   ``section.key``
    value  as it holds, in the unit in which it is kept (durations: ms)
    where  the file's path, the variable's or the flag's name; empty for a default
    """

    name: str
    value: Any
    origin: Origin
    where: str


def explain_settings(
    path: Path | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[Settings, list[Told]]:
    """Return the settings of a run, and each of them with its origin.

    Arguments and errors are those of `load_settings`.
    """
    settings = load_settings(path, overrides)
    in_file = read_config_file(path) if path else {}
    told = []
    for section, keys in _held(settings).items():
        for key, value in keys.items():
            origin, where = _origin(section, key, overrides or {}, in_file, path)
            told.append(Told(name=f"{section}.{key}", value=value, origin=origin, where=where))
    return settings, told


def _held(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return section -> key -> value, the sections of free keys last."""
    typed = {name: getattr(settings, name).model_dump(mode="json") for name in sorted(SECTIONS)}
    return typed | {"fields": settings.fields, "label_fields": settings.label_fields}


def _origin(
    section: str,
    key: str,
    overrides: Mapping[str, Mapping[str, Any]],
    in_file: Mapping[str, Any],
    path: Path | None,
) -> tuple[Origin, str]:
    if overrides.get(section, {}).get(key) is not None:
        return "flag", f"--{'model' if section == 'model' else key.replace('_', '-')}"
    variable = _variable(section, key)
    if variable is not None:
        return "environment", variable
    if key in in_file.get(section, {}):
        return "file", str(path)
    return "default", ""


def _variable(section: str, key: str) -> str | None:
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
