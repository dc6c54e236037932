"""From declarations to stages: what each stage folds, and where its features go.

A pipeline has one stage per entity, in the order in which declarations first use
them; the first is always the one that the input topic is keyed by, since it decides
`late` and `duplicate_of` for everybody. Features of the event alone belong to no stage.

The fingerprint covers everything that can change a feature's value, the table of known
keys included. State carries it, so that it is not used with features of another meaning.
A model carries the same without the table (`meaning`): what was learnt on one road may
serve another, where the same features mean the same.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.durations import parse_duration
from stream_infer.events.columns import EventColumns
from stream_infer.events.known_keys import KnownKeys
from stream_infer.features.declared import check_features, feature_names
from stream_infer.features.rows import row_feature
from stream_infer.features.spec import (
    Count,
    Custom,
    Feature,
    KeyFeature,
    Last,
    Max,
    Mean,
    Rate,
    RowFeature,
    Since,
    Std,
    Sum,
    WindowFeature,
)
from stream_infer.pipeline import Pipeline, Silence
from stream_infer.windows.layout import (
    OP_COUNT,
    OP_LAST,
    OP_MAX,
    OP_MEAN,
    OP_RATE,
    OP_SINCE,
    OP_STD,
    OP_SUM,
    OP_WIDTH,
    WindowLayout,
)

SEMANTICS_VERSION = 1
"""Raised whenever the same declaration begins to mean another value."""

_CODES: dict[type[Any], int] = {
    Count: OP_COUNT,
    Sum: OP_SUM,
    Mean: OP_MEAN,
    Std: OP_STD,
    Max: OP_MAX,
    Rate: OP_RATE,
    Last: OP_LAST,
    Since: OP_SINCE,
}


@dataclass(frozen=True, slots=True, eq=False)
class StagePlan:
    """What one stage folds.

    entity            whose windows it keeps; its log is keyed by it
    names             names of its features, in declared order
    columns_at        (k,) int64, where each stands in the model's input
    features_version  fingerprint of everything that its state and features depend on
    layout            its windows, as numbers
    window_at         (w,) int64, which of `names` the layout's ops are
    customs           its custom steps, each with the place of its first feature in `names`
    decimals          value name -> declared decimals
    measures          value names that may be absent
    known             the keys that there are, None when there may be any
    time_is_id        whether a key's events are told apart by their time alone
    silence           when keys that say nothing are told; None for never
    earlier           names of the features of earlier stages, in stage order, that come with rows
    """

    entity: str
    names: tuple[str, ...]
    columns_at: NDArray[np.int64]
    features_version: str
    layout: WindowLayout
    window_at: NDArray[np.int64]
    customs: tuple[tuple[int, Custom], ...]
    decimals: dict[str, int]
    measures: tuple[str, ...] = ()
    known: KnownKeys | None = None
    time_is_id: bool = False
    silence: Silence | None = None
    earlier: tuple[str, ...] = ()

    @property
    def first(self) -> bool:
        """Whether it decides `late` and `duplicate_of`."""
        return self.layout.first

    @property
    def folds_labels(self) -> bool:
        """Whether labels change its state."""
        return self.layout.folds_labels

    @property
    def horizon_ms(self) -> int:
        """How far behind its key's newest event an entry can still matter."""
        return self.layout.horizon_ms

    @property
    def look_back_ms(self) -> int:
        """How far back its log must reach for its state to be rebuilt."""
        forgets = [parse_duration(custom.forget_after) for _, custom in self.customs]
        if self.silence is not None:
            forgets.append(parse_duration(self.silence.forget_after))
        return max(self.horizon_ms, max(forgets, default=0) + self.layout.lateness_ms)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a pipeline's declarations compile to.

    pipeline       the declaration
    stages         one per entity, in log order
    feature_names  columns of the model's input, in declared order
    fingerprint    hex digits that change whenever a value could
    meaning        the same without the table of known keys: what a model depends on
    rows           features of the event alone, each with its place in `feature_names`
    """

    pipeline: Pipeline
    stages: tuple[StagePlan, ...]
    feature_names: tuple[str, ...]
    fingerprint: str
    meaning: str
    rows: tuple[tuple[int, RowFeature], ...]

    def matrix(
        self, columns: EventColumns, stage_features: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the model's input, (n, F) float64, C order.

        stage_features  (n, k) float64: the features of every stage, in stage order
        """
        out = np.empty((len(columns), len(self.feature_names)), np.float64)
        scales = {name: 10.0**d for name, d in self.pipeline.events.decimals.items()}
        for at, feature in self.rows:
            out[:, at] = row_feature(feature, columns, scales, self.pipeline.events.measures)
        first = 0
        for stage in self.stages:
            out[:, stage.columns_at] = stage_features[:, first : first + len(stage.names)]
            first += len(stage.names)
        return out


