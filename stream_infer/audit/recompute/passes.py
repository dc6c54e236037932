"""With which declarations and which models a log is folded: one run of its input for each.

Outputs say which features and which model they were made with. Each run judges those that were
made with its own; the first run also judges what was not found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stream_infer.audit.recompute.origins import Stamp
from stream_infer.audit.recompute.versions import check_alike
from stream_infer.errors import ConflictError, StreamInferError
from stream_infer.features.plan import Plan, compile_plan
from stream_infer.pipeline import Pipeline
from stream_infer.scoring.binding import bind_model
from stream_infer.scoring.conditions import ConditionScorer
from stream_infer.scoring.model import Model, load_model
from stream_infer.scoring.session import Scorer

Find = Callable[[str, str], Model]
"""Returns a version of a model by name and version; raises StreamInferError. Blocks."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One run: the declarations, and the model that scores; None where none does."""

    plan: Plan
    scorer: Scorer | ConditionScorer | None = None


class Folds:
    """The runs of one recomputation; owns which there are, and grows by what outputs name.

    pipeline  the declarations of now
    earlier   those of before, for the same topics
    models    loaded models or their folders, the one that serves now first
    find      finds further versions that outputs are stamped with; None: there are none
    Raises    ConflictError for a model that fits none of the declarations; ConfigError
              ``earlier_pipeline_differs``
    """

    def __init__(
        self,
        pipeline: Pipeline,
        earlier: Sequence[Pipeline],
        models: Sequence[Any],
        find: Find | None,
    ) -> None:
        self.plans = [compile_plan(each) for each in (pipeline, *earlier)]
        for plan in self.plans[1:]:
            check_alike(self.plans[0], plan)
        self._find = find
        self._scoring = [
            self._bound(each if isinstance(each, Model) else load_model(each)) for each in models
        ]
        self._asked: set[tuple[str, str]] = set()
        self.reasons: list[str] = []
        """Why a version that outputs are stamped with could not be had."""

    def of(self, *, scores: bool, is_stamped: bool) -> list[Fold]:
        """Return the runs of a stage's input, that of what serves now first.

        scores      whether it is the stage that scores
        is_stamped  whether its outputs say what they were made with
        """
        own = [fold for fold in self._scoring if fold.plan is self.plans[0]]
        first = own[0] if own else Fold(self.plans[0])
        if scores:
            return [first, *(fold for fold in self._scoring if fold is not first)]
        return [first, *(Fold(plan) for plan in self.plans[1:])] if is_stamped else [first]

    def fetch(self, stamps: set[Stamp]) -> None:
        """Find the versions that outputs are stamped with and that are not at hand. Blocks."""
        if self._find is None:
            return
        have = {(fold.scorer.name, fold.scorer.version) for fold in self._scoring if fold.scorer}
        for stamp in sorted(stamps, key=str):
            if stamp.model is None or stamp.version is None:
                continue
            version = (stamp.model, stamp.version)
            if version in have or version in self._asked:
                continue
            self._asked.add(version)
            try:
                self._scoring.append(self._bound(self._find(*version)))
            except StreamInferError as error:
                self.reasons.append(
                    f"Model {stamp.model} version {stamp.version} cannot be had: {error.message}"
                )

    def _bound(self, model: Model) -> Fold:
        """Return a model with the declarations that it was made for."""
        manifest = model.manifest
        for plan in self.plans:
            if manifest.features_fingerprint in (plan.fingerprint, plan.meaning):
                return Fold(plan, bind_model(model, plan))
        try:
            return Fold(self.plans[0], bind_model(model, self.plans[0]))
        except ConflictError as error:
            error.fix = (
                "Give the declarations that it was made for, from your version control, with "
                "--also-pipeline FILE."
            )
            raise
