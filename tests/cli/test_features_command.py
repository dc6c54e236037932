from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from stream_infer.features.plan import compile_plan
from stream_infer.pipelines.fraud import pipeline
from support.commands import Ran, run_command

DAY_MS = 86_400_000
START_MS = 1_522_540_800_000
FIELDS = (
    "event_time=TX_DATETIME,transaction_id=TRANSACTION_ID,customer_id=CUSTOMER_ID,"
    "terminal_id=TERMINAL_ID,amount=TX_AMOUNT"
)
NAMES = list(compile_plan(pipeline).feature_names)


def world(rows: int, seed: int = 1) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    # Distinct seconds over 60 days, so that no two events of a key tie.
    seconds = np.sort(random.choice(60 * 86_400, size=rows, replace=False))
    return pl.DataFrame(
        {
            "TRANSACTION_ID": np.arange(rows),
            "TX_DATETIME": pl.Series(START_MS + 1_000 * seconds).cast(pl.Datetime("ms")),
            "CUSTOMER_ID": random.integers(0, 7, rows),
            "TERMINAL_ID": random.integers(0, 5, rows),
            "TX_AMOUNT": np.round(random.gamma(2, 30, rows), 2),
            "TX_FRAUD": random.integers(0, 4, rows) == 0,
        }
    )


def compute(source: Path, target: Path, *options: str) -> Ran:
    return run_command("features", "fraud", source, target, "--fields", FIELDS, *options)


def with_labels(source: Path, target: Path, *options: str) -> Ran:
    return compute(source, target, "--label-delay", "6d", "--label-field", "TX_FRAUD", *options)


