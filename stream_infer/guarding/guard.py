"""The guard of a model: owns the evidence topic's partition, looks, and moves aliases.

Every worker runs one, in a consumer group of their own over a topic with one partition, so Kafka
says which of them decides. Nothing else keeps them apart, and nothing else is needed: a guard that
was cut off and still believes to be the owner appends to the history against what it has read,
and is told that the alias has moved.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from stream_infer.errors import ConflictError, InvalidDataError, StreamInferError
from stream_infer.events.evidence import Evidence, decode_evidence
from stream_infer.events.told import Told
from stream_infer.guarding.drifting import DriftWatch
from stream_infer.guarding.operations import OperationsDesk
from stream_infer.guarding.trials import TrialKeeper
from stream_infer.guardrails.deciding import Decider, DeciderRules, Decision
from stream_infer.guardrails.hours import EvidenceHours
from stream_infer.guardrails.trying import on_trial
from stream_infer.guardrails.windows import EvidenceWindow
from stream_infer.registry.control import what_serves
from stream_infer.registry.entry import CHALLENGER, Entry
from stream_infer.registry.history import Standing
from stream_infer.registry.registry import Registry
from stream_infer.scoring.reference import Reference

log = structlog.get_logger("stream_infer.models")

WINDOW_MS = 30_000


@dataclass(frozen=True, slots=True)
class _Looked:
    """What the registry says, and what the evidence asks for."""

    standing: Standing
    entries: Sequence[Entry]
    decision: Decision | None


class Guard:
    """Watches one model; owns what was seen of its versions since it became the owner.

    registry    where aliases are moved
    tell        tells the workers what serves
    who         this worker, for the history
    trial       the trial by labels; None: none is conducted
    operations  tells operations of what was moved; None: nobody is told
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
        trial: TrialKeeper | None = None,
        operations: OperationsDesk | None = None,
    ) -> None:
        self._registry = registry
        self.model = model
        self._tell = tell
        self._pipeline = pipeline
        self._who = who
        self._rules = rules or DeciderRules()
        self._references: dict[str, Reference | None] = {}
        self._is_blind = False
        self._is_silent = False
        self._has_moved = False
        self.decides = False
        self.trial = trial
        self.operations = operations
        self.drift = DriftWatch()
        self._forget_seconds(EvidenceHours())

    def begin(self) -> None:
        """Forget what was seen: another guard has decided meanwhile, or none."""
        self.decides = True
        self._forget_seconds(EvidenceHours())
        self.drift.forget()
        if self.operations is not None:
            self.operations.told = None

    def end(self) -> None:
        """Conduct nothing any more: another guard decides."""
        self.decides = False
        if self.trial is not None:
            self.trial.follow(None)
        self.drift.forget()

    def _forget_seconds(self, hours: EvidenceHours) -> None:
        self._window = EvidenceWindow(WINDOW_MS, hours)
        self._decider = Decider(self._rules)
        if self.trial is not None:
            self.trial.follow(None)

    @property
    def hours(self) -> EvidenceHours:
        """What is remembered of hours."""
        return self._window.hours

    def take(self, value: bytes | None) -> None:
        """Take a record of evidence in; one of another pipeline or no evidence is passed over."""
        try:
            one = decode_evidence(value or b"")
        except InvalidDataError as error:
            log.warning("evidence_invalid", cause=error.message, fix=error.fix)
            return
        if (one.pipeline, one.model) == (self._pipeline, self.model):
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
            looked = await asyncio.to_thread(self._decide, now_ms)
            # Also where nothing is to be moved: Kafka may not have taken the last word.
            await self._tell_workers()
            decision = looked.decision or self._by_labels(looked)
            if decision is not None:
                await self._carry_out(decision)
                looked = await asyncio.to_thread(self._read)
        except ConflictError as error:
            # Somebody moved the alias first: a person, or the guard that owns it now.
            log.warning("models_moved_by_others", code=error.code, cause=error.message)
            self._forget_seconds(self.hours)
            return None
        except StreamInferError as error:
            if not self._is_blind:
                log.warning("guard_is_blind", code=error.code, cause=error.message, fix=error.fix)
            self._is_blind = True
            return None
        self._is_blind = False
        if decision is not None:
            self._forget_seconds(self.hours)
        self.drift.look(self.hours, looked.standing, self._references, now_ms)
        await self._tell_operations(looked.entries)
        return decision

    def _by_labels(self, looked: _Looked) -> Decision | None:
        """Conduct the trial that the model is in; return the move that labels ask for, if any."""
        if self.trial is None:
            return None
        self.trial.follow(on_trial(looked.standing, looked.entries))
        return self.trial.decision()

    def _read(self) -> _Looked:
        standing = self._registry.standing(self.model)
        return _Looked(standing, self._registry.history(self.model), None)

    def _decide(self, now_ms: int) -> _Looked:
        looked = self._read()
        for version in self._window.totals(now_ms):
            if version not in self._references:
                manifest = self._registry.manifest(self.model, version)
                self._references[version] = manifest.reference
        return replace(
            looked,
            decision=self._decider.look(looked.standing, self._window, self._references, now_ms),
        )

    async def _carry_out(self, decision: Decision) -> None:
        """Move the alias, say so, and tell the workers."""
        await asyncio.to_thread(self._move, decision)
        self._has_moved = True
        facts = {"model": self.model, "version": decision.version, "why": decision.why}
        if decision.action == "promote":
            log.info("model_promoted", before=decision.champion, **facts)
        else:
            log.error("model_moved_back", action=decision.action, **facts)
        await self._tell_workers()

    def _move(self, decision: Decision) -> None:
        """Move the alias by compare-and-set; the history says why."""
        if decision.action == "rollback":
            self._registry.roll_back(
                self.model,
                who=self._who,
                why=decision.why,
                automatic=True,
                expected=decision.version,
            )
        elif decision.action == "promote":
            self._registry.promote(
                self.model,
                decision.version,
                who=self._who,
                why=decision.why,
                expected=decision.champion,
                tried_as=CHALLENGER,
                automatic=True,
            )
        else:
            self._registry.reject(
                self.model,
                decision.version,
                alias=CHALLENGER,
                who=self._who,
                why=decision.why,
            )

    async def _tell_workers(self) -> None:
        """Tell the workers what serves, if that was not told since an alias was moved here."""
        if not self._has_moved:
            return
        told = await asyncio.to_thread(what_serves, self._registry, self.model)
        if told is not None:
            await self._tell(told)
        self._has_moved = False

    async def _tell_operations(self, entries: Sequence[Entry]) -> None:
        if self.operations is None:
            return
        try:
            told = await self.operations.tell(entries)
        except StreamInferError as error:
            if not self._is_silent:
                log.warning("operations_not_told", cause=error.message, fix=error.fix)
            self._is_silent = True
            return
        self._is_silent = False
        for each in told:
            log.info("operations_told", kind=each.kind, change=each.change, version=each.version)
