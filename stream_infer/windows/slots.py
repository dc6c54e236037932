"""Keys as small whole numbers: the row of `slots` that a key's state lies in."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 180
"""What a key costs beside its text: its share of the dict, the int, the list entry (measured)."""


class SlotMap(dict[str, int]):
    """Key -> slot; a key that is looked up for the first time gets one.

    Slots of keys that are dropped are given out again, the latest first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str | None] = []
        self._free: list[int] = []
        self.text_bytes = 0

    def __missing__(self, key: str) -> int:
        if self._free:
            slot = self._free.pop()
            self.names[slot] = key
        else:
            slot = len(self.names)
            self.names.append(key)
        self[key] = slot
        self.text_bytes += sys.getsizeof(key)
        return slot

    def look_up(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """Return the slots of `keys`, (n,) int64; 0.05 µs each for known ones."""
        return np.fromiter(map(self.__getitem__, keys), np.int64, len(keys))

    def drop(self, slots: NDArray[np.int64]) -> None:
        """Forget the keys of these slots; a slot without a key stays as it is."""
        for slot in slots.tolist():
            key = self.names[slot]
            if key is None:
                continue
            self.text_bytes -= sys.getsizeof(key)
            del self[key]
            self.names[slot] = None
            self._free.append(slot)

    @property
    def bytes(self) -> int:
        """Memory of the keys, estimated."""
        return self.text_bytes + KEY_BYTES * len(self.names)
