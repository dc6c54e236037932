"""A worker's start loads what folding needs, and nothing that only looks as if it did."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import numba, numpy as np
from stream_infer.pipelines.loading import load_pipeline
from stream_infer.precompile import precompile_pipeline

precompile_pipeline(load_pipeline("fraud"))
print("scipy.linalg" in sys.modules)
ones = np.ones((2, 2))
try:
    import scipy
except ImportError:
    print("no scipy here")
else:
    print(numba.njit(lambda a: a @ a)(ones)[0, 0])
"""


def test_scipy_is_not_loaded_and_linear_algebra_finds_it_all_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    loaded, answer = done.stdout.splitlines()
    assert loaded == "False"
    assert answer in {"2.0", "no scipy here"}
