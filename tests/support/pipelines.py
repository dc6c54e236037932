"""Pipelines of a test's own, so that tests on one Kafka do not meet on its topics."""

from __future__ import annotations

import dataclasses
import uuid
from pathlib import Path

from stream_infer.pipeline import Pipeline
from stream_infer.pipelines.fraud import pipeline as fraud

_FILE = """\
import dataclasses
from stream_infer.pipelines.fraud import pipeline as fraud

pipeline = dataclasses.replace(
    fraud,
    name={name!r},
    events=dataclasses.replace(fraud.events, topic={events!r}),
    labels=dataclasses.replace(fraud.labels, topic={labels!r}),
    scored={scored!r},
    alerts=fraud.alerts and dataclasses.replace(fraud.alerts, topic={alerts!r}),
)
"""


def own_pipeline() -> Pipeline:
    """Return the fraud pipeline under names that no other test uses."""
    mark = uuid.uuid4().hex[:8]
    labels, alerts = fraud.labels, fraud.alerts
    if labels is None or alerts is None:
        raise LookupError("the fraud pipeline has labels and alerts")
    return dataclasses.replace(
        fraud,
        name=f"fraud{mark}",
        events=dataclasses.replace(fraud.events, topic=f"transactions-{mark}"),
        labels=dataclasses.replace(labels, topic=f"labels-{mark}"),
        scored=f"scored-{mark}",
        alerts=dataclasses.replace(alerts, topic=f"alerts-{mark}"),
    )


def written(pipeline: Pipeline, folder: Path) -> Path:
    """Write an `own_pipeline` as the file by which the command line names it."""
    labels = pipeline.labels
    path = folder / f"{pipeline.name}.py"
    path.write_text(
        _FILE.format(
            name=pipeline.name,
            events=pipeline.events.topic,
            labels=labels.topic if labels else None,
            scored=pipeline.scored,
            alerts=pipeline.alerts.topic if pipeline.alerts else None,
        )
    )
    return path
