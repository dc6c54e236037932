"""Each built-in pipeline can fold nothing, by which a worker loads what events need."""

from __future__ import annotations

import pytest

from stream_infer.pipelines.loading import built_in_pipelines, load_pipeline
from stream_infer.precompile import precompile_pipeline


@pytest.mark.parametrize("name", built_in_pipelines())
def test_a_pipeline_folds_nothing(name: str) -> None:
    precompile_pipeline(load_pipeline(name))
