"""Topics that checkpoints lie in."""

from __future__ import annotations


def chunks_topic(pipeline: str) -> str:
    """Return the topic of the chunks; key ``<id>/<number>``."""
    return f"{pipeline}-checkpoints"


def manifests_topic(pipeline: str) -> str:
    """Return the topic of the manifests, of one partition.

    Key: ``<stage>/<topic>-<partition>/<offset>/<id>``.
    """
    return f"{pipeline}-checkpoint-manifests"
