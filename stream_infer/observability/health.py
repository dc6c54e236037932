"""Whether a worker is alive, and whether it is ready: decided from facts, with reasons in words.

*Live* means that a restart would not help: the event loop turns, and the consumer asks for
records. Kafka being away, a long restore or a stuck batch are not cured by a restart, which would
only begin the restore anew; they make a worker not *ready*.

A reason names topics, offsets and times, never what an event holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stream_infer.observability.facts import RUNNING, PartitionFacts, PlaneFacts

NAMED_MAX = 3
"""Partitions that a reason names; it counts the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthLimits:
    """From when on a worker is not well.

    stalled_after_s  an event loop that has not turned for so long is stuck. Restoring and
                     compiling keep it for seconds at worst
    poll_after_s     a consumer that has not asked for records for so long is stuck. It asks several
                     times a second, with or without Kafka, also while there is no room for more
    stuck_after_s    records in work whose commit has not moved for so long
    open_after_s     input that waits for an open transaction for so long
    lag_max          records that a partition may be behind; None: any number
    """

    stalled_after_s: float = 30.0
    poll_after_s: float = 60.0
    stuck_after_s: float = 60.0
    open_after_s: float = 5.0
    lag_max: int | None = None


class Reason(NamedTuple):
    """Why not: a stable word for machines, a sentence for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer; it is yes when there is no reason against it."""

    reasons: tuple[Reason, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it is yes."""
        return not self.reasons


def liveness(facts: PlaneFacts, turned_s: float, now_s: float, limits: HealthLimits) -> Verdict:
    """Say whether the worker does anything at all.

    turned_s  when the event loop last turned, monotonic clock
    now_s     the same clock, read by somebody else than that loop
    """
    return Verdict(tuple(_stalls(facts, turned_s, now_s, limits)))


def readiness(
    facts: PlaneFacts, taken_s: float, live: Verdict, now_s: float, limits: HealthLimits
) -> Verdict:
    """Say whether the worker scores what comes in, and is not behind.

    taken_s  when the facts were gathered, by the clock of `now_s`
    live     what `liveness` says: who is not alive is not ready
    """
    reasons = list(live.reasons)
    age = now_s - taken_s
    if age > limits.stalled_after_s and not reasons:
        reasons.append(Reason("facts_stale", f"What is known of the worker is {age:.0f} s old."))
    return Verdict((*reasons, *_hindrances(facts, now_s, limits)))


def details(facts: PlaneFacts) -> tuple[Reason, ...]:
    """Return what people should know of a worker that is ready all the same."""
    models = facts.models
    if models is None:
        return ()
    found = [
        Reason("model_not_loaded", f"What {alias} names does not serve, the log says why ({code}).")
        for alias, code in sorted(models.failures.items())
    ]
    if models.fast:
        found.append(Reason("fast_model_serves", "The fast version scores: events wait too long."))
    drifted = sorted(each.feature for each in models.drift if each.index > each.bound)
    if drifted:
        more = len(drifted) - NAMED_MAX
        names = ", ".join(drifted[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
        found.append(
            Reason("features_drifted", f"Not as where the version was validated: {names}.")
        )
    return tuple(found)


def _stalls(
    facts: PlaneFacts, turned_s: float, now_s: float, limits: HealthLimits
) -> Iterator[Reason]:
    still_s = now_s - turned_s
    if still_s > limits.stalled_after_s:
        yield Reason("loop_stalled", f"The event loop has not turned for {still_s:.0f} s.")
    polled = facts.polled_s
    # In a rebalance nothing is asked for, and the group bounds how long that may take.
    if facts.joined and polled is not None and now_s - polled > limits.poll_after_s:
        yield Reason(
            "poll_stalled", f"The consumer has not asked for records for {now_s - polled:.0f} s."
        )


def _hindrances(facts: PlaneFacts, now_s: float, limits: HealthLimits) -> Iterator[Reason]:
    if facts.stopping:
        yield Reason("stopping", "The worker was told to stop.")
    elif not facts.opened:
        yield Reason("starting", "The worker is starting: it has not checked its topics yet.")
    elif not facts.joined:
        yield Reason("assigning", "The consumer group has not said yet which partitions to read.")
    if facts.broker_away_since_s is not None:
        away = now_s - facts.broker_away_since_s
        yield Reason("broker_away", f"Kafka has not answered for {away:.0f} s.")
    yield from _unwell(facts.partitions, limits)


def _unwell(partitions: Sequence[PartitionFacts], limits: HealthLimits) -> Iterator[Reason]:
    waiting = [each for each in partitions if each.phase != RUNNING]
    if waiting:
        phases = sorted({each.phase for each in waiting})
        yield Reason(
            "not_running",
            f"{len(waiting)} of {len(partitions)} partitions are not running "
            f"({', '.join(phases)}): {_names(waiting)}.",
        )
    # One that is held waits for the slowest, and that one is never held: if there is a
    # stuck batch, it is its own.
    stuck = [each for each in partitions if _is_stuck(each, limits)]
    if stuck:
        longest = max(each.unmoved_s for each in stuck)
        yield Reason(
            "stuck",
            f"Nothing was committed for {longest:.0f} s although records are in work: "
            f"{_names(stuck)}.",
        )
    yield from _standing(partitions)
    yield from _stalled(partitions, limits)
    if limits.lag_max is not None:
        behind = [each for each in partitions if (each.lag or 0) > limits.lag_max]
        if behind:
            most = max(each.lag or 0 for each in behind)
            yield Reason(
                "lag",
                f"{most} records behind, more than the {limits.lag_max} that are allowed: "
                f"{_names(behind)}.",
            )


def _standing(partitions: Sequence[PartitionFacts]) -> Iterator[Reason]:
    by_cause: dict[str, list[PartitionFacts]] = {}
    for each in partitions:
        if each.waits_for:
            by_cause.setdefault(each.waits_for, []).append(each)
    for cause, standing in sorted(by_cause.items()):
        yield Reason(cause, f"Cannot go on, the log says why ({cause}): {_names(standing)}.")


def _stalled(partitions: Sequence[PartitionFacts], limits: HealthLimits) -> Iterator[Reason]:
    by_holder: dict[str, list[PartitionFacts]] = {}
    for each in partitions:
        if each.stalled_s > limits.open_after_s:
            by_holder.setdefault(each.stalled_by or "an unknown producer", []).append(each)
    for holder, stalled in sorted(by_holder.items()):
        longest = max(each.stalled_s for each in stalled)
        yield Reason(
            "open_transaction",
            f"Stalled by open transaction of {holder} for {longest:.0f} s: {_names(stalled)}.",
        )


def _is_stuck(partition: PartitionFacts, limits: HealthLimits) -> bool:
    return (
        partition.phase == RUNNING
        and not partition.held
        and partition.unmoved_s > limits.stuck_after_s
    )


def _names(partitions: Sequence[PartitionFacts]) -> str:
    names = sorted(each.name for each in partitions)
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
