"""Reads the configuration file; paths in it are relative to the file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from stream_infer.errors import ConfigError, NotFoundError
from stream_infer.settings.sections import SecuritySection

_SECURITY_FILES = tuple(
    ("security", name) for name in SecuritySection.model_fields if name.endswith("_file")
)


def read_config_file(path: Path) -> dict[str, Any]:
    """Return what the file holds; paths in it are relative to the file, not to whoever reads it."""
    content = _read_toml(path)
    named = (("pipeline", "file"), ("model", "path"), ("model", "registry"), *_SECURITY_FILES)
    for section, key in named:
        keys = content.get(section)
        if not isinstance(keys, dict):
            continue
        place = keys.get(key)
        if key == "registry" and isinstance(place, str):
            # An object store is no file; a folder is meant without a scheme alone.
            keys[key] = place if "://" in place else str(path.parent / place)
            continue
        # A built-in pipeline is a word, not a path.
        if isinstance(place, str) and (section == "security" or "." in place or "/" in place):
            keys[key] = str(path.parent / place)
    return content


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError(
            "config_missing",
            f"There is no configuration file {str(path)!r}.",
            "Check the path given with --config.",
            path=str(path),
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(
            "config_unreadable",
            f"{path} cannot be read as TOML: {error}",
            "Mend the file at that place.",
            path=str(path),
        ) from error
