"""A finished model on disk: its folder with the report beside it, and its place in a registry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stream_infer.models.writing import write_model
from stream_infer.registry.registry import Registry
from stream_infer.scoring.manifest import Manifest


def report_files(report: Mapping[str, Any], page: str, name: str = "report") -> dict[str, bytes]:
    """Return the files of a report: ``<name>.json`` and the page ``<name>.html``."""
    return {
        f"{name}.json": (json.dumps(report, indent=1) + "\n").encode(),
        f"{name}.html": page.encode(),
    }


def write_version(
    content: bytes,
    manifest: Manifest,
    files: Mapping[str, bytes],
    out: Path,
    registry: Registry | str | None,
) -> dict[str, Any]:
    """Write ``<out>/<name>/<version>`` and say where; publish it, too, where a registry is given.

    files     what is told of the version: name -> content
    registry  opened, or where it is: then it is opened once the folder is written, so that a
              registry that cannot be used takes nobody's model away
    Raises    as `write_model`, `Registry.open` and `Registry.publish_next`
    """
    folder = out / manifest.name / manifest.version
    write_model(folder, content, manifest)
    for name, file in files.items():
        (folder / name).write_bytes(file)
    said: dict[str, Any] = {"folder": str(folder)}
    if registry is None:
        return said
    opened = registry if isinstance(registry, Registry) else Registry.open(registry, create=True)
    published = opened.publish_next(content, manifest, files)
    said["published"] = {"registry": opened.place, "version": published.manifest.version}
    return said
