"""What a feature stage has folded of one partition: windows, and lists where it decides.

`StageState` owns both. They change together, by `fold`, `fold_only` and `restore`, so that a
snapshot of them is always one of one offset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from stream_infer.alerts.listed import NOBODY, Listed, ListFold
from stream_infer.alerts.spec import EntityList
from stream_infer.errors import InvalidDataError, StateBudgetError
from stream_infer.events.columns import EventColumns
from stream_infer.features.fold import Folded, ReadyRows, StageFold
from stream_infer.features.plan import StagePlan
from stream_infer.windows.capture import Capture


class FoldedRows(NamedTuple):
    """What the state says about the rows of a batch.

    folded  by the windows
    listed  who is on a list
    """

    folded: Folded
    listed: Listed


class StageState:
    """The state of one stage and partition.

    plan       what the windows fold
    lists      the lists that decide in this stage; none elsewhere
    bytes_max  bound on `bytes`; `fold` raises `StateBudgetError` beyond it, after which the state
               must be restored
    """

    def __init__(
        self, plan: StagePlan, lists: Sequence[EntityList] = (), bytes_max: int | None = None
    ) -> None:
        self.windows = StageFold(plan, memory_bytes_max=bytes_max)
        self._lists = ListFold(lists) if lists else None
        self._bytes_max = bytes_max

    @property
    def clock_ms(self) -> int | None:
        """The partition's clock, None before it was set."""
        return self.windows.clock_ms

    @property
    def keys(self) -> int:
        """Keys that something is held of."""
        return self.windows.keys

    @property
    def entries(self) -> int:
        """Entries that are held of all keys, and entities on lists."""
        listed = 0 if self._lists is None else self._lists.lists.seen
        return self.windows.entries + listed

    @property
    def bytes(self) -> int:
        """About the memory that is held."""
        return self.windows.bytes + (0 if self._lists is None else self._lists.bytes)

    def fold(
        self, columns: EventColumns, ready: ReadyRows | None = None, start: int = 0
    ) -> FoldedRows:
        """Fold the rows in order and return what is said about them; see `StageFold.fold`."""
        folded = self.windows.fold(columns, ready, start)
        if self._lists is None:
            return FoldedRows(folded, NOBODY)
        listed = self._lists.fold(columns)
        self._check_budget(self._lists)
        return FoldedRows(folded, listed)

    def fold_only(self, columns: EventColumns) -> None:
        """Fold the rows, for the state alone."""
        self.windows.fold(columns)
        if self._lists is not None:
            self._lists.fold_only(columns)
            self._check_budget(self._lists)

    def tells_silence(self, clock_ms: int) -> bool:
        """Say whether a tick at that time would find a key silent that is to be told."""
        return self.windows.tells_silence(clock_ms)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as text, whole numbers, lists and bytes; equal states, equal snapshots.

        Lists are left out where none decide, so that a state says what it always said.
        """
        taken: dict[str, Any] = dict(self.windows.snapshot())
        if self._lists is not None:
            taken["lists"] = self._lists.snapshot()
        return taken

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Replace the state by a snapshot's.

        Raises  ConflictError when other declarations made it, StateBudgetError when it is too big
        """
        windows = {name: part for name, part in snapshot.items() if name != "lists"}
        self.windows.restore(windows)
        if self._lists is not None:
            self._lists.restore(snapshot.get("lists", {}))

    @property
    def fingerprint(self) -> str:
        """Which declarations the state belongs to."""
        return self.windows.plan.features_version

    def capture(self) -> Iterator[dict[str, Any] | None]:
        """Return the state as it is now, in frames that are read between folds that go on.

        None stands for a slice of work that brings no frame. See `stream_infer.windows.capture`.
        """
        head, keys = self.windows.capture()
        frames = [{"part": "head", **head}]
        if self._lists is not None:
            frames.append({"part": "lists", **self._lists.snapshot()})
        return _frames(frames, keys)

    def restore_frame(self, frame: Mapping[str, Any]) -> None:
        """Put one of a capture's frames, in their order, into this state, which was empty.

        Raises  as `restore`; InvalidDataError when the frame is none of such a state. The state is
                worth nothing then
        """
        part = frame["part"]
        if part == "head":
            self.windows.restore_head(frame)
        elif part == "keys":
            self.windows.restore_piece(frame)
        elif part == "lists" and self._lists is not None:
            self._lists.restore(dict(frame))
        else:
            raise InvalidDataError(
                "state_malformed",
                f"A part {part!r} of a saved state belongs to no such stage.",
                "Rebuild the state from the log.",
            )

    def _check_budget(self, lists: ListFold) -> None:
        # The windows' own part is held to the bound by themselves.
        if self._bytes_max is None or not lists.bytes or self.bytes <= self._bytes_max:
            return
        raise StateBudgetError(
            "state_budget",
            f"The lists have {lists.lists.seen:,} entities and need {lists.bytes:,} bytes beside "
            f"the windows, more than the {self._bytes_max:,} that a partition may take.",
            "Raise the memory bound, or take entities off the lists.",
            entries=lists.lists.seen,
            bytes_held=self.bytes,
            bytes_max=self._bytes_max,
        )


def _frames(first: list[dict[str, Any]], keys: Capture) -> Iterator[dict[str, Any] | None]:
    yield from first
    for piece in keys.pieces():
        yield None if piece is None else {"part": "keys", **piece}
