"""From a model and labelled rows to candidates, each measured and judged, and one recommended.

What is chosen (the verdicts, the recommended one, row chunks) is chosen on the validation days. The
test days are scored by everything and told, and choose nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ConflictError, GateFailedError
from stream_infer.optimizing.drafts import DoesNotApplyError, Draft, original_draft
from stream_infer.optimizing.material import Material, Stretch, gather_material
from stream_infer.optimizing.measuring import (
    Measure,
    Quality,
    described,
    scorer_of,
    with_tuned_chunk,
)
from stream_infer.optimizing.recipes import ORIGINAL, Recipe, chosen_recipes
from stream_infer.optimizing.timing import ROUNDS, Speed, load_ms, measure_speeds
from stream_infer.optimizing.verdicts import (
    Choice,
    Compared,
    Tolerance,
    Verdict,
    judge,
    pareto_front,
    recommend,
)
from stream_infer.scoring.manifest import Manifest
from stream_infer.scoring.model import Model, open_session
from stream_infer.training.days import Protocol
from stream_infer.training.samples import Samples

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for.

    protocol    days of training and test, delay of labels
    tolerance   what may be lost
    only        names of candidates; None for all
    seed        of learners and draws
    threads     for learners whose result does not depend on it
    keep_known  whether customers of known frauds stay among the rows that are measured on
    """

    protocol: Protocol
    tolerance: Tolerance = field(default_factory=Tolerance)
    only: tuple[str, ...] | None = None
    seed: int = 0
    threads: int = 1
    keep_known: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """A model with all that is measured of it.

    manifest          under which it scores, its tuned row chunk in it
    load_ms           processor time of opening it
    validation, test  figures on these days
    speed             in turns with all others
    speedup           rows a second as a multiple of the original's: middle, low and high quartile
    over_float        the same against the float graph that it was quantised from, None for others
    """

    draft: Draft
    manifest: Manifest
    load_ms: float
    validation: Quality
    test: Quality
    speed: Speed
    speedup: tuple[float, float, float]
    over_float: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One recipe and what became of it.

    measured  None where it does not apply
    why       where it does not apply, the reason
    verdict   by the validation days
    on_test   what the same tolerance says of the test days; it decides nothing
    """

    recipe: Recipe
    measured: Measured | None
    why: str
    verdict: Verdict
    on_test: Verdict | None


@dataclass(frozen=True, slots=True)
class Optimised:
    """The outcome.

    recommended  name of the candidate to take, None where nothing qualifies
    front        names, the original's too, that none beats at both speed and average precision
    """

    request: Request
    validation: Stretch
    test: Stretch
    original: Measured
    candidates: Sequence[Candidate]
    recommended: str | None
    front: Sequence[str]

    @property
    def chosen(self) -> Candidate | None:
        """The recommended candidate."""
        return next((c for c in self.candidates if c.recipe.name == self.recommended), None)


def optimise(
    content: bytes, model: Model, samples: Samples, request: Request, tell: Tell
) -> Optimised:
    """Make, measure and judge candidates.

    content  of the model's file
    Raises   ConflictError ``model_forecasts``, ``model_answers_no_number``; UsageError
             ``unknown_candidate``, ``test_before_labels``; InvalidDataError ``no_rows``,
             ``one_class``, ``no_folds``
    """
    if model.manifest.outputs:
        raise ConflictError(
            "model_forecasts",
            f"The model {model.name} answers with {', '.join(model.manifest.outputs)}; what is "
            "optimised are models that answer with a probability.",
            "Name a model of a pipeline with labels.",
        )
    recipes = chosen_recipes(request.only)
    tell(f"scoring {len(samples):,} rows by {model.name} {model.version}")
    material, validation, test = gather_material(
        content,
        model,
        samples,
        request.protocol,
        keep_known=request.keep_known,
        seed=request.seed,
        threads=request.threads,
    )
    drafts, refused = make_drafts(material, recipes, tell)
    measured = _measured(material, drafts, validation, test, tell)
    candidates = [
        _judged(recipe, drafts, measured, refused, request.tolerance) for recipe in recipes
    ]
    choices = [
        Choice(
            each.recipe.name,
            each.measured.validation.figures["average_precision"],
            each.measured.speed.rows_per_s,
            len(each.measured.draft.content),
        )
        for each in candidates
        if each.measured is not None and each.verdict.adopt
    ]
    points = {
        name: (each.speed.rows_per_s, each.validation.figures["average_precision"])
        for name, each in measured.items()
    }
    return Optimised(
        request,
        validation,
        test,
        measured[ORIGINAL],
        candidates,
        recommend(choices),
        pareto_front(points),
    )


def make_drafts(
    material: Material, recipes: Sequence[Recipe], tell: Tell
) -> tuple[dict[str, Draft], dict[str, str]]:
    """Return the drafts by name, the original first, and why the others do not apply."""
    drafts = {ORIGINAL: original_draft(material)}
    refused: dict[str, str] = {}
    for at, recipe in enumerate(recipes):
        tell(f"making {at + 1} of {len(recipes)}: {recipe.name}")
        source = drafts.get(recipe.source)
        if source is None:
            refused[recipe.name] = f"{recipe.source} does not apply: {refused[recipe.source]}"
            continue
        try:
            drafts[recipe.name] = recipe.make(material, source)
        except DoesNotApplyError as error:
            refused[recipe.name] = str(error)
        except GateFailedError as error:
            # One that cannot be converted exactly is refused; the others are still of use.
            refused[recipe.name] = error.message
    return drafts, refused


def _measured(
    material: Material,
    drafts: dict[str, Draft],
    validation: Stretch,
    test: Stretch,
    tell: Tell,
) -> dict[str, Measured]:
    """Measure all drafts: figures one after the other, speed in turns."""
    base = material.model.manifest
    measures = [Measure(stretch, base.thresholds, material.seed) for stretch in (validation, test)]
    rows = validation.samples.matrix
    manifests, loads = {}, {}
    qualities: dict[str, tuple[Quality, Quality]] = {}
    for at, (name, draft) in enumerate(drafts.items()):
        tell(f"measuring {at + 1} of {len(drafts)}: {name}")
        manifest = described(draft.content, base, draft.row_chunk)
        manifests[name] = with_tuned_chunk(draft.content, manifest, rows)
        loads[name] = load_ms(partial(open_session, draft.content))
        scorer = scorer_of(draft.content, manifests[name])
        scores = [_numbers(scorer.score(each.stretch.samples.matrix)) for each in measures]
        limits = base.thresholds if name == ORIGINAL else measures[0].thresholds(scores[0])
        manifests[name] = msgspec.structs.replace(manifests[name], thresholds=limits)
        first, second = (
            measure.quality(said, limits) for measure, said in zip(measures, scores, strict=True)
        )
        qualities[name] = first, second
    tell(f"timing {len(drafts)} models in turns")
    scorers = {
        name: scorer_of(draft.content, manifests[name]).score for name, draft in drafts.items()
    }
    speeds = measure_speeds(scorers, rows, rounds=ROUNDS)
    return {
        name: Measured(
            draft,
            manifests[name],
            loads[name],
            *qualities[name],
            speeds[name],
            speeds[name].over(speeds[ORIGINAL]),
            _over_float(name, drafts, speeds),
        )
        for name, draft in drafts.items()
    }


def _numbers(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return scores with 0 for what is no number: such a row is found by nobody."""
    return np.where(np.isfinite(scores), scores, np.float32(0))


