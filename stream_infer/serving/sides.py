"""Which side of a trial a key is on. Pure.

A key has a place between 0 and 1, and the challenger decides those below its share. So a key
stays on its side as long as the trial lasts; a larger share only adds keys. The place comes from
a hash that has nothing to do with the partitioner's, or a trial would be a matter of partitions
and workers; and from the challenger's version, or every trial would be tried on the same keys.

Source  BLAKE2 (RFC 7693), 8 bytes, with the version as the key of the hash
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

KEYS_REMEMBERED_MAX = 500_000
"""As the partitioner remembers; beyond it the memory starts afresh."""
_SALT_BYTES_MAX = 64


class KeySides:
    """Places of keys in the trial of one version; what was worked out is remembered.

    version  the challenger's
    """

    def __init__(self, version: str) -> None:
        self._places = _Places(version.encode()[:_SALT_BYTES_MAX])

    def tried(self, keys: Sequence[str], share: float) -> NDArray[np.bool_]:
        """Return whether each key is decided by the challenger.

        share  of all keys, 0 to 1
        Cost   a look-up a key; a microsecond for a key that was not asked for before
        """
        places = np.fromiter(map(self._places.__getitem__, keys), np.float64, len(keys))
        return places < share


class _Places(dict[str, float]):
    """Key -> place in [0, 1), worked out when it is first asked for."""

    __slots__ = ("_salt",)

    def __init__(self, salt: bytes) -> None:
        super().__init__()
        self._salt = salt

    def __missing__(self, key: str) -> float:
        if len(self) >= KEYS_REMEMBERED_MAX:
            self.clear()
        digest = blake2b(key.encode(), digest_size=8, key=self._salt).digest()
        # 53 bits: as many as a float holds between 0 and 1.
        place = self[key] = (int.from_bytes(digest, "little") >> 11) / (1 << 53)
        return place
