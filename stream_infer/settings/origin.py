"""Where each setting comes from: the rule of `loading`, told instead of carried out.

A flag goes before the environment, the environment before the file, the file before the
default. Which values hold is read from the loaded settings themselves, so that what is told
here is what a command would use; only the place is looked up again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stream_infer.settings.config_file import read_config_file
from stream_infer.settings.environment import variable_of
from stream_infer.settings.loading import Settings, load_settings
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
    variable = variable_of(section, key)
    if variable is not None:
        return "environment", variable
    if key in in_file.get(section, {}):
        return "file", str(path)
    return "default", ""
