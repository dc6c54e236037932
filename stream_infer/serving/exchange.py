"""Exchanges the versions that serve while others score: load, warm, then swap.

Loading happens in a thread; the swap is one assignment between batches. What cannot be loaded
changes nothing: the champion that serves goes on, and so does every other role that can. A
registry that does not answer is asked again, less and less often, until it does or something
newer is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing
from typing import Generic, Protocol, TypeVar

import structlog

from stream_infer.errors import InvalidDataError, StreamInferError
from stream_infer.events.told import Served, Told
from stream_infer.registry.entry import CHAMPION
from stream_infer.registry.store import RegistryUnreachableError
from stream_infer.scoring.model import Model

log = structlog.get_logger("stream_infer.models")

RETRY_S_MIN, RETRY_S_MAX = 1.0, 30.0
LISTEN_AGAIN_S = 5.0


class Bound(Protocol):
    """A model that is bound to a pipeline's features."""

    @property
    def version(self) -> str | None:
        """Its version."""


B = TypeVar("B", bound=Bound)


class Exchange(Generic[B]):
    """What a worker serves of one model; owns which versions are loaded and which failed.

    load   returns a version, verified and warm; called in a thread
    bind   binds it to the pipeline's features, and refuses what does not fit
    swap   makes what is loaded serve: alias -> version, share, number of the history's entry
    on_failure  told what must not happen, and would otherwise end the exchange without a word
    aliases     that are loaded; None: all that are told
    """

    def __init__(
        self,
        load: Callable[[Served], Model],
        bind: Callable[[Model], B],
        swap: Callable[[Mapping[str, B], float, int], None],
        *,
        on_failure: Callable[[BaseException], Awaitable[None]],
        aliases: Collection[str] | None = None,
    ) -> None:
        self._aliases = aliases
        self._load = load
        self._bind = bind
        self._swap = swap
        self._on_failure = on_failure
        self._loaded: dict[str, tuple[Served, B]] = {}
        self._doing: asyncio.Task[None] | None = None
        self.number = 0
        self.failures: dict[str, StreamInferError] = {}
        """alias -> why what is told of it does not serve"""

    def start_with(self, served: Served, champion: B) -> None:
        """Take note of the version that serves from the start."""
        self._loaded[CHAMPION] = (served, champion)

    async def follow(
        self,
        follow: Callable[[], AsyncGenerator[Told | InvalidDataError, None]],
        first: Told | None = None,
    ) -> None:
        """Do what is told, for ever; newer words end the waiting for older ones.

        follow  begins to listen; called again where Kafka could not be reached
        first   what is known already: the topic may say nothing
        """
        try:
            if first is not None:
                await self._hear(first)
            while True:
                try:
                    # Closed here, also when this is cancelled between two words: left to the
                    # interpreter, the reader behind it would stay open.
                    async with aclosing(follow()) as words:
                        async for word in words:
                            await self._hear(word)
                except StreamInferError as error:
                    log.warning("models_topic_unread", cause=error.message, fix=error.fix)
                await asyncio.sleep(LISTEN_AGAIN_S)
        finally:
            if self._doing is not None:
                self._doing.cancel()

    async def _hear(self, word: Told | InvalidDataError) -> None:
        if isinstance(word, InvalidDataError):
            log.warning("models_record_invalid", cause=word.message, fix=word.fix)
            return
        if word.number < self.number:
            return
        if self._doing is not None:
            self._doing.cancel()
            await asyncio.wait([self._doing])
        self._doing = asyncio.create_task(self._until_done(word))

    async def _until_done(self, told: Told) -> None:
        wait_s = RETRY_S_MIN
        try:
            while not await self.apply(told):
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, RETRY_S_MAX)
        except Exception as error:  # noqa: BLE001 - nobody awaits this task: it says so itself
            await self._on_failure(error)

    async def apply(self, told: Told) -> bool:
        """Load what is told and is not loaded, and let it serve; say whether that is the end of it.

        False where the registry did not answer: then it is worth another try.
        """
        loaded: dict[str, tuple[Served, B]] = {}
        failures: dict[str, StreamInferError] = {}
        for alias, served in told.served.items():
            if self._aliases is not None and alias not in self._aliases:
                continue
            try:
                loaded[alias] = (served, await self._get(served))
            except StreamInferError as error:
                failures[alias] = error
                self._say(alias, served, error)
        self._take(told, loaded, failures)
        return not any(isinstance(each, RegistryUnreachableError) for each in failures.values())

    async def _get(self, served: Served) -> B:
        for known, bound in self._loaded.values():
            if known == served:
                return bound
        loop = asyncio.get_running_loop()
        began = loop.time()
        bound = await asyncio.to_thread(lambda: self._bind(self._load(served)))
        log.info("model_loaded", version=served.version, took_s=round(loop.time() - began, 3))
        return bound

    def _take(
        self,
        told: Told,
        loaded: dict[str, tuple[Served, B]],
        failures: dict[str, StreamInferError],
    ) -> None:
        if CHAMPION not in loaded and CHAMPION in self._loaded:
            # Whatever is told, somebody must score.
            loaded[CHAMPION] = self._loaded[CHAMPION]
        self.failures = failures
        if CHAMPION not in loaded:
            return
        before = {alias: served.version for alias, (served, _) in self._loaded.items()}
        self._swap({alias: bound for alias, (_, bound) in loaded.items()}, told.share, told.number)
        self._loaded, self.number = loaded, told.number
        now = {alias: served.version for alias, (served, _) in loaded.items()}
        if now != before:
            log.info("models_serve", number=told.number, share=told.share, serves=now)

    def _say(self, alias: str, served: Served, error: StreamInferError) -> None:
        earlier = self.failures.get(alias)
        if earlier is None or earlier.code != error.code:
            log.error(
                "model_not_loaded",
                alias=alias,
                version=served.version,
                code=error.code,
                cause=error.message,
                fix=error.fix,
            )
