"""Puts the stages of a pipeline together from its declaration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stream_infer.alerts.declared import compile_alerts
from stream_infer.alerts.maker import CandidateMaker
from stream_infer.alerts.spec import Alerts
from stream_infer.alerts.stage import AlertEmitter, AlertReader
from stream_infer.dataplane.alerting import AlertStage
from stream_infer.dataplane.answers import Answering, Probabilities, RoadConditions
from stream_infer.dataplane.earlier_versions import EarlierVersions
from stream_infer.dataplane.emitters import (
    CandidateWriter,
    ForwardEmitter,
    ScoreEmitter,
    placed_by,
)
from stream_infer.dataplane.listing import BroadcastEmitter, ListReader
from stream_infer.dataplane.readers import InputReader, InternalReader, PartitionCheck
from stream_infer.dataplane.side import SideOutputs, SideTopic
from stream_infer.dataplane.silent import SILENT, SilenceCandidates
from stream_infer.dataplane.stage import Emitter, FeatureStage, Stage
from stream_infer.durations import parse_duration
from stream_infer.events.decode import EventDecoder, LabelDecoder
from stream_infer.events.internal import InternalDecoder
from stream_infer.events.internal_encoding import encode_tick
from stream_infer.events.mapping import FieldMapping
from stream_infer.events.topic_names import SHADOW_SCORES, candidates_topic, lists_topic
from stream_infer.features.plan import Plan
from stream_infer.kafka.topic_specs import DEAD_LETTERS, LATE_EVENTS, internal_topic
from stream_infer.pipeline import Pipeline
from stream_infer.scoring.conditions import ConditionScorer
from stream_infer.scoring.session import Scorer
from stream_infer.serving.forecaster import Forecaster
from stream_infer.serving.router import Router, Serving
from stream_infer.settings.worker import WorkerSettings

REKEY_STAGE = "rekey"
LIST_STAGE = "lists"
LABEL_STAGE = "labels"
NO_FEATURES = "none"
"""`features_version` of records that carry no features yet."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the stages are built from.

    plan        the compiled pipeline
    scorer      the model, bound as the pipeline wants it, or what chooses between versions of it;
                None when the pipeline has none
    partitions  topic -> number of partitions
    settings    how the worker runs
    mapping     field mapping of the events, None for the contract's own form
    labels      field mapping of the labels
    earlier     what of other declarations came before this process; None: nothing did of features,
                anything may have of alerts
    """

    plan: Plan
    scorer: Scorer | ConditionScorer | Router | Forecaster | None
    partitions: Mapping[str, int]
    settings: WorkerSettings
    mapping: FieldMapping | None = None
    labels: FieldMapping | None = None
    earlier: EarlierVersions | None = None

    @property
    def pipeline(self) -> Pipeline:
        """The declaration."""
        return self.plan.pipeline


def build_stages(parts: Parts) -> list[Stage]:
    """Return the stages in the order in which data passes them."""
    side = SideOutputs(
        group=parts.pipeline.name,
        dead_letters=SideTopic(DEAD_LETTERS, parts.partitions[DEAD_LETTERS]),
        late_events=SideTopic(LATE_EVENTS, parts.partitions[LATE_EVENTS]),
    )
    stages: list[Stage] = []
    if parts.pipeline.rekeys:
        stages.append(_rekey_stage(parts, side))
    stages += [_fold_stage(parts, side, index) for index in range(len(parts.plan.stages))]
    if parts.pipeline.labels is not None:
        stages.append(_label_stage(parts, side))
    lists = lists_topic(parts.pipeline)
    if lists is not None:
        stages.append(_list_stage(parts, lists, side))
    if parts.pipeline.alerts is not None:
        stages.append(_alert_stage(parts, parts.pipeline.alerts, side))
    return stages


def stage_topics(plan: Plan) -> list[str]:
    """Return the topic that each folding stage reads."""
    entities = [stage.entity for stage in plan.stages]
    internal = [internal_topic(plan.pipeline, entity) for entity in entities]
    first = internal[0] if plan.pipeline.rekeys else plan.pipeline.events.topic
    return [first, *internal[1:]]


def read_topics(plan: Plan) -> list[str]:
    """Return the topic that each stage reads, those that fold first."""
    pipeline = plan.pipeline
    topics = stage_topics(plan)
    topics += [pipeline.events.topic] if pipeline.rekeys else []
    topics += [pipeline.labels.topic] if pipeline.labels is not None else []
    others = (candidates_topic(pipeline), lists_topic(pipeline))
    return [*topics, *(topic for topic in others if topic is not None)]


def _fold_stage(parts: Parts, side: SideOutputs, index: int) -> FeatureStage:
    plan, topics = parts.plan, stage_topics(parts.plan)
    stage_plan = plan.stages[index]
    last, alerts = index == len(plan.stages) - 1, parts.pipeline.alerts
    from_users = index == 0 and not parts.pipeline.rekeys
    emitter: Emitter
    if last:
        answering = _answering(parts)
        emitter = ScoreEmitter(
            plan,
            answering,
            parts.partitions[plan.pipeline.scored],
            _candidate_writer(parts, answering),
            parts.partitions.get(SHADOW_SCORES),
        )
    else:
        emitter = _forward(parts, topics[index + 1], plan.stages[index + 1].entity, index)
    return FeatureStage(
        name=stage_plan.entity.removesuffix("_id"),
        topic=topics[index],
        feeds=candidates_topic(plan.pipeline) if last else topics[index + 1],
        reader=_event_reader(parts) if from_users else _internal_reader(parts, index),
        plan=stage_plan,
        emitter=emitter,
        side=side,
        make_tick=None if from_users else _tick_maker(parts, index),
        lists=alerts.lists if last and alerts is not None else (),
    )


def _tick_maker(parts: Parts, index: int) -> Callable[[int], bytes]:
    """Return what makes the ticks of a stage's log; only a log of ours may have any."""
    events, version = parts.pipeline.events, _version_before(parts.plan, index)
    return lambda event_time: encode_tick(events, version, event_time)


