"""Whether what was seen of a version breaches a limit. Pure: sums in, breaches out.

Every comparison takes the number of rows into account: a rate is only above its limit when the
rows that were seen would hardly show it otherwise. So a guard needs no number of rows of its own
to be quiet about a handful of them, and is quick where much is seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream_infer.guardrails.hours import DAY_HOURS_MIN, Day
from stream_infer.guardrails.stability import EFFECT_MAX, Stability, compare
from stream_infer.guardrails.windows import Totals
from stream_infer.scoring.reference import Reference

SURE = 4.0
"""Standard deviations: one false alarm in some thirty thousand looks."""
FALSE_ALARM = 1 / 30_000
"""The same for shares that are too small to be normal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLimits:
    """What a version may do.

    errors_max      share of rows at which it may fail
    not_finite_max  share of rows that it may answer with no number
    slower_max      times the µs a row of the version that it is compared with ...
    slower_us_min   ... and so many µs a row more: a few trees in place of a sum harm nobody
    worst_us_max    µs a row of its slowest run
    alerts_max      times the share of alerts of the version that it is compared with; its
                    inverse is the least
    drift_max       stability index of its scores, beyond what chance explains
    """

    errors_max: float = 0.001
    not_finite_max: float = 0.001
    slower_max: float = 5.0
    slower_us_min: float = 20.0
    worst_us_max: int = 50_000
    alerts_max: float = 2.0
    drift_max: float = EFFECT_MAX


@dataclass(frozen=True, slots=True)
class Breach:
    """One limit that was passed: a stable word, and a sentence with the figures."""

    code: str
    message: str


def judge(
    seen: Totals,
    beside: Totals | None,
    usual_scores: Sequence[int],
    reference: Reference | None,
    limits: GuardLimits,
    *,
    before_us: float = 0.0,
) -> list[Breach]:
    """Return what a version breaches.

    seen          of the version
    beside        of the version that it is compared with, None where there is none
    usual_scores  its own scores at this hour of earlier weeks; empty where unknown
    reference     of its manifest, in place of what is unknown
    before_us     µs a row of the version that it is compared with, where that does not run any
                  more; 0 where unknown
    """
    found = [
        _rate("errors", "failed at", seen.errors, seen.rows + seen.errors, limits.errors_max),
        _rate(
            "not_finite", "gave no number for", seen.not_finite, seen.rows, limits.not_finite_max
        ),
        _slow(seen, before_us if beside is None or not beside.rows else beside.row_us, limits),
        _alerts(seen, beside, reference, limits),
        _drift(seen, usual_scores, reference, limits),
    ]
    return [breach for breach in found if breach is not None]


def feature_drift(day: Day, reference: Reference | None) -> Mapping[str, Stability]:
    """Return how far each feature is from where the version was validated; empty before a day.

    Nothing to roll back for: another version gets the same rows. It is told to people.
    """
    if reference is None or day.hours < DAY_HOURS_MIN:
        return {}
    found = {}
    for name, known in reference.features.items():
        counts = day.features.get(name, ())
        if len(counts) == len(known.counts) + 1:
            found[name] = compare([*known.counts, known.missing], list(counts))
    return found


def surely_above(count: int, rows: int, share: float) -> bool:
    """Say whether a share is above a limit, for all that so few rows may show by chance.

    Were the share at the limit, as many would be counted with a probability of at most
    ``exp(-rows * divergence)``; that must be below `FALSE_ALARM`. Exact for a single row, too.
    Source  Chernoff (1952), Annals of Mathematical Statistics 23
    """
    if not rows or count <= share * rows:
        return False
    found = count / rows
    divergence = found * math.log(found / share) if share else math.inf
    if found < 1:
        divergence += (1 - found) * math.log((1 - found) / (1 - share))
    return rows * divergence > -math.log(FALSE_ALARM)


def _rate(code: str, verb: str, count: int, rows: int, limit: float) -> Breach | None:
    if not surely_above(count, rows, limit):
        return None
    return Breach(code, f"it {verb} {count} of {rows} rows; at most {limit:.2%} may be")


def _slow(seen: Totals, before_us: float, limits: GuardLimits) -> Breach | None:
    if seen.worst_us > limits.worst_us_max:
        return Breach(
            "slow_rows",
            f"a run took {seen.worst_us:,} µs a row; at most {limits.worst_us_max:,} are allowed",
        )
    if not before_us or seen.records < 2:
        return None
    row_us = seen.sure_row_us
    times = row_us / before_us
    if times <= limits.slower_max or row_us - before_us < limits.slower_us_min:
        return None
    return Breach(
        "slow",
        f"it takes {row_us:.1f} µs a row, {times:.1f} times as long as the version before;"
        f" at most {limits.slower_max:g} times are allowed",
    )


def _alerts(
    seen: Totals, beside: Totals | None, reference: Reference | None, limits: GuardLimits
) -> Breach | None:
    if beside is not None and beside.rows:
        share, noise = (beside.alerts + 0.5) / (beside.rows + 1), 1 / (beside.alerts + 0.5)
        than = "the version beside it"
    elif reference is not None and reference.alerting:
        share, noise, than = reference.alerting, 0.0, "where it was validated"
    else:
        return None
    if not seen.rows:
        return None
    found = (seen.alerts + 0.5) / (seen.rows + 1)
    # The logarithm of a ratio of counts is about normal; its variance is that of both counts, of
    # which this version's is what the share lets expect: one that never alerts is told, too.
    spread = SURE * math.sqrt(1 / (share * seen.rows + 0.5) + noise)
    if abs(math.log(found / share)) <= math.log(limits.alerts_max) + spread:
        return None
    return Breach(
        "alert_rate",
        f"{found:.2%} of its {seen.rows} rows alert, {share:.2%} do of {than};"
        f" at most {limits.alerts_max:g} times more or fewer are allowed",
    )


def _drift(
    seen: Totals, usual: Sequence[int], reference: Reference | None, limits: GuardLimits
) -> Breach | None:
    before, where = list(usual), "at this hour of earlier weeks"
    if not sum(before) and reference is not None and reference.score is not None:
        before, where = list(reference.score.counts), "where it was validated"
    if len(before) != len(seen.scores) or not sum(before):
        return None
    found = compare(before, seen.scores.tolist())
    if not found.drifted(limits.drift_max):
        return None
    return Breach(
        "score_drift",
        f"its scores are {found.index:.2f} (population stability) from those {where};"
        f" chance explains {found.by_chance:.2f}, and {limits.drift_max:g} is allowed",
    )