def _over_float(
    name: str, drafts: dict[str, Draft], speeds: dict[str, Speed]
) -> tuple[float, float, float] | None:
    if not drafts[name].quantised:
        return None
    source = next(recipe.source for recipe in chosen_recipes(None) if recipe.name == name)
    return speeds[name].over(speeds[source])


def _judged(
    recipe: Recipe,
    drafts: dict[str, Draft],
    measured: dict[str, Measured],
    refused: dict[str, str],
    tolerance: Tolerance,
) -> Candidate:
    if recipe.name in refused:
        why = refused[recipe.name]
        return Candidate(recipe, None, why, Verdict(False, (f"does not apply: {why}",)), None)  # noqa: FBT003
    mine = measured[recipe.name]
    size = len(drafts[recipe.name].content) / len(drafts[ORIGINAL].content)
    verdict, on_test = (
        judge(
            Compared(
                drop=quality.drop.value,
                drop_low=quality.drop.low,
                drop_high=quality.drop.high,
                right_lost=quality.flips.right_lost_share,
                flips=quality.flips.share,
                speedup=mine.speedup[0],
                speedup_low=mine.speedup[1],
                size=size,
                over_float=None if mine.over_float is None else mine.over_float[0],
                over_float_low=0.0 if mine.over_float is None else mine.over_float[1],
            ),
            tolerance,
        )
        for quality in (mine.validation, mine.test)
    )
    return Candidate(recipe, mine, "", verdict, on_test)
