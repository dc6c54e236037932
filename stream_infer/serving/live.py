"""A worker's model where a registry says which versions serve.

Joins the source of versions, the exchange and the router for one pipeline. What a worker serves
first is what it was told last; where nobody was told anything, what the registry says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from stream_infer.errors import NotFoundError, StreamInferError
from stream_infer.events.told import Told
from stream_infer.registry.entry import CHALLENGER, CHAMPION, FAST, SHADOW
from stream_infer.scoring.model import Model
from stream_infer.scoring.session import Scorer
from stream_infer.serving.exchange import Exchange
from stream_infer.serving.router import Router, Serving
from stream_infer.serving.versions import VersionSource


class LiveModel:
    """The versions of one model that a worker serves.

    source  where versions come from
    told    what the topic said at the start, None where it said nothing
    bind    binds a model to the pipeline's features
    on_failure  told what must not happen
    Raises  NotFoundError ``nothing_promoted``; what `VersionSource.load` and `bind` raise. Blocks
    """

    def __init__(
        self,
        source: VersionSource,
        told: Told | None,
        bind: Callable[[Model], Scorer],
        *,
        on_failure: Callable[[BaseException], Awaitable[None]],
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
        self.router = Router(Serving(champion), counts=True)
        self.exchange = Exchange(source.load, bind, self._swap, on_failure=on_failure)
        self.exchange.start_with(served, champion)

    @property
    def name_and_version(self) -> tuple[str, str]:
        """The champion that serves."""
        champion = self.router.serving.champion
        return champion.name, champion.version

    def failures(self) -> Mapping[str, StreamInferError]:
        """Return alias -> why what is told of it does not serve."""
        return self.exchange.failures

    def _swap(self, roles: Mapping[str, Scorer], share: float, number: int) -> None:
        self.router.serve(
            Serving(
                champion=roles[CHAMPION],
                challenger=roles.get(CHALLENGER),
                share=share,
                shadow=roles.get(SHADOW),
                fast=roles.get(FAST),
                number=number,
            )
        )
