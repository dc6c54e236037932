"""A registry: versions that never change and aliases that move, in one place.

This is what commands, training and the decider use. Each call reads what is there; nothing is
kept between processes but the files.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stream_infer.errors import NotFoundError, StreamInferError
from stream_infer.registry.aliases import AliasLog
from stream_infer.registry.entry import CHAMPION, Entry, checked_alias, checked_name
from stream_infer.registry.history import (
    Draft,
    Standing,
    alias_moved,
    as_of,
    assign,
    clear,
    promote,
    reject,
    roll_back,
)
from stream_infer.registry.opening import open_store
from stream_infer.registry.store import Store
from stream_infer.registry.versions import Published, Versions
from stream_infer.scoring.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Verified:
    """What `Registry.verify` found about one version; `error` is None where it is sound."""

    model: str
    version: str
    error: StreamInferError | None


class Registry:
    """Models in a folder or an object store.

    store   where they are
    now_ms  the clock, ms since the epoch
    """

    def __init__(self, store: Store, *, now_ms: Callable[[], int] | None = None) -> None:
        self._store = store
        self._now_ms = now_ms
        self._logs: dict[str, AliasLog] = {}
        self._versions = Versions(store)

    @classmethod
    def open(cls, where: str | Path, *, create: bool = True) -> Registry:
        """Return the registry at a folder or URL; see `stream_infer.registry.opening`."""
        return cls(open_store(where, create=create))

    @property
    def place(self) -> str:
        """Where it is."""
        return self._store.place

    # -- versions -------------------------------------------------------------------------

    def models(self) -> list[str]:
        """Return the names of the models that are there."""
        return self._versions.models()

    def versions(self, model: str) -> list[str]:
        """Return a model's versions, those that are numbers first and in their order."""
        return self._versions.versions(model)

    def manifest(self, model: str, version: str) -> Manifest:
        """Return a version's manifest; raise NotFoundError ``version_not_found``."""
        return self._versions.manifest(model, version)

    def attachment(self, model: str, version: str, name: str) -> bytes:
        """Return a further file of a version; its sum is checked."""
        return self._versions.attachment(model, version, name)

    def copy_to(self, model: str, version: str, folder: Path) -> Manifest:
        """Write a version into a folder from which `load_model` loads it; its sum is checked."""
        return self._versions.copy_to(model, version, folder)

    def publish(
        self, content: bytes, manifest: Manifest, attachments: Mapping[str, bytes] | None = None
    ) -> Published:
        """Publish a version as its manifest names it; see `Versions.publish`."""
        return self._versions.publish(content, manifest, attachments)

    def publish_next(
        self, content: bytes, manifest: Manifest, attachments: Mapping[str, bytes] | None = None
    ) -> Published:
        """Publish under the next free number, whatever version the manifest names."""
        return self._versions.publish_next(content, manifest, attachments)

    def verify(self, model: str, version: str | None = None) -> list[Verified]:
        """Read versions anew, check their sums and load them; also the model's history.

        Raises  InvalidDataError ``history_damaged``
        """
        self.standing(model)
        wanted = self.versions(model) if version is None else [version]
        return [Verified(model, each, self._fault_of(model, each)) for each in wanted]

    def _fault_of(self, model: str, version: str) -> StreamInferError | None:
        try:
            self._versions.verify(model, version)
        except StreamInferError as error:
            return error
        return None

    # -- aliases --------------------------------------------------------------------------

    def standing(self, model: str) -> Standing:
        """Return where a model's aliases point now."""
        return self._log(model).standing()

    def history(self, model: str) -> list[Entry]:
        """Return a model's history, oldest first."""
        return self._log(model).entries()

    def as_of(self, model: str, at_ms: int) -> Standing:
        """Return where a model's aliases pointed at a time."""
        return as_of(self.history(model), model, at_ms)

    def resolve(self, model: str, reference: str) -> str:
        """Return the version that an alias names, or the version of that name.

        Raises  NotFoundError ``alias_not_found``; ``version_not_found`` where what the alias names
                was deleted
        """
        version = self.standing(model).aliases.get(reference, reference)
        if version == reference and version not in self.versions(model):
            raise NotFoundError(
                "alias_not_found",
                f"{reference!r} is neither an alias nor a version of {model} in {self.place}.",
                f"See: stream-infer models show {model}.",
                model=model,
                reference=reference,
            )
        self.manifest(model, version)
        return version

    def promote(
        self,
        model: str,
        version: str,
        *,
        who: str | None = None,
        why: str = "",
        expected: str | None = None,
        tried_as: str | None = None,
        automatic: bool = False,
    ) -> Entry | None:
        """Make a version champion; None where it is already. The version is verified first.

        expected  the champion that the caller knows; None: whichever there is
        tried_as  an alias that must name the version
        Raises    ConflictError ``alias_moved``, ``version_barred``; what verifying raises
        """
        self._versions.verify(model, version)
        return self._log(model).append(
            lambda now: promote(now, version, expected=expected, tried_as=tried_as),
            who=who or person(),
            why=why,
            automatic=automatic,
        )

    def roll_back(
        self,
        model: str,
        version: str | None = None,
        *,
        who: str | None = None,
        why: str = "",
        automatic: bool = False,
        expected: str | None = None,
    ) -> Entry | None:
        """Put an earlier champion back and bar the present one.

        expected  the champion that is to be left; None: whichever there is
        Raises    ConflictError ``alias_moved``, ``nothing_to_roll_back_to``; what verifying the
                  earlier one raises
        """
        chosen = expected or self.standing(model).champion

        def decide(now: Standing) -> Draft:
            if now.champion != chosen:
                raise alias_moved(model, CHAMPION, chosen, now.champion)
            draft = roll_back(now, version)
            target = draft.moves[0].after
            if target is not None:
                self._versions.verify(model, target)
            return draft

        return self._log(model).append(decide, who=who or person(), why=why, automatic=automatic)

    def reject(
        self, model: str, version: str, *, alias: str, who: str, why: str, automatic: bool = True
    ) -> Entry | None:
        """Take an alias off a version and bar it."""
        return self._log(model).append(
            lambda now: reject(now, version, alias), who=who, why=why, automatic=automatic
        )

    def assign(
        self,
        model: str,
        alias: str,
        version: str | None,
        *,
        share: float | None = None,
        who: str | None = None,
        why: str = "",
    ) -> Entry | None:
        """Put an alias on a version, or take it off with None; None where nothing changes.

        share   of the keys that a challenger is to decide, 0 to 1
        Raises  ConflictError ``alias_reserved``, ``version_barred``; what verifying raises
        """
        checked_alias(alias)
        if version is not None:
            self._versions.verify(model, version)
        return self._log(model).append(
            lambda now: assign(now, alias, version, share=share), who=who or person(), why=why
        )

    def clear(self, model: str, version: str, *, who: str | None = None, why: str) -> Entry | None:
        """Lift the bar on a version: it may be promoted again."""
        return self._log(model).append(
            lambda now: clear(now, version), who=who or person(), why=why
        )

    def _log(self, model: str) -> AliasLog:
        if model not in self._logs:
            self._logs[checked_name(model, "model")] = AliasLog(
                self._store, model, now_ms=self._now_ms
            )
        return self._logs[model]


def person() -> str:
    """Return who runs this process, as ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
