"""Where a model runs is what the configuration says, or it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from stream_infer.errors import ConfigError, ConflictError
from stream_infer.models.ready import ready_model_dir
from stream_infer.scoring.execution import ON_CPU, Execution
from stream_infer.scoring.model import load_model, open_session, warm_up
from stream_infer.scoring.providers import Providers, Used, check_used
from stream_infer.scoring.session import Scorer
from stream_infer.settings.loading import load_settings
from support.onnx_models import FEATURES, FINGERPRINT, write_model

AVAILABLE = onnxruntime.get_available_providers()
HAS_CUDA = "CUDAExecutionProvider" in AVAILABLE
ON_CUDA = Execution(providers=("cuda", "cpu"), require="cuda", row_chunks={"cuda": 64})
ROWS = np.random.default_rng(3).normal(0, 40, (200, 3))


def scores(folder: Path, execution: Execution) -> Any:
    return Scorer(load_model(folder, execution), FEATURES, FINGERPRINT).score(ROWS)


def test_what_is_not_told_otherwise_runs_on_the_processor_in_chunks_of_the_manifest(
    tmp_path: Path,
) -> None:
    model = load_model(write_model(tmp_path))
    assert (model.provider, model.row_chunk) == ("cpu", 8)


def test_a_chunk_of_ones_own_for_a_provider_changes_no_score(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    own = Execution(row_chunks={"cpu": 3, "cuda": 64})
    assert load_model(folder, own).row_chunk == 3
    assert scores(folder, own).tobytes() == scores(folder, ON_CPU).tobytes()


@pytest.mark.parametrize(
    ("execution", "code", "word"),
    [
        (Execution(providers=("gpu",)), "provider_unknown", "cuda"),
        (Execution(providers=("CUDA", "cpu")), "provider_not_installed", "onnxruntime-gpu"),
        (Execution(providers=("openvino",)), "provider_not_installed", "onnxruntime-openvino"),
        (Execution(require="cuda"), "provider_not_listed", '["cuda", "cpu"]'),
        (Execution(require="nonsense"), "provider_unknown", "cuda"),
    ],
)
def test_a_provider_that_cannot_be_is_named_with_its_cure(
    tmp_path: Path, execution: Execution, code: str, word: str
) -> None:
    if code == "provider_not_installed" and HAS_CUDA:
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(ConfigError) as caught:
        load_model(write_model(tmp_path), execution)
    assert caught.value.code == code
    assert word in caught.value.fix


class Session:
    """A session whose providers are made up."""

    def __init__(self, *providers: str) -> None:
        self._providers = [f"{name}ExecutionProvider" for name in providers]

    def get_providers(self) -> list[str]:
        return self._providers


CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
REQUIRED = Providers((CUDA, CPU), CUDA)


@pytest.mark.parametrize(
    ("session", "used", "why"),
    [
        (Session("CPU"), Used(CPU), "libraries did not load"),
        (
            Session("CUDA", "CPU"),
            Used(CPU, {CPU: {"TreeEnsembleRegressor": 1}, CUDA: {"Sigmoid": 1}}),
            "TreeEnsembleRegressor on cpu",
        ),
        (Session("CUDA", "CPU"), Used(CPU, {CPU: {"Gemm": 3}}), "Gemm on cpu"),
    ],
)
def test_a_required_provider_that_does_not_run_everything_is_refused(
    session: Session, used: Used, why: str
) -> None:
    with pytest.raises(ConflictError, match=why) as caught:
        check_used(REQUIRED, session, used)
    assert caught.value.code == "provider_not_used"
    check_used(Providers((CUDA, CPU), None), session, used)


def test_a_required_provider_that_runs_everything_is_fine() -> None:
    check_used(REQUIRED, Session("CUDA", "CPU"), Used(CUDA, {CUDA: {"Gemm": 3}}))
    # A runtime that does not tell which node runs where.
    check_used(REQUIRED, Session("CUDA", "CPU"), Used(CUDA))


@pytest.mark.skipif(
    "AzureExecutionProvider" not in AVAILABLE
    or not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"),
    reason="this ONNX Runtime has no provider that loads and runs nothing, or does not tell",
)
def test_a_provider_that_loads_and_runs_nothing_is_not_the_one_that_scores(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    beside = Execution(providers=("azure", "cpu"))
    assert load_model(folder, beside).provider == "cpu"
    with pytest.raises(ConflictError, match="MatMul on cpu"):
        load_model(folder, Execution(providers=("azure", "cpu"), require="azure"))
    assert scores(folder, beside).tobytes() == scores(folder, ON_CPU).tobytes()


@pytest.mark.skipif(not HAS_CUDA, reason="this ONNX Runtime has no CUDA: install onnxruntime-gpu")
def test_a_network_scores_on_the_gpu_as_on_the_processor(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    model = load_model(folder, ON_CUDA)
    warm_up(model)
    assert (model.provider, model.row_chunk) == ("cuda", 64)
    np.testing.assert_allclose(scores(folder, ON_CUDA), scores(folder, ON_CPU), atol=1e-6)
    # Tree ensembles have no kernel there, and would score on the processor all the same.
    with pytest.raises(ConflictError, match="TreeEnsembleRegressor on cpu"):
        load_model(ready_model_dir("fraud"), ON_CUDA)


def test_a_model_that_is_warm_answers_as_before(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    before = scores(folder, ON_CPU)
    warm_up(load_model(folder))
    assert scores(folder, ON_CPU).tobytes() == before.tobytes()


def test_the_configuration_says_where_models_run(tmp_path: Path) -> None:
    config = tmp_path / "stream-infer.toml"
    config.write_text(
        '[model]\nproviders = ["cuda", "cpu"]\nrequire_provider = "cuda"\n'
        "row_chunks = { cuda = 64 }\n"
    )
    assert load_settings(config).execution() == ON_CUDA
    assert load_settings().execution() is ON_CPU


def test_a_session_of_bytes_alone_runs_on_the_processor() -> None:
    content = (ready_model_dir("fraud") / "model.onnx").read_bytes()
    assert open_session(content).get_providers() == [CPU]
