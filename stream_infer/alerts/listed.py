"""Who of a batch's rows is on a list: looked up while the log is folded, row by row.

A row sees exactly the changes before it in its log, whatever batch it came in. So the look-up
belongs to the fold, and the decision, which is made for many partitions at once, only reads
what it found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from stream_infer.alerts.lists import Lists, list_changes
from stream_infer.alerts.spec import EntityList
from stream_infer.events.columns import EventColumns


class Listed(dict[str, list[int]]):
    """List -> rows whose entity is on it, ascending; lists without any row are left out."""

    def rows(self, name: str, entities: Sequence[str]) -> list[int]:
        """Return the rows that were found; `entities`, theirs, are not looked at again."""
        return self.get(name, [])


NOBODY = Listed()


class ListFold:
    """The lists that decide in one stage and partition.

    entries  the declared lists
    """

    def __init__(self, entries: Sequence[EntityList]) -> None:
        self._entries = tuple(entries)
        self.lists = Lists()

    def fold(self, columns: EventColumns) -> Listed:
        """Fold the changes among the rows and return which rows are on a list.

        Cost  next to nothing while the lists are empty and do not change
        """
        changes = list_changes(columns)
        if not changes and not self.lists.seen:
            return NOBODY
        found = Listed()
        bounds = [0, *(row for row, _ in changes), len(columns)]
        for at, (start, end) in enumerate(pairwise(bounds)):
            if at:
                self.lists.fold([changes[at - 1][1]])
            self._look_up(columns.entities, start, end, found)
        return found

    def _look_up(
        self, entities: Mapping[str, Sequence[str]], start: int, end: int, found: Listed
    ) -> None:
        for entry in self._entries:
            rows = self.lists.rows(entry.name, entities[entry.entity][start:end])
            if rows:
                found.setdefault(entry.name, []).extend(start + row for row in rows)

    def fold_only(self, columns: EventColumns) -> None:
        """Fold the changes among the rows."""
        self.lists.fold(change for _, change in list_changes(columns))

    @property
    def bytes(self) -> int:
        """About the memory that is held."""
        return self.lists.bytes

    def snapshot(self) -> dict[str, Any]:
        """Return the state as text and whole numbers; equal states, equal snapshots."""
        return self.lists.snapshot()

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Replace the state by a snapshot's; see `Lists.restore`."""
        self.lists.restore(snapshot)
