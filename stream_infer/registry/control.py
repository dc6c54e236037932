"""What a registry's history means to the workers: see `stream_infer.events.told`."""

from __future__ import annotations

from stream_infer.events.told import Served, Told
from stream_infer.registry.entry import CHALLENGER, CHAMPION, FAST, SHADOW
from stream_infer.registry.registry import Registry

SERVING = (CHAMPION, CHALLENGER, SHADOW, FAST)
"""The aliases that mean something to a worker."""


def what_serves(registry: Registry, model: str) -> Told | None:
    """Return what is to be told about a model; None before the first entry of its history.

    Raises  NotFoundError ``version_not_found`` where an alias names a version that was deleted
    """
    standing = registry.standing(model)
    if not standing.number:
        return None
    aliases = standing.aliases
    return Told(
        model=model,
        number=standing.number,
        served={
            alias: Served(
                version=aliases[alias], sha256=registry.manifest(model, aliases[alias]).sha256
            )
            for alias in SERVING
            if alias in aliases
        },
        share=standing.share,
    )