def compile_plan(pipeline: Pipeline) -> Plan:
    """Return the plan of a pipeline; raise `ConfigError` when a declaration is wrong."""
    check_features(pipeline)
    keyed: dict[str, list[KeyFeature]] = {pipeline.events.key: []}
    rows: list[tuple[int, RowFeature]] = []
    places: dict[str, list[int]] = {pipeline.events.key: []}
    at = 0
    for feature in pipeline.features:
        width = len(feature_names(feature))
        if isinstance(feature, KeyFeature):
            keyed.setdefault(feature.by, []).append(feature)
            places.setdefault(feature.by, []).extend(range(at, at + width))
        else:
            rows.append((at, feature))
        at += width
    stages: list[StagePlan] = []
    for by, own in keyed.items():
        earlier = tuple(name for stage in stages for name in stage.names)
        stages.append(_stage(pipeline, by, own, places[by], earlier))
    return Plan(
        pipeline=pipeline,
        stages=tuple(stages),
        feature_names=tuple(name for f in pipeline.features for name in feature_names(f)),
        fingerprint=_digest(_facts(pipeline, pipeline.features)),
        meaning=_digest(_facts(pipeline, pipeline.features, table=False)),
        rows=tuple(rows),
    )


def _stage(
    pipeline: Pipeline,
    entity: str,
    features: list[KeyFeature],
    places: list[int],
    earlier: tuple[str, ...],
) -> StagePlan:
    """Compile the declarations of one entity; `earlier` are the features that rows bring along."""
    windows: list[tuple[int, WindowFeature | Last | Since]] = []
    customs: list[tuple[int, Custom]] = []
    names: list[str] = []
    for feature in features:
        if isinstance(feature, Custom):
            customs.append((len(names), feature))
        else:
            windows.append((len(names), feature))
        names.extend(feature_names(feature))
    facts = _facts(pipeline, tuple(features)) | {"stage": entity}
    read = {name for _, custom in customs for name in custom.of} & set(earlier)
    if read:
        sources = [f for f in pipeline.features if read & set(feature_names(f))]
        facts["earlier"] = [_feature_facts(feature) for feature in sources]
    silence = pipeline.silence if entity == pipeline.events.key else None
    if silence is not None:
        facts["silence"] = [silence.intervals, parse_duration(silence.forget_after)]
    return StagePlan(
        entity=entity,
        names=tuple(names),
        columns_at=np.array(places, np.int64),
        features_version=_digest(facts),
        layout=_layout(pipeline, entity, [feature for _, feature in windows]),
        window_at=np.array(
            [at + k for at, f in windows for k in range(len(feature_names(f)))], np.int64
        ),
        customs=tuple(customs),
        decimals=dict(pipeline.events.decimals),
        measures=pipeline.events.measures,
        known=pipeline.events.known,
        time_is_id=pipeline.events.time_is_id and entity == pipeline.events.key,
        silence=silence,
        earlier=earlier,
    )


