"""A worker's model where a registry says which versions serve.

Joins the source of versions, the exchange and what holds them for one pipeline. What a worker
serves first is what it was told last; where nobody was told anything, what the registry says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Generic, Protocol, TypeVar

from stream_infer.errors import NotFoundError, StreamInferError
from stream_infer.events.told import Told
from stream_infer.registry.entry import CHAMPION
from stream_infer.scoring.model import Model
from stream_infer.serving.exchange import Bound, Exchange
from stream_infer.serving.versions import VersionSource


class Holder(Protocol):
    """Holds the versions that serve: a `Router`, or a `Forecaster`."""

    @property
    def champion(self) -> Any:
        """The version that serves what no other one does."""

    @property
    def number(self) -> int:
        """The entry of the model's history that says so."""

    def versions(self) -> Mapping[str, str]:
        """Return alias -> version that is loaded."""

    def exchange(self, roles: Mapping[str, Any], share: float, number: int) -> None:
        """Let these versions serve from the next batch on."""


B = TypeVar("B", bound=Bound)
H = TypeVar("H", bound=Holder)


class LiveModel(Generic[H]):
    """The versions of one model that a worker serves.

    source  where versions come from
    told    what the topic said at the start, None where it said nothing
    bind    binds a model to the pipeline's features
    hold    makes what holds the versions, from the first champion
    aliases that mean something to it; None: all that workers are told of
    on_failure  told what must not happen
    What the other aliases name is loaded when `exchange` follows, with `told` as its first word.
    Raises  NotFoundError ``nothing_promoted``; what `VersionSource.load` and `bind` raise. Blocks
    """

    def __init__(
        self,
        source: VersionSource,
        told: Told | None,
        bind: Callable[[Model], B],
        hold: Callable[[B], H],
        *,
        on_failure: Callable[[BaseException], Awaitable[None]],
        aliases: Collection[str] | None = None,
    ) -> None:
        told = told or source.what_serves()
        served = None if told is None else told.served.get(CHAMPION)
        if told is None or served is None:
            raise NotFoundError(
                "nothing_promoted",
                "The registry names no champion of the pipeline's model.",
                "Promote a version with: stream-infer models promote MODEL VERSION.",
            )
        champion = bind(source.load(served))
        self.registry = source.registry
        self.told = told
        self.router = hold(champion)
        exchange = Exchange(
            source.load, bind, self.router.exchange, on_failure=on_failure, aliases=aliases
        )
        exchange.start_with(served, champion)
        self.exchange: Exchange[Any] = exchange

    @property
    def name_and_version(self) -> tuple[str, str]:
        """The champion that serves."""
        champion = self.router.champion
        return champion.name, champion.version

    def failures(self) -> Mapping[str, StreamInferError]:
        """Return alias -> why what is told of it does not serve."""
        return self.exchange.failures
