"""A load of which about one event in a thousand alerts, and how many of it did.

The two-stage load presses a month of payments into hours, and to the model that ships most of
it looks odd. So the load is scored beforehand, through the same plan and model as in the
worker, and the model's decisions are put where a thousandth of what is measured reaches them.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.alerts.candidate import CandidateDecoder
from stream_infer.benchmark.load import PaymentLoad
from stream_infer.benchmark.pipelines import two_stage
from stream_infer.events.topic_names import candidates_topic
from stream_infer.features.plan import compile_plan
from stream_infer.features.table import compute_features
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.models.writing import write_model
from stream_infer.pipeline import Pipeline
from stream_infer.scoring.manifest import MODEL_FILE, Thresholds, read_manifest
from stream_infer.scoring.session import Scorer
from stream_infer.simulators.records import label_columns, transaction_columns

ALERTING_SHARE = 0.001
_DIGITS = 6
"""Of a threshold, see `Thresholds`."""


def alerting_model(load: PaymentLoad, model: Path, folder: Path) -> Path:
    """Write `model` with thresholds that `ALERTING_SHARE` of the measured events reach.

    All of them are declined, so that each opens an alert or belongs to one.

    Returns  the folder of the new model, within `folder`
    Cost     about 10 us of processor time a transaction
    """
    at = alerting_threshold(_scores(load, model)[_measured_from(load) :])
    manifest = msgspec.structs.replace(
        read_manifest(model), thresholds=Thresholds(review=at, decline=at)
    )
    where = folder / "alerting-model"
    write_model(where, (model / MODEL_FILE).read_bytes(), manifest)
    return where


def alerting_threshold(scores: NDArray[np.float32]) -> float:
    """Return the score that `ALERTING_SHARE` of the scores reach, with six digits.

    >>> alerting_threshold(np.arange(10_000, dtype=np.float32) / 10_000)
    0.999
    """
    rank = max(1, round(ALERTING_SHARE * len(scores)))
    return float(f"{float(np.sort(scores)[-rank]):.{_DIGITS}g}")


async def alerting_percent(connection: Connection, pipeline: Pipeline, load: PaymentLoad) -> float:
    """Return how many of the measured events became candidates of an alert, in percent.

    pipeline  of a run that has scored the whole load
    """
    topic, alerts = candidates_topic(pipeline), pipeline.alerts
    if topic is None or alerts is None:
        raise ValueError("the pipeline raises no alerts")
    first = _measured_from(load)
    since_ms = int(load.transactions.event_time[first])
    decoder = CandidateDecoder(kind.name for kind in alerts.kinds)
    events: set[str] = set()
    async with log_reader(connection) as reader:
        bounds = await reader.bounds(await reader.partitions(topic))
        async for _, records in reader.read(bounds):
            _, candidates, _ = decoder.decode([record.value for record in records])
            # A payment may be a candidate twice, for its customer and for its terminal.
            events.update(
                item.event_id
                for item in candidates
                if item.kind is not None and item.event_time >= since_ms
            )
    return 100 * len(events) / (len(load.transactions) - first)


def _measured_from(load: PaymentLoad) -> int:
    return int(load.measured * len(load.transactions))


def _scores(load: PaymentLoad, model: Path) -> NDArray[np.float32]:
    """Return the score of each transaction, (n,) float32."""
    plan = compile_plan(two_stage("load", "load"))
    matrix = compute_features(
        plan, transaction_columns(load.transactions), label_columns(load.labels)
    )
    return Scorer(model, plan.feature_names, plan.fingerprint).score(matrix)
