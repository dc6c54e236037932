"""The partitions of many keys at once, for whoever needs none of the keys' bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_infer.records.kernels import place_keys


def partitions_of(keys: Sequence[str], partitions: int) -> NDArray[np.int64]:
    """Return the partition of each key, (n,) int64, by the rule of `records.partitioner`.

    partitions  of the topic, at least 1
    Raises      UnicodeEncodeError for a text that UTF-8 cannot hold
    Cost        about 0.1 us a key, where to look each up takes 0.3
    """
    data = "".join(keys).encode()
    each = keys if len(data) == sum(map(len, keys)) else [key.encode() for key in keys]
    lengths = np.fromiter(map(len, each), np.int64, len(keys))
    places = np.empty(len(keys), np.int64)
    place_keys(np.frombuffer(data, np.uint8), lengths, partitions, places)
    return places
