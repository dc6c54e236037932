"""Make the traffic model that ships: ``python -m stream_infer.models.make_ready traffic``."""

from __future__ import annotations

from pathlib import Path

from stream_infer.features.plan import compile_plan
from stream_infer.models.forecasting import fit_forecaster, forecaster_to_onnx
from stream_infer.models.traffic import (
    INPUTS,
    RoadDays,
    anomaly_thresholds,
    digest_of,
    measure_forecaster,
    road_rows,
    together,
)
from stream_infer.models.writing import describe_model, write_model
from stream_infer.pipelines.traffic import pipeline
from stream_infer.scoring.conditions import output_names
from stream_infer.scoring.manifest import Manifest, Training

NAME = "traffic"
VERSION = "1"
ROW_CHUNK = 1_024
"""Rows a call: 64 cost 0.60 µs a row, 256 0.45, 1,024 0.40, 4,096 0.42 (one core)."""


def make_traffic_model(folder: Path, settings: RoadDays, seed: int) -> tuple[Manifest, bool]:
    """Make the traffic model in `folder`; return its manifest and whether anything changed.

    Raises  GateFailedError ``export_differs``
    """
    train = together([road_rows(settings, each) for each in settings.train])
    tune, test = (road_rows(settings, each) for each in (settings.tune, settings.test))
    columns = [compile_plan(pipeline).feature_names.index(name) for name in INPUTS]
    forecaster = fit_forecaster(train, together([tune]), columns, seed=seed)
    content = forecaster_to_onnx(forecaster, test.rows.matrix)
    plan = compile_plan(pipeline)
    sensors = settings.roads.corridors * settings.roads.sensors_per_corridor
    manifest = describe_model(
        content,
        name=NAME,
        version=VERSION,
        features=plan.feature_names,
        fingerprint=plan.meaning,
        thresholds=anomaly_thresholds(tune),
        row_chunk=ROW_CHUNK,
        training=Training(
            source=(
                f"{settings.days} generated days of {len(settings.train)} road networks with "
                f"{sensors} sensors each, after {settings.warm} days of history"
            ),
            digest=digest_of(train),
            rows=len(train.matrix),
            positives=0,
            seed=seed,
        ),
        metrics=measure_forecaster(forecaster, test),
        outputs=output_names(pipeline.conditions) if pipeline.conditions else (),
    )
    return manifest, write_model(folder, content, manifest)
