"""Chooses the version that scores each row, runs each version once, and counts what it did.

The champion scores, but for keys that the challenger tries and for times of overload. A version
beside the champion that fails costs nobody an answer: the champion scores its rows, the failure
is counted. What serves is one value that is exchanged as a whole between batches, so no batch is
scored by half of an old and half of a new arrangement.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import thread_time

import numpy as np
from numpy.typing import NDArray

from stream_infer.registry.entry import CHALLENGER, CHAMPION, FAST, SHADOW
from stream_infer.scoring.session import DECISIONS, Scorer
from stream_infer.serving.sides import KeySides
from stream_infer.serving.tally import Tally, score_edges

Score = Callable[[NDArray[np.float64]], NDArray[np.float32]]

_WORDS = np.array(DECISIONS, dtype=object)


@dataclass(frozen=True, slots=True)
class Serving:
    """Which versions serve, and in which role.

    champion    scores what no other version does
    challenger  scores the keys of its share
    share       of the keys, 0 to 1
    shadow      scores beside
    fast        scores in place of the champion under overload
    number      entry of the model's history that says so; 0 for the version that a worker was given
    """

    champion: Scorer
    challenger: Scorer | None = None
    share: float = 0.0
    shadow: Scorer | None = None
    fast: Scorer | None = None
    number: int = 0

    def roles(self) -> dict[str, Scorer]:
        """Return alias -> version that is loaded."""
        found = {
            "champion": self.champion,
            "challenger": self.challenger,
            "shadow": self.shadow,
            "fast": self.fast,
        }
        return {alias: scorer for alias, scorer in found.items() if scorer is not None}


@dataclass(frozen=True, slots=True)
class Routed:
    """What was answered about ``n`` rows.

    scores     (n,) float32
    decisions  n words, each by the thresholds of the version that scored
    scorers    the versions that scored
    side       (n,) intp, index into `scorers`; None where one version scored all rows
    shadow     what the shadow answered; None without one, or where it failed
    """

    scores: NDArray[np.float32]
    decisions: list[str]
    scorers: tuple[Scorer, ...]
    side: NDArray[np.intp] | None = None
    shadow: Routed | None = None

    @property
    def name(self) -> str:
        """The model's name: of all versions the same."""
        return self.scorers[0].name

    def versions(self) -> str | list[str]:
        """Return the version that scored: of all rows, or of each where they differ."""
        if self.side is None:
            return self.scorers[0].version
        words = np.array([scorer.version for scorer in self.scorers], dtype=object)
        return list(words[self.side])

    def by_version(self, rows: Sequence[int]) -> list[tuple[Score, list[int]]]:
        """Return how each version scores, with those of the rows that it scored, in their order."""
        if self.side is None:
            return [(self.scorers[0].score, list(rows))]
        found: dict[int, list[int]] = {}
        for row in rows:
            found.setdefault(int(self.side[row]), []).append(row)
        return [(self.scorers[side].score, those) for side, those in found.items()]


