"""A finished model on disk: its folder with the report beside it, and its place in a registry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stream_infer.models.writing import write_model
from stream_infer.registry.registry import Registry
from stream_infer.scoring.manifest import Manifest

REPORT_PAGE = "report.html"
REPORT_JSON = "report.json"


def write_version(
    content: bytes,
    manifest: Manifest,
    report: Mapping[str, Any],
    page: str,
    out: Path,
    registry: str | None,
    more: Mapping[str, bytes] | None = None,
) -> dict[str, Any]:
    """Write ``<out>/<name>/<version>`` and say where; publish it, too, where a registry is named.

    more    further files of the version: name -> content
    Raises  as `write_model` and `Registry.publish_next`
    """
    folder = out / manifest.name / manifest.version
    write_model(folder, content, manifest)
    files = {
        REPORT_JSON: (json.dumps(report, indent=1) + "\n").encode(),
        REPORT_PAGE: page.encode(),
        **(more or {}),
    }
    for name, file in files.items():
        (folder / name).write_bytes(file)
    said: dict[str, Any] = {"folder": str(folder)}
    if registry is not None:
        opened = Registry.open(registry, create=True)
        published = opened.publish_next(content, manifest, files)
        said["published"] = {"registry": opened.place, "version": published.manifest.version}
    return said
