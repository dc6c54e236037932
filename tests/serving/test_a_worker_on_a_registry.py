"""A worker on a registry needs no model of its own, and runs versions where it is told to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from stream_infer.errors import NotFoundError
from stream_infer.kafka.connection import Connection
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.scoring.execution import Execution
from stream_infer.scoring.model import Model
from stream_infer.settings.worker import WorkerSettings
from stream_infer.worker import Worker
from support.registries import registry_with

OWN = dataclasses.replace(fraud, model="tiny")


def test_a_model_that_does_not_ship_comes_from_the_registry(tmp_path: Path) -> None:
    registry = registry_with("1", "2")
    registry.promote("tiny", "2")
    worker = Worker(
        OWN,
        Connection(),
        WorkerSettings(),
        registry=registry,
        cache=tmp_path,
        execution=Execution(row_chunks={"cpu": 3}),
    )
    champion = worker.champion()
    assert isinstance(champion, Model)
    assert (champion.version, champion.row_chunk) == ("2", 3)


def test_without_a_registry_such_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="tiny"):
        Worker(OWN, Connection(), WorkerSettings(), cache=tmp_path)


def test_a_registry_without_a_champion_gives_no_model(tmp_path: Path) -> None:
    worker = Worker(
        OWN, Connection(), WorkerSettings(), registry=registry_with("1"), cache=tmp_path
    )
    assert worker.champion() is None
