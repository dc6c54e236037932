from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_infer.errors import NotFoundError
from stream_infer.features.plan import compile_plan
from stream_infer.features.table import compute_features
from stream_infer.models import ready
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipelines.fraud import pipeline
from stream_infer.scoring.manifest import read_manifest
from stream_infer.scoring.model import load_model
from stream_infer.scoring.session import Scorer
from stream_infer.simulators.fraud import AMOUNT, DAY_MS, Transactions, World, generate
from stream_infer.simulators.records import label_columns, transaction_columns

REMAKE = "run: python -m benchmarks.ready_models fraud"


@pytest.fixture(scope="module")
def transactions() -> Transactions:
    """A world that the model was not made from."""
    return generate(World(seed=101, customers=600, terminals=500, days=45))


@pytest.fixture(scope="module")
def matrix(transactions: Transactions) -> NDArray[np.float64]:
    events = transaction_columns(transactions)
    return compute_features(pipeline, events, label_columns(transactions.by_label_time()))


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    plan = compile_plan(pipeline)
    return Scorer(ready_model_dir("fraud"), plan.feature_names, plan.fingerprint)


def test_it_was_made_for_the_features_that_the_pipeline_computes_now() -> None:
    manifest, plan = read_manifest(ready_model_dir("fraud")), compile_plan(pipeline)
    assert manifest.features == plan.feature_names, REMAKE
    assert manifest.features_fingerprint == plan.fingerprint, REMAKE


def test_its_file_is_the_one_that_its_manifest_describes() -> None:
    model = load_model(ready_model_dir("fraud"))  # raises where the checksum differs
    assert model.name == pipeline.model
    assert (ready_model_dir("fraud") / "model.onnx").stat().st_size < 200_000


@pytest.mark.parametrize("rows", [1, 7, 64, 257])
def test_its_scores_do_not_depend_on_how_rows_are_batched(
    scorer: Scorer, matrix: NDArray[np.float64], rows: int
) -> None:
    chosen = matrix[-2_000:]
    parts = [scorer.score(chosen[at : at + rows]) for at in range(0, len(chosen), rows)]
    assert np.concatenate(parts).tobytes() == scorer.score(chosen).tobytes()


def test_it_tells_frauds_from_honest_payments_in_a_world_it_has_not_seen(
    scorer: Scorer, matrix: NDArray[np.float64], transactions: Transactions
) -> None:
    late = transactions.event_time >= World().start_ms + 38 * DAY_MS
    scores, truth = scorer.score(matrix[late]), transactions.is_fraud[late]
    stopped = scorer.decision_codes(scores) > 0
    assert 0.002 < stopped.mean() < 0.04
    assert (stopped & truth).sum() > 0.3 * truth.sum()
    assert (stopped & truth).sum() > 0.3 * stopped.sum()


def test_it_stops_payments_far_above_what_a_customer_spends(
    scorer: Scorer, matrix: NDArray[np.float64], transactions: Transactions
) -> None:
    large = transactions.fraud == AMOUNT
    assert large.sum() > 10
    assert (scorer.decision_codes(scorer.score(matrix[large])) > 0).mean() > 0.9


def test_a_larger_payment_alone_never_turns_a_decision_for_the_better(
    scorer: Scorer, matrix: NDArray[np.float64]
) -> None:
    rows = matrix[-5_000:].copy()
    names = compile_plan(pipeline).feature_names
    amounts = [names.index(name) for name in ("TX_AMOUNT", "CUSTOMER_ID_AMOUNT_1HOUR_WINDOW")]
    before = scorer.score(rows)
    for more in (0.5, 3.0, 40.0, 900.0):
        rows[:, amounts] += more
        after = scorer.score(rows)
        # A network imitates what only rises, and does not quite do so itself.
        assert (after >= before - 0.1).all()
        assert (scorer.decision_codes(after) >= scorer.decision_codes(before)).all()
        before = after
    assert (scorer.decision_codes(before) > 0).all(), "900 more is stopped, whosever it is"


@pytest.mark.parametrize("name", ["fraude", "", "..", "../ready/fraud", "__pycache__"])
def test_a_name_that_does_not_ship_is_answered_with_those_that_do(name: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        ready_model_dir(name)
    assert caught.value.code == "model_not_found"
    assert "fraud" in caught.value.fix


def test_the_newest_version_is_the_highest_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("2", "9", "10", "draft"):
        (tmp_path / "fraud" / version).mkdir(parents=True)
    monkeypatch.setattr(ready, "ready_models_root", lambda: tmp_path)
    assert ready_model_dir("fraud") == tmp_path / "fraud" / "10"
