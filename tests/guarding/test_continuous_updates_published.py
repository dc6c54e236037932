"""The run of docs/continuous-updates.md, anew: published payments, their labels a week behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("STREAM_INFER_DATA", ROOT / ".." / "shared" / "data")).resolve()
FRAUD = DATA / "handbook-fraud" / "transactions_2018-04-01_2018-08-14.parquet"

pytestmark = [pytest.mark.realdata, pytest.mark.thorough]


def test_the_page_s_run_ends_with_the_better_version_promoted_and_the_bad_one_rolled_back(
    tmp_path: Path,
) -> None:
    if not FRAUD.is_file():
        pytest.skip(f"{FRAUD} is absent; STREAM_INFER_DATA names the folder that holds it")
    page, picture = tmp_path / "page.md", tmp_path / "picture.svg"
    script = ROOT / "docs" / "make_continuous_updates.py"
    ran = subprocess.run(
        [sys.executable, script, "--data", DATA, "--page", page, "--picture", picture],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = page.read_text()
    history = told[told.index("models history") :]
    order = (
        "promote: champion - -> 1",
        "promote: champion 1 -> 3; previous - -> 1; challenger 3 -> -; shadow 3 -> -",
        "challenger 4 -> -; 4 barred",
        "clear: 4",
        "promote: champion 3 -> 4",
        "rollback: champion 4 -> 3; previous 3 -> 4; 4 barred",
    )
    places = [history.find(entry) for entry in order]
    assert -1 not in places, history
    assert places == sorted(places)
    assert picture.read_text().startswith("<svg")