def expected(table: pl.DataFrame) -> list[dict[str, float]]:
    """The handbook's rules written out: counts and means over (t - w, t], the terminal's a week
    before, one row and one window at a time."""
    times = table["TX_DATETIME"].dt.timestamp("ms").to_list()
    rows = list(zip(times, table.iter_rows(named=True), strict=True))
    found = []
    for t, row in rows:
        features: dict[str, float] = {}
        for days in (1, 7, 30):
            mine = [
                other["TX_AMOUNT"]
                for at, other in rows
                if other["CUSTOMER_ID"] == row["CUSTOMER_ID"] and t - days * DAY_MS < at <= t
            ]
            end = t - 7 * DAY_MS
            there = [
                other["TX_FRAUD"]
                for at, other in rows
                if other["TERMINAL_ID"] == row["TERMINAL_ID"] and end - days * DAY_MS < at <= end
            ]
            features[f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"] = len(mine)
            features[f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"] = sum(mine) / len(mine)
            features[f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW"] = len(there)
            features[f"TERMINAL_ID_RISK_{days}DAY_WINDOW"] = (
                sum(there) / len(there) if there else 0.0
            )
        found.append(features)
    return found


def test_features_of_a_file_follow_the_handbook_s_rules(tmp_path: Path) -> None:
    table = world(600)
    table.write_parquet(tmp_path / "in.parquet")
    ran = with_labels(tmp_path / "in.parquet", tmp_path / "out.parquet", "--json")
    assert ran.code == 0
    assert (ran.json["rows"], ran.json["features"], ran.json["labels"]) == (600, 17, 600)
    out = pl.read_parquet(tmp_path / "out.parquet")
    assert out.columns == ["transaction_id", "customer_id", "terminal_id", *NAMES]
    assert out["transaction_id"].to_list() == [str(n) for n in range(600)]
    for row, features in zip(out.iter_rows(named=True), expected(table), strict=True):
        for name, value in features.items():
            assert row[name] == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_all_forms_of_file_give_the_same_features(tmp_path: Path, suffix: str) -> None:
    table = world(80)
    table.write_parquet(tmp_path / "in.parquet")
    writers: dict[str, Any] = {"csv": table.write_csv, "jsonl": table.write_ndjson}
    writers[suffix](tmp_path / f"in.{suffix}")
    with_labels(tmp_path / "in.parquet", tmp_path / "a.parquet")
    assert with_labels(tmp_path / f"in.{suffix}", tmp_path / "b.parquet").code == 0
    assert with_labels(tmp_path / "in.parquet", tmp_path / f"c.{suffix}").code == 0
    a = pl.read_parquet(tmp_path / "a.parquet")
    assert a.equals(pl.read_parquet(tmp_path / "b.parquet"))
    readers: dict[str, Any] = {"csv": pl.read_csv, "jsonl": pl.read_ndjson}
    c = readers[suffix](tmp_path / f"c.{suffix}")
    assert np.array_equal(a.select(NAMES).to_numpy(), c.select(NAMES).to_numpy())


def test_labels_may_come_from_a_file_of_their_own(tmp_path: Path) -> None:
    table = world(200)
    table.write_parquet(tmp_path / "in.parquet")
    table.with_columns(
        (pl.col("TX_DATETIME") + pl.duration(days=6)).alias("label_time"),
    ).sample(fraction=1.0, shuffle=True, seed=3).write_parquet(tmp_path / "labels.parquet")
    with_labels(tmp_path / "in.parquet", tmp_path / "a.parquet")
    mapping = FIELDS.replace(",amount=TX_AMOUNT", ",is_fraud=TX_FRAUD")
    ran = compute(
        tmp_path / "in.parquet",
        tmp_path / "b.parquet",
        "--labels",
        str(tmp_path / "labels.parquet"),
        "--label-fields",
        mapping,
    )
    assert ran.code == 0, ran.err
    a, b = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in "ab")
    assert a["TERMINAL_ID_RISK_30DAY_WINDOW"].max() != 0
    assert a.equals(b)


def test_bad_rows_are_an_error_that_names_them_or_are_left_out(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(
        "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT\n"
        "1,2024-01-01T00:00:00Z,c,m,1.50\n"
        "2,soon,c,m,1.50\n"
        "3,2024-01-01T00:00:01Z,c,m,-4\n"
        "4,2024-01-01T00:00:02Z,,m,1.50\n"
        "5,2024-01-01T00:00:03Z,c,m,2.50\n"
    )
    ran = compute(source, tmp_path / "out.csv", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (5, "bad_rows")
    assert [(row["row"], row["code"]) for row in ran.json["error"]["details"]["rows"]] == [
        (2, "bad_time"),
        (3, "out_of_range"),
        (4, "missing_field"),
    ]
    assert not (tmp_path / "out.csv").exists()
    ran = compute(source, tmp_path / "out.csv", "--skip-bad", "--json")
    assert (ran.code, ran.json["skipped"]) == (0, 3)
    out = pl.read_csv(tmp_path / "out.csv")
    assert out["transaction_id"].to_list() == [1, 5]
    assert out["CUSTOMER_ID_NB_TX_1DAY_WINDOW"].to_list() == [1, 2]


def test_wrong_use_is_told(tmp_path: Path) -> None:
    table = world(5)
    table.write_parquet(tmp_path / "in.parquet")
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    assert compute(source, tmp_path / "out.xlsx").code == 2
    assert compute(source, target, "--label-field", "TX_FRAUD").code == 2
    assert compute(source, target, "--labels", "x.csv", "--label-delay", "6d").code == 2
    assert compute(tmp_path / "none.parquet", target).code == 3
    assert compute(source, tmp_path / "no-folder" / "out.parquet").code == 2
    assert run_command("features", "fraud", source, target).code == 2


@pytest.mark.realdata
@pytest.mark.slow
def test_the_handbook_s_published_features_are_met(tmp_path: Path) -> None:
    data = Path(os.environ.get("STREAM_INFER_DATA", "../shared/data")) / "handbook-fraud"
    source = data / "transactions_2018-04-01_2018-08-14.parquet"
    if not source.exists():
        pytest.skip(f"the handbook's transactions are not at {source}")
    assert with_labels(source, tmp_path / "out.parquet").code == 0
    published = pl.read_parquet(data / "features_reference_2018-07-25_2018-08-14.parquet")
    ours = pl.read_parquet(tmp_path / "out.parquet").with_columns(
        pl.col("transaction_id").cast(pl.Int32)
    )
    joined = published.join(ours, left_on="TRANSACTION_ID", right_on="transaction_id", suffix="_")
    assert joined.height == published.height
    names = published.columns[1:]
    assert len(names) == 14
    differs = {name: ((joined[name] - joined[f"{name}_"]).abs() > 1e-6).sum() for name in names}
    ties = {name: count for name, count in differs.items() if count}
    # Two payments of one customer in one second: the reference counts both for each of them.
    assert all(name.startswith("CUSTOMER_ID") and count <= 20 for name, count in ties.items()), ties
