"""The history of a model's aliases in a store: read to its end, and appended to by one at a time.

    <model>/_history/0000000001.json

An entry is a file of its own with the next number. Two who append at once want the same name,
and the store tells the second; nothing else keeps them apart, no lock and no leader.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from stream_infer.errors import ConflictError, NotFoundError
from stream_infer.registry.entry import Entry, checked_name, damaged, decode_entry, encode_entry
from stream_infer.registry.history import (
    Draft,
    Standing,
    alias_moved,
    fold,
    next_entry,
    still_holds,
)
from stream_infer.registry.store import FileExistsAlreadyError, Store

ENTRY_BYTES_MAX = 64 * 1024
HISTORY = "_history"
TRIES_MAX = 20
"""Each try but the last lost to an entry of somebody else's: so many at once are a fault."""

Deciding = Callable[[Standing], Draft | None]


class AliasLog:
    """The history of one model; owns what was read of it.

    Entries never change, so one that was read is kept, and reading on asks for the next number
    alone.
    """

    def __init__(
        self, store: Store, model: str, *, now_ms: Callable[[], int] | None = None
    ) -> None:
        self._store = store
        self._model = checked_name(model, "model")
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self._entries: list[Entry] = []
        self._is_whole = False
        self._standing = Standing(self._model)

    def entries(self) -> list[Entry]:
        """Return the whole history, oldest first.

        Raises  InvalidDataError ``history_damaged``; RegistryUnreachableError
        """
        self._read_on()
        return list(self._entries)

    def standing(self) -> Standing:
        """Return where the aliases point now; raises as `entries`."""
        self._read_on()
        return self._standing

    def append(
        self, decide: Deciding, *, who: str, why: str, automatic: bool = False
    ) -> Entry | None:
        """Decide on what the history says, and append it; None where nothing is to be done.

        decide  called again when others appended meanwhile and did not touch what it moves
        Raises  ConflictError ``alias_moved`` where they did; what `decide` raises; as `entries`
        """
        for _ in range(TRIES_MAX):
            draft = decide(self.standing())
            if draft is None:
                return None
            entry = next_entry(
                self._standing,
                draft,
                now_ms=self._now_ms(),
                who=who,
                why=why,
                automatic=automatic,
            )
            fold([entry], self._standing)
            try:
                self._store.create(self._path(entry.number), encode_entry(entry))
            except FileExistsAlreadyError:
                lost = still_holds(draft, self.standing())
                if lost is not None:
                    now = self._standing.aliases.get(lost.alias)
                    raise alias_moved(self._model, lost.alias, lost.before, now) from None
                continue
            self._take(entry)
            return entry
        raise ConflictError(
            "history_contended",
            f"Others append to the history of {self._model} all the time.",
            "Find out who moves its aliases, then try again.",
            model=self._model,
        )

    def _read_on(self) -> None:
        while True:
            number = self._standing.number + 1
            try:
                content = self._store.read(self._path(number), ENTRY_BYTES_MAX)
            except NotFoundError:
                break
            self._take(decode_entry(content, self._path(number)))
        if not self._is_whole:
            self._refuse_gap()

    def _refuse_gap(self) -> None:
        """Raise where an entry is missing: it would hide all that came after it."""
        names = self._store.names(f"{self._model}/{HISTORY}")
        self._is_whole = True
        if names and names[-1] > f"{self._standing.number:010d}.json":
            before = self._standing.number
            self._read_on()  # it may have been appended just now
            if self._standing.number == before:
                self._is_whole = False
                raise damaged(
                    f"{before + 1} of model {self._model}", "it is missing, and later ones are not"
                )

    def _take(self, entry: Entry) -> None:
        self._standing = fold([entry], self._standing)
        self._entries.append(entry)

    def _path(self, number: int) -> str:
        return f"{self._model}/{HISTORY}/{number:010d}.json"