def _bounds(feature: WindowFeature | Last | Since) -> list[tuple[int, int]]:
    """Return (delay, delay + window) in ms for each window of a declaration."""
    if isinstance(feature, Last | Since):
        return [(0, parse_duration(feature.within))]
    delay = parse_duration(feature.delay)
    return [(delay, delay + parse_duration(window)) for window in feature.over]


def _layout(
    pipeline: Pipeline, entity: str, features: list[WindowFeature | Last | Since]
) -> WindowLayout:
    """Compile windows to boundaries and ops."""
    offsets = sorted({offset for f in features for pair in _bounds(f) for offset in pair})
    values = sorted({f.of for f in features if isinstance(f, Sum | Mean | Std | Max | Last)})
    squared = sorted({f.of for f in features if isinstance(f, Std)})
    ops: list[tuple[int, ...]] = []
    for feature in features:
        of = getattr(feature, "of", None)
        current = isinstance(feature, WindowFeature) and feature.current
        for delay, until in _bounds(feature):
            ops.append((
                _CODES[type(feature)],
                offsets.index(delay),
                offsets.index(until),
                int(current and delay == 0),
                values.index(of) if of is not None else -1,
                squared.index(of) if of in squared else -1,
                int(isinstance(feature, Rate) and feature.denominator == "labelled"),
            ))  # fmt: skip
    lateness = parse_duration(pipeline.lateness)
    is_first = entity == pipeline.events.key
    return WindowLayout(
        # At least 1 ms, so that a key's newest event is always visible to the next one.
        horizon_ms=max(1, max(offsets, default=0) + lateness),
        lateness_ms=lateness,
        first=is_first,
        duplicates=is_first and pipeline.duplicates,
        folds_labels=any(isinstance(feature, Rate) for feature in features),
        boundaries=np.array(offsets, np.int64),
        ops=np.array(ops, np.int64).reshape(-1, OP_WIDTH),
        values=tuple(values),
        scales=np.array([10.0 ** pipeline.events.decimals[v] for v in values], np.float64),
        squares=np.array([values.index(v) for v in squared], np.int64),
    )


def _facts(
    pipeline: Pipeline, features: tuple[Feature, ...], *, table: bool = True
) -> dict[str, Any]:
    """Return what the values of these features depend on, JSON-encodable."""
    events = pipeline.events
    facts: dict[str, Any] = {} if not events.measures else {"measures": events.measures}
    if events.known is not None and table:
        facts["known"] = events.known.digest
    return facts | {
        "semantics": SEMANTICS_VERSION,
        "id": events.id,
        "time": events.time,
        "key": events.key,
        "decimals": {name: events.decimals[name] for name in sorted(events.decimals)},
        "labels": [pipeline.labels.by, pipeline.labels.truth] if pipeline.labels else None,
        "lateness_ms": parse_duration(pipeline.lateness),
        "duplicates": pipeline.duplicates,
        "features": [_feature_facts(feature) for feature in features],
    }


def _feature_facts(feature: Feature) -> dict[str, Any]:
    """Return a declaration as JSON-encodable facts."""
    facts = {name: getattr(feature, name) for name in _field_names(feature)}
    if isinstance(feature, Custom):
        facts["state"] = str(np.dtype(feature.state).descr)
        # Not the module: its name depends on how the user's file is loaded.
        facts["step"] = feature.step.__qualname__
        if not feature.linked:
            # A later word: steps that do without it keep the fingerprint that they have.
            del facts["linked"]
        if feature.learn is None:
            del facts["learn"]
        else:
            facts["learn"] = feature.learn.__qualname__
    return {"kind": type(feature).__name__} | facts


def _field_names(feature: Feature) -> list[str]:
    return sorted(feature.__dataclass_fields__)


def _digest(facts: dict[str, Any]) -> str:
    """Return 16 hex digits over the facts."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
