"""Models that ship in the package, one folder per name and version.

They are made by `stream-infer train` (``python -m benchmarks.ready_models``) and by nothing else.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from stream_infer.errors import NotFoundError


def ready_models_root() -> Path:
    """Return the folder that holds the models that ship."""
    return Path(str(files(__name__)))


def ready_model_dir(name: str) -> Path:
    """Return the folder of the newest version of a model that ships.

    Raises  NotFoundError ``model_not_found``, naming those that there are
    """
    root = ready_models_root()
    # The name is compared, not joined to the path: "../x" finds nothing.
    versions = {
        folder.name: [each for each in folder.iterdir() if each.name.isdecimal()]
        for folder in root.iterdir()
        if folder.is_dir() and not folder.name.startswith("_")
    }
    found = versions.get(name)
    if not found:
        known = ", ".join(sorted(each for each in versions if versions[each]))
        raise NotFoundError(
            "model_not_found",
            f"No model named {name!r} ships with stream-infer.",
            f"Name one of those that do ({known}), or the folder of a model of your own.",
            name=name,
        )
    return max(found, key=lambda folder: int(folder.name))
