"""Compiles what pipelines fold with, so that no worker spends its first seconds on it.

    python -m stream_infer.precompile

does it for the pipelines that the package brings. Machine code is kept beside the sources
(or where NUMBA_CACHE_DIR says); with it at hand a pipeline takes a second.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace

import numpy as np

from stream_infer.events.decode import EventDecoder
from stream_infer.events.forms import Form
from stream_infer.events.internal import SCHEMA_VERSION
from stream_infer.events.plain import PlainReader
from stream_infer.features.fold import StageFold
from stream_infer.features.plan import compile_plan
from stream_infer.kafka.codecs import crc32c, decompress
from stream_infer.pipeline import Events, Pipeline
from stream_infer.pipelines.loading import built_in_pipelines, load_pipeline
from stream_infer.records.fetched import read_fetched
from stream_infer.records.placing import partitions_of
from stream_infer.windows.compiler_memory import release_compiler
from stream_infer.windows.precompile import precompile


def load_array_functions() -> None:
    """Load numba's array functions, which kernels need, without scipy.linalg.

    To know whether there is a BLAS numba imports it, a quarter of a second of processor
    time, and asks it for np.correlate and np.convolve alone. Without it those two give the same
    answers whether or not scipy is installed. Linear algebra looks for scipy when it is compiled.
    """
    if "scipy.linalg" in sys.modules or "numba.np.arraymath" in sys.modules:
        return
    sys.modules["scipy.linalg"] = None  # type: ignore[assignment]  # as importlib documents
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        del sys.modules["scipy.linalg"]


def precompile_pipeline(pipeline: Pipeline) -> None:
    """Fold nothing through each stage: that compiles, or loads, all that an event needs.

    The memory of the compiler, which is not needed afterwards, is given back.

    Raises  what the pipeline's own custom steps raise when they are compiled
    """
    load_array_functions()
    precompile()
    precompile_records(pipeline.events)
    plan = compile_plan(pipeline)
    # Steps may read what earlier stages said.
    features = np.empty((0, len(plan.feature_names)))
    nothing = replace(EventDecoder(pipeline.events).decode([]).columns, features=features)
    for stage in plan.stages:
        StageFold(stage).fold(nothing)
    release_compiler()


def precompile_records(events: Events) -> None:
    """Compile, or load, what is needed to read a fetch, and to read and write our own records."""
    run = read_fetched(b"", 0, (), decompress, crc32c).run
    list(run.headers_named(""))
    partitions_of((), 1)
    PlainReader(events, SCHEMA_VERSION, "", 0).read(())
    Form([]).rows(0).write()


if __name__ == "__main__":
    for name in built_in_pipelines():
        precompile_pipeline(load_pipeline(name))
