"""The trial of a challenger by labels: which one it is, what is known of it, and what it answers.

A trial is that of two versions since the entry of the history that brought them together: where
both score each event, the one since which they do. What is known of it is a handful of sums, so
that whoever decides next goes on from them (`TrialWord`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stream_infer.events.trial_word import TrialWord
from stream_infer.guardrails.joining import Compared
from stream_infer.guardrails.trial import Answer, Trial, TrialRules
from stream_infer.registry.entry import CHALLENGER, CHAMPION, SHADOW, Entry
from stream_infer.registry.history import Standing

CLASS_MIN = 20
"""Labels of either kind before which nothing is answered: on frauds alone, whichever version says
fraud more often would win."""


@dataclass(frozen=True, slots=True)
class Tried:
    """Who is on trial.

    since      entry of the history that brought the two together
    began_ms   its time
    paired     whether the challenger scores the champion's events too, as a shadow
    """

    champion: str
    challenger: str
    since: int
    began_ms: int
    paired: bool


def on_trial(standing: Standing, entries: Sequence[Entry]) -> Tried | None:
    """Return the trial that a model is in; None without a challenger that may be promoted."""
    champion, challenger = standing.champion, standing.aliases.get(CHALLENGER)
    if champion is None or challenger in (None, champion) or challenger in standing.barred:
        return None
    paired = standing.aliases.get(SHADOW) == challenger
    # Scores of before the challenger was the shadow have none beside them. To read a long past of
    # them would only keep the trial from what comes.
    parts = (CHAMPION, CHALLENGER, SHADOW) if paired else (CHAMPION, CHALLENGER)
    began = next(
        each for each in reversed(entries) if any(move.alias in parts for move in each.moves)
    )
    return Tried(champion, str(challenger), began.number, began.when_ms, paired)


@dataclass(frozen=True, slots=True)
class TrialState:
    """What is known of a trial.

    trial      the bets
    positives  labels that said yes
    negatives  labels that said no
    read       partition of the label topic -> next offset to be read
    """

    trial: Trial = field(default_factory=Trial)
    positives: int = 0
    negatives: int = 0
    read: Mapping[int, int] = field(default_factory=dict)

    def after(self, compared: Iterable[Compared], rules: TrialRules) -> TrialState:
        """Return the same after further steps."""
        steps = list(compared)
        if not steps:
            return self
        return replace(
            self,
            trial=self.trial.after((each.difference for each in steps), rules),
            positives=self.positives + sum(each.positives for each in steps),
            negatives=self.negatives + sum(each.negatives for each in steps),
        )

    def having_read(self, partition: int, offset: int) -> TrialState:
        """Return the same with labels read up to an offset."""
        return replace(self, read={**self.read, partition: offset})

    def answer(self, rules: TrialRules) -> Answer:
        """Return what is known well enough to be done."""
        if min(self.positives, self.negatives) < CLASS_MIN:
            return "go on"
        return self.trial.answer(rules)

    def reason(self, tried: Tried, rules: TrialRules) -> str:
        """Return the figures for the history and for people."""
        how = "on the same events" if tried.paired else "on events of its own keys"
        mean = self.trial.mean
        word = "below" if mean > 0 else "above"
        return (
            f"on {self.trial.steps:,} labelled events ({self.positives:,} positive) its mean"
            f" squared error is {abs(mean):.2g} {word} that of {tried.champion}, {how}; were they"
            f" equal, one trial in {1 / rules.alpha:.0f} at most would ever say so"
        )


def trial_word(model: str, tried: Tried, state: TrialState) -> TrialWord:
    """Return what is written down of a trial, but for the time."""
    trial = state.trial
    return TrialWord(
        model=model,
        champion=tried.champion,
        challenger=tried.challenger,
        since=tried.since,
        steps=trial.steps,
        total=trial.total,
        square=trial.square,
        better=trial.better,
        worse=trial.worse,
        best_better=trial.best_better,
        best_worse=trial.best_worse,
        positives=state.positives,
        negatives=state.negatives,
        read={str(partition): offset for partition, offset in state.read.items()},
    )


def state_of(word: TrialWord | None, model: str, tried: Tried) -> TrialState:
    """Return what was written down, if it is about this trial; else that nothing is known yet."""
    if word is None or (word.model, word.champion, word.challenger, word.since) != (
        model,
        tried.champion,
        tried.challenger,
        tried.since,
    ):
        return TrialState()
    return TrialState(
        Trial(
            word.steps,
            word.total,
            word.square,
            word.better,
            word.worse,
            word.best_better,
            word.best_worse,
        ),
        word.positives,
        word.negatives,
        {int(partition): offset for partition, offset in word.read.items()},
    )
