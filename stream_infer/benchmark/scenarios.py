"""What is run: a pipeline with its model, and the model of the baselines beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from stream_infer.benchmark import pipelines
from stream_infer.benchmark.load import Load
from stream_infer.benchmark.models import ModelKind, bench_model
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipeline import Pipeline
from stream_infer.settings.worker import Delivery

CITY_GATHER_MS = 15
"""Sensors report each minute: a hundredth of a second more does not matter, processor time does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is run: which pipeline with which model, and what people call it.

    maker  name of a function of `benchmark.pipelines`
    model  folder of the worker's model
    loop   folder of the baselines' model: one stage with 15 features
    gather_ms  setting of the worker, None for its default
    delivery   setting of the worker; `bench delivery` compares both
    processes  how many a supervisor runs, None for one without a supervisor
    """

    name: str
    maker: str
    model: Path
    loop: Path
    gather_ms: int | None = None
    delivery: Delivery = "at_least_once"
    processes: int | None = None

    def measured(self, load: Load) -> float | None:
        """Return the share of the outputs after which measuring begins; see `throughput`."""
        return load.measured if self.maker == "single_stage" else None

    def pipeline(self, run: str, source: str) -> Pipeline:
        """Return the pipeline of a run."""
        made: Pipeline = getattr(pipelines, self.maker)(run, source)
        return made


def single_scenario(kind: ModelKind) -> Scenario:
    """Return the one-stage scenario with one kind of model."""
    model = bench_model(kind)
    return Scenario(name=f"single stage, {kind}", maker="single_stage", model=model, loop=model)


def two_stage_scenario() -> Scenario:
    """Return the fraud pipeline with the model that ships."""
    return Scenario(
        name="two stages",
        maker="two_stage",
        model=ready_model_dir("fraud"),
        loop=bench_model("trees"),
    )


def alerting_scenario() -> Scenario:
    """Return the fraud pipeline with its alerts."""
    return replace(two_stage_scenario(), name="two stages and alerts", maker="two_stage_alerts")


def traffic_scenario(sensors: Literal["road", "city"]) -> Scenario:
    """Return the traffic pipeline with the model that ships, for a road or a city."""
    return Scenario(
        name=f"traffic, {sensors}",
        maker=f"traffic_{sensors}",
        model=ready_model_dir("traffic"),
        loop=bench_model("trees"),
        gather_ms=CITY_GATHER_MS if sensors == "city" else None,
    )
