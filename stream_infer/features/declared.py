"""Checks of declarations: every mistake is named, with what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import numpy as np

from stream_infer.durations import MS_PER_UNIT, parse_duration
from stream_infer.errors import ConfigError
from stream_infer.features.spec import (
    Count,
    Custom,
    Feature,
    HourOfDay,
    Last,
    Max,
    Mean,
    Night,
    Rate,
    Since,
    Std,
    Sum,
    Value,
    Weekend,
    Windowed,
)
from stream_infer.pipeline import Pipeline

_WORDS = (
    Count, Sum, Mean, Std, Max, Rate, Last, Since, Custom, Value, HourOfDay, Weekend, Night,
)  # fmt: skip


def _closest(word: str, known: Iterable[str]) -> str:
    """Return a sentence that names the known words, the likeliest first."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known are: {', '.join(names)}." if names else "None is declared."


DURATION_MS_MAX = 100 * 366 * MS_PER_UNIT["d"]
"""A century: far from where sums of times would leave int64."""


def positive_duration(text: str, what: str) -> int:
    """Return a duration in ms that is above 0 and at most a century."""
    ms = bounded_duration(text, what)
    if ms == 0:
        raise ConfigError(
            "bad_window", f"{what} is {text!r}, which holds nothing.", "Give a duration above 0."
        )
    return ms


def bounded_duration(text: str, what: str) -> int:
    """Return a duration in ms that is at most a century."""
    ms = parse_duration(text)
    if ms > DURATION_MS_MAX:
        raise ConfigError(
            "bad_window", f"{what} is {text!r}, more than a century.", "Give a shorter duration."
        )
    return ms


def feature_names(feature: Feature) -> tuple[str, ...]:
    """Return the names of the columns that a declaration makes, in order."""
    if isinstance(feature, Custom):
        return feature.names
    if isinstance(feature, Windowed):
        return tuple(_windowed_name(feature, window) for window in feature.over)
    return (feature.name,)


def _windowed_name(feature: Windowed, window: str) -> str:
    """Return the feature's name for one of its windows."""
    if len(feature.over) > 1 and not any(p in feature.name for p in ("{window}", "{days}")):
        raise ConfigError(
            "name_without_window",
            f"{feature.name!r} stands for {len(feature.over)} windows and names none of them.",
            "Put {window} or {days} into the name.",
        )
    days, rest = divmod(parse_duration(window), MS_PER_UNIT["d"])
    if "{days}" in feature.name and rest:
        raise ConfigError(
            "window_not_in_days",
            f"{feature.name!r} asks for {{days}}, but {window} is not a whole number of days.",
            "Use {window} in the name.",
        )
    return feature.name.replace("{window}", window).replace("{days}", str(days))


def check_features(pipeline: Pipeline) -> None:
    """Raise `ConfigError` for the first declaration that cannot mean anything."""
    events = pipeline.events
    if not events.entities or events.entities[0] != events.key:
        raise ConfigError(
            "key_not_first",
            f"The entities of {pipeline.name!r} do not start with its key {events.key!r}.",
            "List the key first in `entities`.",
        )
    bounded_duration(pipeline.lateness, "The lateness")
    for feature in pipeline.features:
        if not isinstance(feature, _WORDS):
            raise ConfigError(
                "unknown_feature",
                f"{type(feature).__name__} is not a feature.",
                f"Use one of {', '.join(word.__name__ for word in _WORDS)}.",
            )
        _check_entity(feature, pipeline)
        _check_values(feature, pipeline)
        _check_windows(feature)
        _check_labels(feature, pipeline)
        _check_custom(feature, pipeline)
    _check_names(pipeline)
    _check_measures(pipeline)
    _check_label_stage(pipeline)


def _check_entity(feature: Feature, pipeline: Pipeline) -> None:
    by = getattr(feature, "by", None)
    if by is not None and by not in pipeline.events.entities:
        raise ConfigError(
            "unknown_entity",
            f"{feature_names(feature)[0]!r} is kept by {by!r}, which is no entity of the events.",
            _closest(by, pipeline.events.entities),
        )


def _check_values(feature: Feature, pipeline: Pipeline) -> None:
    of = getattr(feature, "of", ())
    for value in (of,) if isinstance(of, str) else of:
        if value in pipeline.events.decimals:
            continue
        if isinstance(feature, Custom) and value in _earlier_names(feature, pipeline):
            continue
        if value in pipeline.events.type.__struct_fields__:
            raise ConfigError(
                "value_without_decimals",
                f"{feature_names(feature)[0]!r} reads {value!r}, whose decimals are not declared.",
                f"Declare them in the events: decimals={{{value!r}: 2}}.",
            )
        raise ConfigError(
            "unknown_value",
            f"{feature_names(feature)[0]!r} reads {value!r}, which is no value of the events.",
            _closest(value, pipeline.events.decimals),
        )


def _earlier_names(feature: Custom, pipeline: Pipeline) -> set[str]:
    """Return the features of the stages before the step's own: they come with each row."""
    key = pipeline.events.key
    stages = dict.fromkeys([key, *(f.by for f in pipeline.features if hasattr(f, "by"))])
    before = list(stages)[: list(stages).index(feature.by)]
    of_stages = [f for f in pipeline.features if getattr(f, "by", None) in before]
    return {name for f in of_stages for name in feature_names(f)}