def _answering(parts: Parts) -> Answering:
    """Return what speaks about the pipeline's rows."""
    publishes, scorer = parts.settings.publish_features, parts.scorer
    if parts.pipeline.conditions is None:
        if isinstance(scorer, ConditionScorer | Forecaster):
            raise TypeError("a pipeline without conditions is scored by a probability")
        router = Router(Serving(scorer)) if isinstance(scorer, Scorer) else scorer
        return Probabilities(parts.plan, router, publish_features=publishes)
    if not isinstance(scorer, ConditionScorer | Forecaster):
        scorer = ConditionScorer(parts.plan, None)
    forecaster = scorer if isinstance(scorer, Forecaster) else Forecaster(scorer)
    return RoadConditions(parts.plan, forecaster, publish_features=publishes)


def _candidate_writer(parts: Parts, answering: Answering) -> CandidateWriter | None:
    alerts, topic = parts.pipeline.alerts, candidates_topic(parts.pipeline)
    if alerts is None or topic is None:
        return None
    plan, events = compile_alerts(alerts, parts.pipeline.name), parts.pipeline.events
    watches = parts.plan.stages[-1].silence is not None
    levels = (*answering.levels, SILENT) if watches else answering.levels
    maker = CandidateMaker(plan, events, parts.plan.feature_names, levels=levels)
    silent = SilenceCandidates(plan, events) if watches else None
    return CandidateWriter(topic, maker, silent, parts.partitions[topic])


def _alert_stage(parts: Parts, alerts: Alerts, side: SideOutputs) -> AlertStage:
    topic = candidates_topic(parts.pipeline)
    if topic is None:
        raise ValueError("the pipeline has no alerts")
    plan = compile_alerts(alerts, parts.pipeline.name)
    return AlertStage(
        topic=topic,
        plan=plan,
        reader=AlertReader(plan),
        emitter=AlertEmitter(plan, parts.pipeline.events.sensitive),
        partitions=parts.partitions[alerts.topic],
        side=side,
        earlier=parts.earlier,
    )


def _event_reader(parts: Parts) -> InputReader:
    events = parts.pipeline.events
    checked = events.partitioning == "checked" and not parts.pipeline.rekeys
    return InputReader(
        EventDecoder(events, parts.mapping, parts.settings.unknown_fields),
        future_max_ms=parse_duration(parts.pipeline.future_max),
        check=PartitionCheck(events.topic, events.key, parts.partitions[events.topic])
        if checked
        else None,
    )


def _internal_reader(parts: Parts, index: int) -> InternalReader:
    count = sum(len(stage.names) for stage in parts.plan.stages[:index])
    stage = parts.plan.stages[index]
    return InternalReader(
        InternalDecoder(parts.pipeline.events, _version_before(parts.plan, index), count),
        parts.earlier,
        folds_features=any(set(custom.of) & set(stage.earlier) for _, custom in stage.customs),
    )


def _rekey_stage(parts: Parts, side: SideOutputs) -> FeatureStage:
    """Put events into the right partition when their producer does not."""
    topic = internal_topic(parts.pipeline, parts.pipeline.events.key)
    return FeatureStage(
        name=REKEY_STAGE,
        topic=parts.pipeline.events.topic,
        feeds=topic,
        reader=_event_reader(parts),
        plan=None,
        emitter=_forward(parts, topic, parts.pipeline.events.key, -1),
        side=side,
    )


def _label_stage(parts: Parts, side: SideOutputs) -> FeatureStage:
    """Bring labels into the log of the stage that folds them."""
    labels = parts.pipeline.labels
    if labels is None:
        raise ValueError("the pipeline has no labels")
    entities = [stage.entity for stage in parts.plan.stages]
    index = entities.index(labels.by)
    topic = stage_topics(parts.plan)[index]
    return FeatureStage(
        name=LABEL_STAGE,
        topic=labels.topic,
        feeds=topic,
        reader=InputReader(
            LabelDecoder(labels, parts.pipeline.events, parts.labels),
            future_max_ms=parse_duration(parts.pipeline.future_max),
            check=None,
            by_label_time=True,
        ),
        plan=None,
        emitter=_forward(parts, topic, labels.by, index - 1),
        side=side,
    )


def _list_stage(parts: Parts, topic: str, side: SideOutputs) -> FeatureStage:
    """Bring lists into the log of the stage that decides."""
    events, index = parts.pipeline.events, len(parts.plan.stages) - 1
    log = stage_topics(parts.plan)[index]
    return FeatureStage(
        name=LIST_STAGE,
        topic=topic,
        feeds=log,
        reader=ListReader(events),
        plan=None,
        emitter=BroadcastEmitter(
            events, log, parts.partitions[log], _version_before(parts.plan, index)
        ),
        side=side,
        reads_all=True,
    )


def _forward(parts: Parts, topic: str, entity: str, index: int) -> ForwardEmitter:
    return ForwardEmitter(
        events=parts.pipeline.events,
        topic=topic,
        place=placed_by(parts.partitions[topic], parts.pipeline.events, entity),
        features_version=_version_before(parts.plan, index + 1),
    )


def _version_before(plan: Plan, index: int) -> str:
    """Return the version of the features that records in front of stage `index` carry."""
    return plan.stages[index - 1].features_version if index > 0 else NO_FEATURES
