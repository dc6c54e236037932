"""Keys as small whole numbers: the row of `slots` that a key's state lies in.

A dict of a million keys takes 180 bytes a key beside its text, which takes 49 more than its
letters: as much as the windows of a customer who pays twice a week. Here a key takes 16 bytes,
its text, and some 8 of a table that is searched by its hash (`stream_infer.windows.keytable`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stream_infer.compiled import one_form
from stream_infer.errors import StateBudgetError
from stream_infer.windows.hashing import joined
from stream_infer.windows.keytable import (
    AT,
    DEAD,
    FREE,
    GIVEN_BACK,
    HELD,
    LENGTH,
    LENGTH_BITS,
    LENGTH_MAX,
    NOBODY,
    TEXT,
    USED,
    KeyTable,
    copy_text,
    drop_keys,
    fill_table,
    find_keys,
)

_TEXT_MAX = 1 << (62 - LENGTH_BITS)
_GROWTH = 1.0625
_SLOTS_FIRST = 64
_TEXT_FIRST = 1024
_TABLE_FIRST = 128

_find_keys = one_form(find_keys)


class SlotMap:
    """Key -> slot; a key that is looked up for the first time gets one.

    Slots of keys that are dropped are given out again, the latest first.
    """

    def __init__(self) -> None:
        self._held = KeyTable(
            registers=np.zeros(LENGTH + 1, np.int64),
            table=np.full(_TABLE_FIRST, NOBODY, np.int32),
            keys=np.zeros((_SLOTS_FIRST, 2), np.int64),
            text=np.zeros(_TEXT_FIRST, np.uint8),
        )
        self._held.registers[GIVEN_BACK] = NOBODY

    def __len__(self) -> int:
        """How many keys have a slot."""
        return int(self._held.registers[HELD])

    @property
    def slots(self) -> int:
        """How many slots were ever given out."""
        return int(self._held.registers[USED])

    @property
    def bytes(self) -> int:
        """Memory of the keys."""
        return sum(array.nbytes for array in self._held)

    def look_up(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """Return the slots of `keys`, (n,) int64."""
        out = np.empty(len(keys), np.int64)
        if not keys:
            return out
        data, between = joined(keys)
        done = _find_keys(self._held, data, between, out, 0, 0)
        if done < 0:
            # A key holds the very byte that lies between them.
            half = len(keys) // 2
            out[:half], out[half:] = self.look_up(keys[:half]), self.look_up(keys[half:])
            return out
        while done < len(keys):
            self._make_room()
            at = int(self._held.registers[AT])
            done = _find_keys(self._held, data, between, out, done, at)
        return out

    def drop(self, slots: NDArray[np.int64]) -> None:
        """Forget the keys of these slots; a slot without a key stays as it is."""
        drop_keys(self._held, slots)
        if 2 * self._held.registers[DEAD] > self._held.registers[TEXT]:
            self._gather_text()

    def hashes(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the hashes of the keys of slots, as `hash_ids` has them, (n,) int64."""
        hashes: NDArray[np.int64] = self._held.keys[slots, 0]
        return hashes

    def names(self, slots: NDArray[np.int64]) -> list[str]:
        """Return the keys of slots, "" for a slot without one."""
        slots = np.ascontiguousarray(slots)
        where = self._held.keys[slots, 1]
        out = np.empty(int((where[where != FREE] & LENGTH_MAX).sum()), np.uint8)
        ends = np.empty(len(slots), np.int64)
        copy_text(self._held, slots, out, ends)
        data, bounds = out.tobytes(), pairwise([0, *ends.tolist()])
        if data.isascii():
            text = data.decode("ascii")
            return [text[start:end] for start, end in bounds]
        return [data[start:end].decode("utf-8", "surrogatepass") for start, end in bounds]

    def _make_room(self) -> None:
        """Make room for one more key."""
        held, registers = self._held, self._held.registers
        length, text = int(registers[LENGTH]), int(registers[TEXT])
        if length > LENGTH_MAX or text + length > _TEXT_MAX:
            raise StateBudgetError(
                "state_budget",
                f"A key of {length:,} bytes does not fit beside the {len(self):,} that are held.",
                "Use shorter keys or more partitions.",
                keys=len(self),
                bytes_held=text,
            )
        if registers[USED] == len(held.keys) and registers[GIVEN_BACK] == NOBODY:
            held.keys.resize((_grown(len(held.keys), len(held.keys) + 1), 2), refcheck=False)
        if text + length > len(held.text):
            held.text.resize(_grown(len(held.text), text + length), refcheck=False)
        if 4 * (registers[HELD] + 1) > 3 * len(held.table):
            self._held = held._replace(table=np.full(2 * len(held.table), NOBODY, np.int32))
            fill_table(self._held)

    def _gather_text(self) -> None:
        """Write the texts of the keys that are left anew, without gaps."""
        held, registers = self._held, self._held.registers
        kept = np.flatnonzero(held.keys[: registers[USED], 1] != FREE)
        used = int(registers[TEXT] - registers[DEAD])
        text, ends = np.zeros(max(_TEXT_FIRST, used), np.uint8), np.empty(len(kept), np.int64)
        copy_text(held, kept, text, ends)
        lengths = held.keys[kept, 1] & LENGTH_MAX
        held.keys[kept, 1] = ((ends - lengths) << LENGTH_BITS) | lengths
        registers[TEXT], registers[DEAD] = used, 0
        self._held = held._replace(text=text)


def _grown(held: int, wanted: int) -> int:
    return max(wanted, int(held * _GROWTH), held + _SLOTS_FIRST)
