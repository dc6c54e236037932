"""What a command finds in the folder in which it runs: the configuration and the pipeline.

Only commands for people at work look there (`dev`, `doctor`, `config`). A worker is told
everything, so that it does not depend on where it was started.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stream_infer.errors import NotFoundError, StreamInferError, UsageError

if TYPE_CHECKING:
    from stream_infer.settings.loading import Settings

CONFIG_FILE = "stream-infer.toml"


def config_to_read(given: Path | None) -> Path | None:
    """Return the configuration that was named, else the folder's own, else None."""
    if given is not None:
        return given
    own = Path(CONFIG_FILE)
    return own if own.is_file() else None


def pipeline_to_load(given: str | None, settings: Settings) -> tuple[str, str]:
    """Return a reference to the pipeline, and how it was found.

    In this order: named on the command line, by the configuration, the only file of the folder
    that declares one.
    Raises  NotFoundError ``pipeline_not_found``, UsageError ``several_pipelines``
    """
    if given is not None:
        return given, "named on the command line"
    if settings.pipeline.file is not None:
        return settings.pipeline.file, "named by the configuration"
    found = sorted(filter(_declares_pipeline, Path().glob("*.py")))
    if not found:
        raise NotFoundError(
            "pipeline_not_found",
            f"No file of {Path().absolute()} declares a pipeline.",
            "Name one, such as fraud or path/to/shop.py; or begin with: stream-infer init shop.",
        )
    if len(found) > 1:
        names = ", ".join(map(str, found))
        raise UsageError(
            "several_pipelines",
            f"Several files here declare a pipeline: {names}.",
            f"Name one: stream-infer dev {found[0]}; or set `file` below [pipeline] in"
            f" {CONFIG_FILE}.",
        )
    return str(found[0]), "the only one in this folder"


def _declares_pipeline(path: Path) -> bool:
    """Say whether running the file makes a pipeline; a file that does not name it is not run."""
    from stream_infer.pipelines.loading import load_pipeline

    try:
        if "Pipeline" not in path.read_text("utf-8"):
            return False
    except (OSError, UnicodeDecodeError):
        return False
    try:
        load_pipeline(str(path))
    except NotFoundError:
        return False  # it uses pipelines and declares none
    except StreamInferError:
        pass  # a broken one is meant too: whoever loads it says what is wrong
    return True
