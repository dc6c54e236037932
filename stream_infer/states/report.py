"""What a build made, partition by partition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from stream_infer.checkpoints.manifest import Manifest

Outcome = Literal["written", "exists", "empty"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One partition's checkpoint.

    stage, topic, partition  whose state
    outcome   ``written``; ``exists`` where what is there holds as much; ``empty`` where nothing was
              read yet, so that a worker begins with nothing
    offset    first offset that is not in it
    folded    records, or rows of a history, that it was folded of now
    keys, entries, bytes     of the checkpoint
    checkpoint               its id, None where there is none
    """

    stage: str
    topic: str
    partition: int
    outcome: Outcome
    offset: int
    folded: int = 0
    keys: int = 0
    entries: int = 0
    bytes: int = 0
    checkpoint: str | None = None

    @classmethod
    def of(cls, manifest: Manifest, outcome: Outcome, folded: int) -> Built:
        """Return what a checkpoint's manifest says."""
        return cls(
            stage=manifest.stage,
            topic=manifest.topic,
            partition=manifest.partition,
            outcome=outcome,
            offset=manifest.offset,
            folded=folded,
            keys=manifest.keys,
            entries=manifest.entries,
            bytes=manifest.bytes,
            checkpoint=manifest.id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """All that a build made.

    pipeline  whose
    base      which history the folds began with; None for a build from the log
    rows      rows of that history
    skipped   bad rows that were left out
    built     by stage and partition
    """

    pipeline: str
    base: str | None = None
    rows: int = 0
    skipped: int = 0
    built: list[Built]

    def as_json(self) -> dict[str, Any]:
        """Return the form that ``--json`` prints."""
        names = Built.__slots__
        return {
            "pipeline": self.pipeline,
            "base": self.base,
            "rows": self.rows,
            "skipped": self.skipped,
            "checkpoints": [{name: getattr(each, name) for name in names} for each in self.built],
        }