class Router:
    """Scores rows with what serves; threads may share it.

    serving  what serves at first
    counts   whether what each version does is counted, for somebody who takes it each second
    seconds  clock for how long runs take; by default the thread's own time on a processor, or a
             machine that is busy with something else would be taken for a version that is slow
    """

    def __init__(
        self,
        serving: Serving,
        *,
        counts: bool = False,
        seconds: Callable[[], float] = thread_time,
    ) -> None:
        self._counts = counts
        self._serving = serving
        self._sides = _sides_of(serving)
        self._seconds = seconds
        self._counting = threading.Lock()
        self._tallies: dict[Scorer, Tally] = {}
        self.is_overloaded = False

    @property
    def champion(self) -> Scorer:
        """The version that scores what no other one does."""
        return self._serving.champion

    @property
    def number(self) -> int:
        """The entry of the model's history that says what serves."""
        return self._serving.number

    @property
    def falls_to_fast(self) -> bool:
        """Whether the fast version scores in place of the champion now."""
        return self.is_overloaded and self._serving.fast is not None

    def versions(self) -> dict[str, str]:
        """Return alias -> version that is loaded."""
        return {alias: each.version for alias, each in self._serving.roles().items()}

    def exchange(self, roles: Mapping[str, Scorer], share: float, number: int) -> None:
        """Let these versions serve: alias -> version; from the next batch on."""
        self.serve(
            Serving(
                champion=roles[CHAMPION],
                challenger=roles.get(CHALLENGER),
                share=share,
                shadow=roles.get(SHADOW),
                fast=roles.get(FAST),
                number=number,
            )
        )

    @property
    def serving(self) -> Serving:
        """What serves now."""
        return self._serving

    def serve(self, serving: Serving) -> None:
        """Exchange what serves; the next batch is scored by it."""
        sides = _sides_of(serving)
        # A trial that goes on keeps its places: they are the same, and need no work anew.
        before = self._serving.challenger
        if before is not None and serving.challenger is not None:
            sides = self._sides if before.version == serving.challenger.version else sides
        self._serving, self._sides = serving, sides

    def route(self, keys: Sequence[str], matrix: NDArray[np.float64]) -> Routed:
        """Return scores and decisions of rows.

        keys    n keys, by which a challenger's share is chosen
        matrix  (n, features) float64
        Raises  what the champion's run raises; never what another version's does
        """
        serving, sides = self._serving, self._sides
        main = serving.champion
        if self.is_overloaded and serving.fast is not None:
            main = serving.fast
        challenger, tried = serving.challenger, None
        if challenger is not None and serving.share > 0.0 and sides is not None:
            tried = sides.tried(keys, serving.share)
        if tried is None or challenger is None or not tried.any():
            routed = self._one(main, serving.champion, matrix)
        else:
            routed = self._two(main, challenger, serving.champion, matrix, tried)
        if serving.shadow is None:
            return routed
        return Routed(
            routed.scores,
            routed.decisions,
            routed.scorers,
            routed.side,
            self._beside(serving.shadow, matrix),
        )

    def take(self) -> dict[Scorer, Tally]:
        """Return what each version did since the last call, and begin anew."""
        with self._counting:
            taken, self._tallies = self._tallies, {}
        return taken

    def _one(self, scorer: Scorer, champion: Scorer, matrix: NDArray[np.float64]) -> Routed:
        scores, codes, scorer = self._safe(scorer, champion, matrix)
        return Routed(scores, _WORDS[codes].tolist(), (scorer,))

    def _two(
        self,
        main: Scorer,
        challenger: Scorer,
        champion: Scorer,
        matrix: NDArray[np.float64],
        tried: NDArray[np.bool_],
    ) -> Routed:
        """Run each of two versions once, over its rows."""
        scorers: list[Scorer] = []
        scores = np.empty(len(matrix), np.float32)
        codes = np.empty(len(matrix), np.uint8)
        side = np.empty(len(matrix), np.intp)
        for scorer, rows in ((main, np.flatnonzero(~tried)), (challenger, np.flatnonzero(tried))):
            if not len(rows):
                continue
            scores[rows], codes[rows], used = self._safe(scorer, champion, matrix[rows])
            if used not in scorers:
                scorers.append(used)
            side[rows] = scorers.index(used)
        return Routed(
            scores, _WORDS[codes].tolist(), tuple(scorers), side if len(scorers) > 1 else None
        )

    def _beside(self, shadow: Scorer, matrix: NDArray[np.float64]) -> Routed | None:
        try:
            scores, codes = self._run(shadow, matrix)
        except Exception:  # noqa: BLE001 - a shadow never stands in the way; it is counted
            self._failed(shadow, len(matrix))
            return None
        return Routed(scores, _WORDS[codes].tolist(), (shadow,))

    def _safe(
        self, scorer: Scorer, champion: Scorer, matrix: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8], Scorer]:
        """Score rows, by the champion where another version fails; say who did."""
        if scorer is champion:
            return (*self._run(champion, matrix), champion)
        try:
            return (*self._run(scorer, matrix), scorer)
        except Exception:  # noqa: BLE001 - counted; the champion answers, or raises
            self._failed(scorer, len(matrix))
            return (*self._run(champion, matrix), champion)

    def _run(
        self, scorer: Scorer, matrix: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        began = self._seconds()
        scores = scorer.score(matrix)
        took = self._seconds() - began
        codes = scorer.decision_codes(scores)
        if self._counts:
            with self._counting:
                self._tally(scorer).add(matrix, scores, codes, took)
        return scores, codes

    def _failed(self, scorer: Scorer, rows: int) -> None:
        if self._counts:
            with self._counting:
                self._tally(scorer).errors += rows

    def _tally(self, scorer: Scorer) -> Tally:
        tally = self._tallies.get(scorer)
        if tally is None:
            tally = self._tallies[scorer] = Tally(score_edges(scorer.model.manifest))
        return tally


def _sides_of(serving: Serving) -> KeySides | None:
    return None if serving.challenger is None else KeySides(serving.challenger.version)
