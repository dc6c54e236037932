"""The handbook's published features, recomputed; and a small generated twin that always runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_infer.events.columns import EVENT, LABEL, NO_POSITION, EventColumns
from stream_infer.features.plan import compile_plan
from stream_infer.features.table import compute_features
from stream_infer.pipelines.fraud import pipeline
from support.columns import Row, columns_of, label_row

DAY_MS = 86_400_000
LABEL_AFTER_MS = 6 * DAY_MS
ENTITIES = ("customer_id", "terminal_id")
TIES_MAX = 20


def _data_folder() -> Path:
    root = Path(__file__).parents[2]
    return root / os.environ.get("STREAM_INFER_DATA", "../shared/data") / "handbook-fraud"


def _columns(
    kind: int, ids: list[str], entities: dict[str, list[str]], **given: Any
) -> EventColumns:
    n = len(ids)
    defaults: dict[str, Any] = {
        "values": {"amount": np.zeros(n, np.int64)},
        "label": np.full(n, -1, np.int8),
        "label_time": np.zeros(n, np.int64),
    }
    return EventColumns(
        kind=np.full(n, kind, np.int8),
        ids=ids,
        entities=entities,
        features=np.empty((n, 0)),
        source_topic="transactions",
        source_partition=np.zeros(n, np.int64),
        source_offset=np.arange(n),
        late=np.zeros(n, np.bool_),
        duplicate_of=np.full(n, NO_POSITION, np.int64),
        **(defaults | given),
    )


@pytest.mark.realdata
@pytest.mark.slow
def test_all_fourteen_published_features_are_met() -> None:
    folder = _data_folder()
    if not folder.is_dir():
        pytest.skip(f"no published transactions in {folder}; set STREAM_INFER_DATA")
    pl = pytest.importorskip("polars", reason="Parquet files are read with polars")
    table = pl.read_parquet(folder / "transactions_2018-04-01_2018-08-14.parquet")
    published = pl.read_parquet(folder / "features_reference_2018-07-25_2018-08-14.parquet")

    ids = table["TRANSACTION_ID"].cast(pl.String).to_list()
    entities = {name: table[name.upper()].cast(pl.String).to_list() for name in ENTITIES}
    times = table["TX_DATETIME"].dt.epoch("ms").to_numpy().astype(np.int64)
    amounts = np.rint(table["TX_AMOUNT"].to_numpy() * 100).astype(np.int64)
    events = _columns(EVENT, ids, entities, event_time=times, values={"amount": amounts})
    labels = _columns(
        LABEL,
        ids,
        entities,
        event_time=times,
        label=table["TX_FRAUD"].to_numpy().astype(np.int8),
        label_time=times + LABEL_AFTER_MS,
    )
    matrix = compute_features(pipeline, events, labels)

    names = compile_plan(pipeline).feature_names
    place = {identity: i for i, identity in enumerate(ids)}
    rows = [place[i] for i in published["TRANSACTION_ID"].cast(pl.String).to_list()]
    compared = published.columns[1:]
    assert len(rows) == 201_295
    assert len(compared) == 14
    tied: set[int] = set()
    for name in compared:
        ours, theirs = matrix[rows, names.index(name)], published[name].to_numpy()
        if name.startswith("CUSTOMER"):
            # Two transactions of a customer in one second have no order in the publication.
            tied |= set(np.flatnonzero(np.abs(ours - theirs) > 1e-6).tolist())
        else:
            np.testing.assert_array_equal(ours, theirs, name)
    assert len(tied) <= TIES_MAX
    assert not events.late.any()
    assert (events.duplicate_of == NO_POSITION).all()


def _plain(times: NDArray[np.int64], i: int, same: NDArray[np.bool_], days: int, delay: int) -> Any:
    """Tell which rows up to `i` lie in the window of row `i`, as the handbook says it."""
    until = times[i] - delay * DAY_MS
    before = np.arange(len(times)) <= i
    return same & before & (times <= until) & (times > until - days * DAY_MS)


def test_a_small_world_meets_the_handbook_definitions_scanned_row_by_row() -> None:
    rng = np.random.default_rng(7)
    n = 1_500
    start = 1_522_540_800_000  # 2018-04-01, a Sunday
    times = start + np.sort(rng.integers(0, 60 * DAY_MS, n))
    customers, terminals = rng.integers(0, 12, n), rng.integers(0, 9, n)
    amounts, frauds = rng.integers(1, 30_000, n), rng.integers(0, 4, n) == 0
    keys = [
        {"customer_id": f"c{c}", "terminal_id": f"t{t}"}
        for c, t in zip(customers, terminals, strict=True)
    ]
    events = [Row(int(times[i]), f"x{i}", keys[i], {"amount": int(amounts[i])}) for i in range(n)]
    labels = [
        label_row(int(times[i]), f"x{i}", keys[i], int(frauds[i]), int(times[i]) + LABEL_AFTER_MS)
        for i in range(n)
    ]
    matrix = compute_features(
        pipeline,
        columns_of(events, ENTITIES, ("amount",)),
        columns_of(labels, ENTITIES, ("amount",)),
    )
    names = compile_plan(pipeline).feature_names
    for i in range(n):
        row = dict(zip(names, matrix[i], strict=True))
        stamp = np.datetime64(int(times[i]), "ms").item()
        assert row["TX_AMOUNT"] == amounts[i] / 100
        assert row["TX_DURING_WEEKEND"] == (stamp.weekday() >= 5)
        assert row["TX_DURING_NIGHT"] == (stamp.hour <= 6)
        for days in (1, 7, 30):
            mine = _plain(times, i, customers == customers[i], days, 0)
            assert row[f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"] == mine.sum()
            mean = amounts[mine].mean() / 100
            assert row[f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"] == pytest.approx(mean, abs=1e-9)
            there = _plain(times, i, terminals == terminals[i], days, 7)
            risk = frauds[there].mean() if there.any() else 0.0
            assert row[f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW"] == there.sum()
            assert row[f"TERMINAL_ID_RISK_{days}DAY_WINDOW"] == risk
