"""Figures on public data; the twins of these on generated data stand beside, in this folder."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import pytest

from stream_infer.cli import main

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("STREAM_INFER_DATA", ROOT / ".." / "shared" / "data"))
FRAUD = DATA / "handbook-fraud" / "transactions_2018-04-01_2018-08-14.parquet"
FIELDS = (
    "transaction_id=TRANSACTION_ID,event_time=TX_DATETIME,customer_id=CUSTOMER_ID,"
    "terminal_id=TERMINAL_ID,amount=TX_AMOUNT"
)

pytestmark = pytest.mark.realdata


def test_a_detector_that_was_written_down_beforehand_reaches_83_on_nab(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not (DATA / "nab").is_dir():
        pytest.skip(f"{DATA / 'nab'} is absent; STREAM_INFER_DATA names the folder that holds it")
    monkeypatch.syspath_prepend(str(ROOT))
    sys.modules.pop("benchmarks.nab_given", None)
    nab_given = importlib.import_module("benchmarks.nab_given")
    assert nab_given.measure(DATA / "nab", 1, mix=False)["standard"] >= 83


@pytest.mark.thorough
def test_boosted_trees_keep_what_they_reach_by_the_handbook_s_protocol(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not FRAUD.is_file():
        pytest.skip(f"{FRAUD} is absent; STREAM_INFER_DATA names the folder that holds it")
    words = ["train", "fraud", "--data", str(FRAUD), "--fields", FIELDS, "--labels", "TX_FRAUD"]
    words += ["--train", "2018-07-25..2018-07-31", "--test", "2018-08-08..2018-08-14"]
    words += ["--delay", "7d", "--kinds", "trees", "--out", str(tmp_path), "--json"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["training"]["rows"], said["training"]["positives"]) == (67_240, 598)
    assert (said["test"]["rows"], said["test"]["positives"]) == (58_264, 385)
    assert said["average_precision"] >= 0.745
    assert said["auc"] >= 0.865
    assert said["card_precision_100"] >= 0.298
    assert said["parity"]["reached"] == said["parity"]["splits"]
