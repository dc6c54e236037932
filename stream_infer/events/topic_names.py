"""Names that follow from a pipeline's declaration: its stages and the topics between them."""

from __future__ import annotations

from stream_infer.features.spec import Custom, Last, Since, Windowed
from stream_infer.pipeline import Pipeline

DEAD_LETTERS = "dead-letters"
LATE_EVENTS = "late-events"
SHADOW_SCORES = "shadow-scores"
MODEL_EVIDENCE = "model-evidence"
OPERATIONS_ALERTS = "operations-alerts"


def stage_entities(pipeline: Pipeline) -> tuple[str, ...]:
    """Return the entity of each stage: the input's key, then others in order of first use."""
    used = [
        item.by for item in pipeline.features if isinstance(item, Windowed | Last | Since | Custom)
    ]
    return tuple(dict.fromkeys([pipeline.events.key, *used]))


def internal_entities(pipeline: Pipeline) -> tuple[str, ...]:
    """Return the entities whose stage reads an internal topic, in log order."""
    entities = stage_entities(pipeline)
    return entities if pipeline.rekeys else entities[1:]


def candidates_topic(pipeline: Pipeline) -> str | None:
    """Return the topic in front of the alert stage, None for a pipeline without alerts.

    >>> from stream_infer.pipelines.fraud import pipeline
    >>> candidates_topic(pipeline)
    'fraud.candidates'
    """
    if pipeline.alerts is None:
        return None
    word = "candidates" if pipeline.conditions is None else "conditions"
    return f"{pipeline.name}.{word}"


def lists_topic(pipeline: Pipeline) -> str | None:
    """Return the topic in which users keep allow and block lists, None where there are none."""
    if pipeline.alerts is None or not pipeline.alerts.lists:
        return None
    return f"{pipeline.name}-lists"


def skips_topic(pipeline: Pipeline) -> str:
    """Return the topic that names the records which every fold passes over.

    >>> from stream_infer.pipelines.fraud import pipeline
    >>> skips_topic(pipeline)
    'fraud-skips'
    """
    return f"{pipeline.name}-skips"


def progress_topic(pipeline: Pipeline) -> str | None:
    """Return the topic in which workers tell each other how far their partitions are.

    None where no log of ours is fed by partitions that could run apart.

    >>> from stream_infer.pipelines.fraud import pipeline
    >>> progress_topic(pipeline)
    'fraud-progress'
    """
    if not internal_entities(pipeline) and candidates_topic(pipeline) is None:
        return None
    return f"{pipeline.name}-progress"


def guard_group(pipeline: str) -> str:
    """Return the consumer group whose one active member decides about a pipeline's versions.

    >>> guard_group("fraud")
    'fraud.guard'
    """
    return f"{pipeline}.guard"


def guard_topic(pipeline: Pipeline) -> str | None:
    """Return the topic in which guards write down what is known; None where nobody guards.

    >>> from stream_infer.pipelines.fraud import pipeline
    >>> guard_topic(pipeline)
    'fraud-guard'
    """
    if pipeline.model is None or pipeline.conditions is not None:
        return None
    return f"{pipeline.name}-guard"


def models_topic(pipeline: Pipeline) -> str | None:
    """Return the topic that tells workers which versions serve, None for one without a model.

    >>> from stream_infer.pipelines.fraud import pipeline
    >>> models_topic(pipeline)
    'fraud-models'
    """
    return None if pipeline.model is None else f"{pipeline.name}-models"


def internal_topic(pipeline: Pipeline, entity: str) -> str:
    """Return the name of the topic in front of the stage that is keyed by `entity`.

    >>> from stream_infer.pipelines.fraud import pipeline
    >>> internal_topic(pipeline, "terminal_id")
    'fraud.by-terminal'
    """
    known = pipeline.events.known
    if known is not None and entity == pipeline.events.key:
        return f"{pipeline.name}.by-{known.place}"
    return f"{pipeline.name}.by-{entity.removesuffix('_id').replace('_', '-')}"
