"""What is to be recomputed, and with what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stream_infer.audit.recompute.passes import Find
from stream_infer.events.mapping import FieldMapping
from stream_infer.pipeline import Pipeline
from stream_infer.settings.worker import WorkerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputation:
    """What is recomputed, and with what.

    pipeline      as its workers run it
    earlier       the same pipeline with declarations that outputs in the logs were made by before
    models        loaded models or their folders, the one that serves now first; none for a
                  pipeline without a model
    find          finds further versions that outputs are stamped with, such as those of a registry
    settings      of the workers, as far as outputs follow from them (`unknown_fields`, and where
                  `checkpoints` are that folds began with)
    fields, label_fields   where the fields stand in the user's own JSON
    delivery      what the workers promise
    twins         share of the keys that the slow twins compute too
    """

    pipeline: Pipeline
    models: Sequence[Any]
    settings: WorkerSettings
    fields: FieldMapping | None = None
    label_fields: FieldMapping | None = None
    delivery: str = "exactly_once"
    twins: float = 0.0
    earlier: Sequence[Pipeline] = ()
    find: Find | None = None
