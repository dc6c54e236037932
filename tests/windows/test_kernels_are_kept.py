from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np

from stream_infer.features.fold import StageFold
from stream_infer.features.plan import compile_plan
from stream_infer.windows import kernels
from stream_infer.windows.precompile import precompile
from support.columns import Row, columns_of
from support.logs import ENTITIES, VALUES, pipeline

_SECOND_PROCESS = """
from stream_infer.windows import hashing, kernels, keytable, whole
from stream_infer.windows.precompile import precompile
precompile()
kept = [whole.insert_all, whole.read_all, whole.widen_sums, hashing._hash_texts]
kept += [keytable.find_keys, keytable.fill_table, keytable.drop_keys, keytable.copy_text]
for kernel in (kernels.fold_rows, kernels.sweep, *kept):
    assert not kernel.stats.cache_misses, kernel
    assert kernel.stats.cache_hits, kernel
"""


def test_a_second_process_loads_every_kernel_and_compiles_none() -> None:
    precompile()
    subprocess.run([sys.executable, "-c", _SECOND_PROCESS], check=True, timeout=120)


def test_strided_and_read_only_columns_do_not_make_a_kernel_compile_again() -> None:
    precompile()
    rows = [Row(100 + i, f"p{i}", {"card": "a", "shop": "x"}) for i in range(6)]
    columns = columns_of(rows, ENTITIES, VALUES)
    expected = StageFold(compile_plan(pipeline()).stages[0]).fold(columns).features
    columns.event_time = np.repeat(columns.event_time, 2)[::2]
    columns.label_time.flags.writeable = False
    columns.kind = columns.kind.astype(np.int64)[:].astype(np.int8)
    for stage in compile_plan(pipeline()).stages:
        found = StageFold(stage).fold(columns).features
        if stage.first:
            np.testing.assert_array_equal(found, expected)
    fold_rows: Any = kernels.fold_rows
    assert len(fold_rows.signatures) == 1
