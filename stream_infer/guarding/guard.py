"""The guard of a model: owns the evidence topic's partition, looks, and moves an alias back.

Every worker runs one, in a consumer group of their own over a topic with one partition, so Kafka
says which of them decides. Nothing else keeps them apart, and nothing else is needed: a guard that
was cut off and still believes to be the owner appends to the history against what it has read,
and is told that the alias has moved.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from stream_infer.errors import ConflictError, InvalidDataError, StreamInferError
from stream_infer.events.evidence import Evidence, decode_evidence
from stream_infer.events.told import Told
from stream_infer.guardrails.deciding import Decider, DeciderRules, Decision
from stream_infer.guardrails.windows import EvidenceWindow
from stream_infer.registry.control import what_serves
from stream_infer.registry.entry import CHALLENGER
from stream_infer.registry.registry import Registry
from stream_infer.scoring.reference import Reference

log = structlog.get_logger("stream_infer.models")

WINDOW_MS = 30_000


class Guard:
    """Watches one model; owns what was seen of its versions since it became the owner.

    registry  where aliases are moved
    tell      tells the workers what serves
    who       this worker, for the history
    """

    def __init__(
        self,
        registry: Registry,
        model: str,
        tell: Callable[[Told], Awaitable[None]],
        *,
        pipeline: str,
        who: str,
        rules: DeciderRules | None = None,
    ) -> None:
        self._registry = registry
        self._model = model
        self._tell = tell
        self._pipeline = pipeline
        self._who = who
        self._rules = rules or DeciderRules()
        self._references: dict[str, Reference | None] = {}
        self._is_blind = False
        self.begin()

    def begin(self) -> None:
        """Forget what was seen: another guard has decided meanwhile, or none."""
        self._window = EvidenceWindow(WINDOW_MS)
        self._decider = Decider(self._rules)

    def take(self, value: bytes | None) -> None:
        """Take a record of evidence in; one of another pipeline or no evidence is passed over."""
        try:
            one = decode_evidence(value or b"")
        except InvalidDataError as error:
            log.warning("evidence_invalid", cause=error.message, fix=error.fix)
            return
        if (one.pipeline, one.model) == (self._pipeline, self._model):
            self._window.add(one)

    def add(self, one: Evidence) -> None:
        """Take evidence in."""
        self._window.add(one)

    async def look(self, now_ms: int | None = None) -> Decision | None:
        """Look at what was seen, and move an alias if it must be; return what was decided.

        A registry that does not answer is said once; the next look asks again.
        """
        now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        try:
            decision = await asyncio.to_thread(self._decide, now_ms)
            told = None if decision is None else await asyncio.to_thread(self._move, decision)
            if told is not None:
                await self._tell(told)
        except ConflictError as error:
            # Somebody moved the alias first: a person, or the guard that owns it now.
            log.warning("models_moved_by_others", code=error.code, cause=error.message)
            self.begin()
            return None
        except StreamInferError as error:
            if not self._is_blind:
                log.warning("guard_is_blind", code=error.code, cause=error.message, fix=error.fix)
            self._is_blind = True
            return None
        self._is_blind = False
        if decision is not None:
            log.error(
                "model_moved_back",
                model=self._model,
                version=decision.version,
                action=decision.action,
                why=decision.why,
            )
            self.begin()
        return decision

    def _decide(self, now_ms: int) -> Decision | None:
        standing = self._registry.standing(self._model)
        for version in self._window.totals(now_ms):
            if version not in self._references:
                manifest = self._registry.manifest(self._model, version)
                self._references[version] = manifest.reference
        return self._decider.look(standing, self._window, self._references, now_ms)

    def _move(self, decision: Decision) -> Told | None:
        """Move the alias by compare-and-set; the history says why."""
        if decision.action == "rollback":
            self._registry.roll_back(
                self._model,
                who=self._who,
                why=decision.why,
                automatic=True,
                expected=decision.version,
            )
        else:
            self._registry.reject(
                self._model,
                decision.version,
                alias=CHALLENGER,
                who=self._who,
                why=decision.why,
            )
        return what_serves(self._registry, self._model)
