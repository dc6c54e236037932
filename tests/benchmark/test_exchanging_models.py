"""What the models bench makes of its records: waits during a reload, and without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream_infer.benchmark.cores import choose_cores
from stream_infer.benchmark.models_session import ModelsSession
from stream_infer.benchmark.models_times import (
    Outputs,
    Reload,
    reloads_of,
    waits_of,
)
from stream_infer.kafka.connection import Connection


def outputs_of(*rows: tuple[int, int, int, int]) -> Outputs:
    """Return outputs: input partition, input offset, appended, version; in their own partition."""
    columns = np.array(rows, np.int64).T
    return Outputs(columns[0], columns[1], columns[2], columns[0], columns[3])


INPUTS = [np.array([1_000, 1_010, 0, 1_050]), np.array([1_005, 1_200])]
# Offset 2 of the first partition holds a marker; the last input has no output, the first has two.
FOUND = outputs_of((0, 0, 1_020, 0), (0, 0, 1_400, 0), (0, 1, 1_030, 1), (0, 3, 1_060, 1),
                   (1, 0, 1_045, 1))  # fmt: skip


def test_an_input_waits_until_its_first_output() -> None:
    waits = waits_of(INPUTS, FOUND)
    assert waits.appended.tolist() == [1_000, 1_010, 1_050, 1_005, 1_200]
    np.testing.assert_equal(waits.waited, [20.0, 20.0, 10.0, 40.0, np.nan])
    assert (waits.lost, waits.doubled) == (1, 1)


def test_a_reload_ends_when_every_partition_shows_its_version() -> None:
    told = [(1, 1_008), (0, 1_300)]
    assert reloads_of(told, FOUND, ("a", "b")) == [Reload("b", 1_008, 1_045)]
    # Nothing of the second partition shows the second one.
    assert reloads_of(told[1:], FOUND, ("a", "b")) == []


def test_inputs_are_parted_into_those_during_a_reload_and_the_undisturbed() -> None:
    waits = waits_of(INPUTS, FOUND)
    reloads = [Reload("b", 1_008, 1_045)]
    assert waits.during(reloads, 0).tolist() == [False, True, False, False, False]
    # 1,050 is just behind it; 1,200 is not, and has no output to wait for.
    undisturbed = waits.undisturbed(reloads, 1_000, 2_000)
    assert undisturbed.tolist() == [True, False, False, True, True]
    assert waits.percentile(50, undisturbed) == 30.0
    assert waits.percentile(50, np.zeros(5, np.bool_)) is None
    assert waits.during([], 0).tolist() == [False] * 5


@pytest.mark.kafka
async def test_a_short_run_exchanges_versions_and_loses_nothing(kafka: str, tmp_path: Path) -> None:
    session = ModelsSession(
        Connection(bootstrap=kafka),
        choose_cores(2),
        tmp_path,
        repeat=1,
        reloads=2,
        rate=500,
        horizon_s=1.0,
        show=lambda _what, _done, _total: None,
    )
    found = {figure.name: figure for figure in await session.reloads()}
    for words in ("not loaded", "lost", "doubled"):
        assert found[f"2 reloads at 500/s, {words}"].worker.known == [0]
    assert found["2 reloads at 500/s, seen in every partition"].worker.known == [2]
    waits = found["2 reloads at 500/s, p99 during a reload"]
    assert (waits.worker.median or 0) > 0
    assert (waits.baselines["without"].median or 0) > 0
    memory = found["2 reloads at 500/s, memory after the last"]
    assert (memory.worker.median or 0) > 50
