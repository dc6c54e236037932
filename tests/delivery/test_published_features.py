"""Published transactions through Kafka and both stages: the published features come out.

The data and the reference are those of the handbook of reproducible fraud detection
(chapter 3). They are named by STREAM_INFER_DATA; the generated twin always runs, on a file
of the same form, through the same commands.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.pipeline import Pipeline
from stream_infer.simulators.fraud import DAY_MS
from support.commands import run_command
from support.load import make_load
from support.pipelines import own_pipeline, written
from support.worker import COMMAND, WorkerProcess, settle

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

polars: Any = pytest.importorskip("polars")

FOLDER = "handbook-fraud"
TRANSACTIONS = "transactions_2018-04-01_2018-08-14.parquet"
REFERENCE = "features_reference_2018-07-25_2018-08-14.parquet"
FIRST_MS, AFTER_MS = 1_532_476_800_000, 1_534_291_200_000
"""2018-07-25 and 2018-08-15, the midnights."""

FIELDS = (
    "event_time=TX_DATETIME,transaction_id=TRANSACTION_ID,customer_id=CUSTOMER_ID,"
    "terminal_id=TERMINAL_ID,amount=TX_AMOUNT,is_fraud=TX_FRAUD"
)
SAME_SECOND_TIES_MAX = 20
"""Customer features of payments of one second depend on their order, which the reference lost."""

Table = dict[str, NDArray[np.float64]]
"""Feature -> values, rows in the order of transaction ids."""


@pytest.fixture(scope="module")
def published() -> Path:
    root = Path(__file__).parents[2]
    folder = Path(os.environ.get("STREAM_INFER_DATA", root / ".." / "shared" / "data")) / FOLDER
    if not (folder / REFERENCE).exists():
        pytest.skip(f"{folder} is absent; STREAM_INFER_DATA names the folder that holds it")
    return folder


class Scored(msgspec.Struct):
    transaction_id: str
    event_time: int
    features: dict[str, float | None]


def command(*words: object) -> None:
    ran = run_command(*words)
    assert ran.code == 0, ran.err


def stream(bootstrap: str, pipeline: Pipeline, reference: Path, file: Path) -> None:
    """Replay the file and its labels at full speed, and let one worker do all of it."""
    kafka = ("--bootstrap", bootstrap)
    sources = ("--pipeline", reference, "--fields", FIELDS, *kafka)
    assert pipeline.labels is not None
    command("topics", "create", reference, "--partitions", 4, *kafka)
    command("replay", file, "--topic", pipeline.events.topic, *sources)
    command("replay", file, "--topic", pipeline.labels.topic, "--label-delay", "6d", *sources)
    settings = {"align_wait_max": "1h"}
    worker = WorkerProcess(
        reference, bootstrap, "--publish-features", settings=settings, command=COMMAND
    )
    try:
        asyncio.run(settle(bootstrap, pipeline, worker.alive, patience_s=400))
        assert asyncio.run(worker.stop()) == 0, worker.log
    finally:
        worker.kill()
    command("audit", reference, *kafka)  # exit code 0: none lost, none scored twice


def streamed(bootstrap: str, pipeline: Pipeline, first_ms: int, after_ms: int) -> Table:
    """Return the features of the scored events of these days."""

    async def read() -> list[Scored]:
        decode = msgspec.json.Decoder(Scored).decode
        found: list[Scored] = []
        async with log_reader(Connection(bootstrap=bootstrap)) as reader:
            bounds = await reader.bounds(await reader.partitions(pipeline.scored))
            async for _, records in reader.read(bounds):
                events = map(decode, [record.value for record in records])
                found += [event for event in events if first_ms <= event.event_time < after_ms]
        return found

    events = asyncio.run(read())
    events.sort(key=lambda event: int(event.transaction_id))
    table: Table = {"TRANSACTION_ID": np.array([float(e.transaction_id) for e in events])}
    for name in events[0].features:
        values = [event.features[name] for event in events]
        table[name] = np.array([np.nan if v is None else v for v in values], np.float64)
    return table


def from_file(reference: Path, file: Path, out: Path, first_ms: int, after_ms: int) -> Table:
    """Return what ``stream-infer features`` computes for these days of the file."""
    command(
        *("features", reference, file, out, "--fields", FIELDS.rpartition(",")[0]),
        *("--label-delay", "6d", "--label-field", "TX_FRAUD"),
    )
    frame = polars.read_parquet(out)
    time = polars.read_parquet(file)["TX_DATETIME"].dt.epoch("ms")
    id_column = frame.columns[0]
    frame = frame.filter((time >= first_ms) & (time < after_ms))
    frame = frame.with_columns(polars.col(id_column).cast(polars.Int64)).sort(id_column)
    names = [name for name in frame.columns if name.isupper() and "WINDOW" in name]
    return {name: frame[name].cast(polars.Float64).to_numpy() for name in names}


def assert_same_bits(found: Table, expected: Table) -> None:
    for name, values in expected.items():
        assert len(values) == len(found[name]) > 0
        different = found[name].view(np.int64) != np.ascontiguousarray(values).view(np.int64)
        assert not different.any(), f"{name}: {np.count_nonzero(different)} of {len(values)} differ"


@pytest.mark.realdata
def test_published_features_come_out_of_the_stream_and_out_of_the_file(
    kafka: str, tmp_path: Path, published: Path
) -> None:
    pipeline = own_pipeline()
    reference, file = written(pipeline, tmp_path), published / TRANSACTIONS
    stream(kafka, pipeline, reference, file)
    found = streamed(kafka, pipeline, FIRST_MS, AFTER_MS)
    expected = polars.read_parquet(published / REFERENCE).sort("TRANSACTION_ID")
    ids = expected["TRANSACTION_ID"].cast(polars.Float64).to_numpy()
    assert np.array_equal(found["TRANSACTION_ID"], ids)
    names = [name for name in expected.columns if name != "TRANSACTION_ID"]
    assert len(names) == 14
    for name in names:
        values = expected[name].cast(polars.Float64).to_numpy()
        apart = np.abs(found[name] - values)
        if name.startswith("CUSTOMER"):
            assert np.count_nonzero(apart > 1e-6) <= SAME_SECOND_TIES_MAX, name
        else:
            assert np.array_equal(found[name], values), name
    assert_same_bits(
        found, from_file(reference, file, tmp_path / "out.parquet", FIRST_MS, AFTER_MS)
    )


@pytest.fixture
def generated(tmp_path: Path) -> Path:
    """Return a file of generated payments in the form of the published one."""
    rows = make_load(days=50, customers=150).transactions
    path = tmp_path / "generated.parquet"
    polars.DataFrame(
        {
            "TRANSACTION_ID": rows.number,
            "TX_DATETIME": polars.from_epoch(polars.Series(rows.event_time), time_unit="ms"),
            "CUSTOMER_ID": rows.customer,
            "TERMINAL_ID": rows.terminal,
            "TX_AMOUNT": rows.amount_cents / 100,
            "TX_FRAUD": rows.is_fraud.astype(np.int64),
        }
    ).write_parquet(path)
    return path


def test_a_generated_file_gives_the_same_bits_streamed_and_as_a_file(
    kafka: str, tmp_path: Path, generated: Path
) -> None:
    pipeline = own_pipeline()
    reference = written(pipeline, tmp_path)
    stream(kafka, pipeline, reference, generated)
    found = streamed(kafka, pipeline, 0, 4_000 * 365 * DAY_MS)
    expected = from_file(reference, generated, tmp_path / "out.parquet", 0, 4_000 * 365 * DAY_MS)
    assert len(expected) == 14
    assert_same_bits(found, expected)