def _check_windows(feature: Feature) -> None:
    if isinstance(feature, Last | Since):
        positive_duration(feature.within, f"`within` of {feature.name!r}")
    if not isinstance(feature, Windowed):
        return
    if not feature.over:
        raise ConfigError(
            "no_window", f"{feature.name!r} has no window.", 'Give at least one: over=("7d",).'
        )
    for window in feature.over:
        positive_duration(window, f"A window of {feature.name!r}")
    delay = bounded_duration(feature.delay, f"The delay of {feature.name!r}")
    if delay > 0 and not feature.current:
        raise ConfigError(
            "current_with_delay",
            f"{feature.name!r} has a delay, so the event itself never counts.",
            "Leave `current` out.",
        )


def _check_labels(feature: Feature, pipeline: Pipeline) -> None:
    if not isinstance(feature, Rate):
        return
    if pipeline.labels is None:
        raise ConfigError(
            "rate_without_labels",
            f"{feature.name!r} is a rate of labels, but the pipeline has none.",
            "Declare `labels`.",
        )
    if feature.by != pipeline.labels.by:
        raise ConfigError(
            "rate_by_other_entity",
            f"{feature.name!r} is kept by {feature.by!r}, but labels are folded by "
            f"{pipeline.labels.by!r}.",
            f"Use by={pipeline.labels.by!r}, or declare the labels by {feature.by!r}.",
        )


def _check_custom(feature: Feature, pipeline: Pipeline) -> None:
    if not isinstance(feature, Custom):
        return
    positive_duration(feature.forget_after, f"`forget_after` of {feature.names}")
    if not hasattr(feature.step, "py_func"):
        # numba itself says this at the first batch, in a page of text about types.
        raise ConfigError(
            "step_not_compiled",
            f"The step of {feature.names} is no compiled numba function.",
            "Decorate it with @numba.njit.",
        )
    if feature.state.names is None or feature.state.hasobject:
        raise ConfigError(
            "bad_state_record",
            f"The state of {feature.names} is no record of plain numbers.",
            'Declare it by np.dtype([("mean", np.float64), ...]).',
        )
    if feature.linked:
        _check_linked(feature, pipeline)
    if feature.learn is not None:
        _check_learning(feature, pipeline)


def _check_linked(feature: Custom, pipeline: Pipeline) -> None:
    """Refuse a linked step without the table that says what is linked, or without its own clock."""
    if pipeline.events.known is None or feature.by != pipeline.events.key:
        raise ConfigError(
            "linked_without_table",
            f"The step of {feature.names} is linked, and its keys have no table.",
            f"Declare `known` in the events, and the step by={pipeline.events.key!r}.",
        )
    fields = feature.state.fields
    if fields is None or "stepped" not in fields or fields["stepped"][0] != np.int64:
        raise ConfigError(
            "bad_state_record",
            f"The state of {feature.names} has no int64 field 'stepped', as a linked step's must.",
            'Add ("stepped", np.int64) to it.',
        )


def _check_learning(feature: Custom, pipeline: Pipeline) -> None:
    """Refuse a step that no label would reach."""
    labels = pipeline.labels
    if feature.linked or labels is None or feature.by != labels.by:
        raise ConfigError(
            "learning_without_labels",
            f"The step of {feature.names} learns from labels, and none come to it.",
            "Declare `labels` by the step's own entity, and leave `linked` out.",
        )
    if not hasattr(feature.learn, "py_func"):
        raise ConfigError(
            "step_not_compiled",
            f"`learn` of {feature.names} is no compiled numba function.",
            "Decorate it with @numba.njit.",
        )


def _check_measures(pipeline: Pipeline) -> None:
    """Windows hold whole numbers: one that is absent has no place in them."""
    events = pipeline.events
    for name in events.measures:
        if name not in events.decimals:
            raise ConfigError(
                "value_without_decimals",
                f"The measure {name!r} has no declared decimals.",
                f"Declare them in the events: decimals={{{name!r}: 2}}.",
            )
    for feature in pipeline.features:
        of = getattr(feature, "of", None)
        if isinstance(feature, Windowed | Last) and of in events.measures:
            raise ConfigError(
                "window_of_measure",
                f"{feature.name!r} is a window of {of!r}, which may be absent from an event.",
                "Compute it in a Custom step, or send it always and leave it out of `measures`.",
            )


def _check_label_stage(pipeline: Pipeline) -> None:
    """Labels are folded by a stage, and an entity has one when a feature is kept by it."""
    if pipeline.labels is None:
        return
    by = pipeline.labels.by
    if by not in pipeline.events.entities:
        raise ConfigError(
            "unknown_entity",
            f"Labels are folded by {by!r}, which is no entity of the events.",
            _closest(by, pipeline.events.entities),
        )
    keyed = {getattr(feature, "by", None) for feature in pipeline.features}
    if by not in keyed | {pipeline.events.key}:
        raise ConfigError(
            "labels_without_stage",
            f"Labels are folded by {by!r}, but no feature is kept by it.",
            f"Declare a Rate by {by!r}, or leave `labels` out.",
        )


def _check_names(pipeline: Pipeline) -> None:
    seen: set[str] = set()
    for feature in pipeline.features:
        names = feature_names(feature)
        if not names:
            raise ConfigError("no_names", f"{feature} names no feature.", "Give `names`.")
        for name in names:
            if name in seen:
                raise ConfigError(
                    "duplicate_feature",
                    f"Two features are called {name!r}.",
                    "Give each its own name.",
                )
            seen.add(name)
