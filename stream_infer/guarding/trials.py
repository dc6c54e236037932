"""The trial by labels that a guard conducts: who is on trial, what is known, what is to be done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from stream_infer.events.trial_word import TrialWord
from stream_infer.guardrails.deciding import Decision
from stream_infer.guardrails.joining import Compared, LabelJoin
from stream_infer.guardrails.trial import Answer, TrialRules
from stream_infer.guardrails.trying import TrialState, Tried, state_of, trial_word
from stream_infer.settings.model import ModelSettings


@dataclass(frozen=True, slots=True)
class ScoreRead:
    """A score as it stands in a topic.

    event          the event's id
    time_ms        its time
    by_challenger  whose it is
    """

    event: str
    time_ms: int
    score: float
    by_challenger: bool


class TrialKeeper:
    """Owns what is known of one model's trial while this worker is the one that decides.

    Changes by `follow` (who is on trial), `restore` (what an earlier owner knew) and by the two
    `take_...`; all of them on the event loop.
    """

    def __init__(self, model: str, settings: ModelSettings) -> None:
        self.model = model
        self.rules = TrialRules(
            alpha=settings.trial_alpha,
            margin=settings.trial_margin,
            steps_min=settings.trial_labels_min,
        )
        self._promotes = settings.trial == "promote"
        self._held_max = settings.trial_events_max
        self._wait_ms = settings.trial_label_wait_ms
        self._begun = asyncio.Event()
        self.tried: Tried | None = None
        self.state: TrialState | None = None
        self._join: LabelJoin | None = None

    def follow(self, tried: Tried | None) -> None:
        """Conduct this trial from now on; what was known of another one is forgotten."""
        if tried == self.tried:
            return
        self.tried, self.state, self._join = tried, None, None
        if tried is None:
            self._begun.clear()
        else:
            self._begun.set()

    async def begun(self) -> Tried:
        """Wait until there is a trial, and return it."""
        while self.tried is None:
            await self._begun.wait()
        return self.tried

    def restore(self, tried: Tried, word: TrialWord | None) -> TrialState:
        """Go on from what was written down of this trial; nothing, if it is about another one."""
        self.state = state_of(word, self.model, tried)
        self._join = LabelJoin(paired=tried.paired, held_max=self._held_max, wait_ms=self._wait_ms)
        return self.state

    def take_scores(self, scores: Iterable[ScoreRead]) -> None:
        """Take scores in, in any order."""
        if self._join is None:
            return
        found: list[Compared] = []
        for each in scores:
            found += self._join.scored(
                each.event, each.time_ms, each.score, by_challenger=each.by_challenger
            )
        self._count(found)

    def take_labels(self, labels: Iterable[tuple[str, bool]], partition: int, end: int) -> None:
        """Take labels in: the event's id and the truth, of one partition up to offset `end`."""
        if self._join is None or self.state is None:
            return
        found: list[Compared] = []
        for event, truth in labels:
            found += self._join.labelled(event, truth=truth)
        self._count(found)
        self.state = self.state.having_read(partition, end)

    def _count(self, compared: list[Compared]) -> None:
        if compared and self.state is not None:
            self.state = self.state.after(compared, self.rules)

    def answer(self) -> Answer:
        """Return what the labels so far allow to say."""
        return "go on" if self.state is None else self.state.answer(self.rules)

    def decision(self) -> Decision | None:
        """Return the move that is to be made now, if any, and if moves are asked for."""
        answer = self.answer()
        if answer == "go on" or not self._promotes or self.tried is None or self.state is None:
            return None
        why = self.state.reason(self.tried, self.rules)
        return Decision(answer, self.tried.challenger, why, self.tried.champion)

    def word(self) -> TrialWord | None:
        """Return what is to be written down, but for the time; None where nothing is known."""
        if self.tried is None or self.state is None:
            return None
        return trial_word(self.model, self.tried, self.state)

    @property
    def followed(self) -> float:
        """Share of all events that are followed."""
        return 1.0 if self._join is None else 0.5**self._join.level
