"""Compiles the kernels of this package once, so that no worker spends its first seconds on it.

    python -m stream_infer.features.precompile

Machine code is kept where that of `stream_infer.windows.precompile` is.
"""

from __future__ import annotations

import numpy as np

from stream_infer.features.silence import SilenceWatch
from stream_infer.pipeline import Silence
from stream_infer.windows.state import Results, Rows


def precompile() -> None:
    """Call each kernel with nothing to do; quick when its machine code is at hand."""
    whole, flags, small = np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(1, np.int8)
    one = np.zeros(1, np.int64)
    rows = Rows(
        kind=small,
        time=one,
        slot=one,
        ids=whole,
        values=np.zeros((0, 0), np.int64),
        position=whole,
        late=flags,
        duplicate_of=whole,
        label=small,
        label_time=whole,
        upstream=whole,
        upstream_offset=whole,
    )
    results = Results(
        accepted=flags,
        late=flags,
        duplicate_of=whole,
        features=np.zeros((0, 0), np.float64),
        stepped=small,
        clock=one,
        before=one,
    )
    SilenceWatch(Silence()).fold(rows, results, None, [])


if __name__ == "__main__":
    precompile()
