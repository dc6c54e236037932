"""The metrics of the versions that a registry lets serve: facts in, metric families out.

Labels are aliases, versions and codes, of which few are at one time, and names of features.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from stream_infer.observability.facts import ModelFacts

PREFIX = "stream_infer_"

_NONE = ModelFacts(serves={})


def model_metrics(pipeline: str, facts: ModelFacts | None) -> Iterator[Metric]:
    """Yield every family, also those that have no series: without a registry none has one."""
    models = facts or _NONE
    yield _family(
        "model_serves",
        "1 for each version that is loaded, by the alias that names it.",
        ["alias", "version"],
        pipeline,
        dict.fromkeys(models.serves.items(), 1.0),
    )
    yield _family(
        "model_load_failed",
        "1 for each alias whose version could not be loaded, with the error's code.",
        ["alias", "code"],
        pipeline,
        dict.fromkeys(models.failures.items(), 1.0),
    )
    yield from _alone(pipeline, facts)
    drift = models.drift
    yield _family(
        "feature_drift",
        "Stability index of a feature's last day beside the serving version's reference.",
        ["version", "feature"],
        pipeline,
        {(each.version, each.feature): each.index for each in drift},
    )
    yield _family(
        "feature_drift_bound",
        "Above it the feature has drifted: what chance explains, and what is allowed.",
        ["version", "feature"],
        pipeline,
        {(each.version, each.feature): each.bound for each in drift},
    )
    yield from _trial(pipeline, models)


def _alone(pipeline: str, facts: ModelFacts | None) -> Iterator[Metric]:
    values = {
        "model_history_number": (
            None if facts is None else facts.number,
            "Entry of the model's history that says what serves.",
        ),
        "model_fast_serves": (
            None if facts is None else facts.fast,
            "1 while the fast version scores in place of the champion.",
        ),
        "model_decides": (
            None if facts is None else facts.decides,
            "1 in the worker that moves aliases.",
        ),
    }
    for name, (value, text) in values.items():
        yield _family(name, text, [], pipeline, {} if value is None else {(): float(value)})


def _trial(pipeline: str, models: ModelFacts) -> Iterator[Metric]:
    trial = models.trial
    texts = {
        "labels": "Labelled events of the challenger's trial.",
        "gain": "Mean squared error of the champion less the challenger's.",
        "promote": "How much of what a promotion needs is there; 1 when it is.",
        "reject": "How much of what a rejection needs is there; 1 when it is.",
    }
    for name, text in texts.items():
        series: dict[tuple[str, ...], float] = {}
        if trial is not None:
            series = {(trial.champion, trial.challenger): float(getattr(trial, name))}
        yield _family(f"trial_{name}", text, ["champion", "challenger"], pipeline, series)


def _family(
    name: str, text: str, labels: list[str], pipeline: str, series: dict[tuple[str, ...], float]
) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}{name}", text, labels=["pipeline", *labels])
    for values, number in series.items():
        family.add_metric([pipeline, *values], number)
    return family
