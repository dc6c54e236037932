"""A worker at one moment, as plain values: what metrics and health are made of.

The event loop makes a `PlaneFacts` once a second and never changes it again. Whoever serves it
needs no lock and cannot hold up the work; how old it is tells whether the loop still turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream_infer.observability.meter import MeterFacts

PHASES = ("assigned", "restoring", "running", "draining", "fenced", "closed")
"""The life of a partition in a worker. One that is lost is the worker's no more."""

RUNNING = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionFacts:
    """One partition of one stage.

    stage       name of the stage
    topic       what it reads
    partition   number
    phase       one of `PHASES`
    position    next offset to be read; None while that is not known
    log_end     next offset to be written into the log, as far as is known
    unmoved_s   for how long nothing was committed although records are in work; 0 if none are
    held        whether it waits for another partition by alignment
    waits_for   why it stands still until something outside has changed; empty if it does not
    stalled_s   for how long its last stable offset has stood still below the log's end
    stalled_by  transactional id whose open transaction that is; empty before Kafka was asked
    entries     entries in its windows
    keys        keys that it holds
    bytes       memory of its state
    """

    stage: str
    topic: str
    partition: int
    phase: str
    position: int | None = None
    log_end: int | None = None
    unmoved_s: float = 0.0
    held: bool = False
    waits_for: str = ""
    stalled_s: float = 0.0
    stalled_by: str = ""
    entries: int = 0
    keys: int = 0
    bytes: int = 0

    @property
    def name(self) -> str:
        """Topic and partition."""
        return f"{self.topic}-{self.partition}"

    @property
    def lag(self) -> int | None:
        """Records in the log that were not read yet; None while that is not known."""
        if self.position is None or self.log_end is None:
            return None
        return max(0, self.log_end - self.position)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionFacts:
    """The transactions of one stage, in its present assignment.

    stage             name of the stage
    transactional_id  of its producer, empty before that was made
    commits           how many there were in this assignment
    aborts            how many were given up
    open_s            for how long the present one has held something; None while none does
    since_commit_s    how long ago the last commit was; None before the first
    """

    stage: str
    transactional_id: str = ""
    commits: int = 0
    aborts: int = 0
    open_s: float | None = None
    since_commit_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFacts:
    """What became of the checkpoints that a worker took, since its start.

    published  those that a restore may use now
    failed     those that could not be written or published; each costs a longer restore
    """

    published: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftFacts:
    """A feature beside where the serving version was validated.

    index  population stability index of the last day
    bound  above it the feature has drifted: what chance explains, and what is allowed besides
    """

    feature: str
    version: str
    index: float
    bound: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFacts:
    """A challenger's trial by labels, in the worker that decides.

    labels    labelled events so far
    gain      squared error of the champion less the challenger's, on average
    promote   how much of what a promotion needs is there, 1 when it is
    reject    the same of a rejection
    followed  share of all events that are followed
    """

    champion: str
    challenger: str
    labels: int
    gain: float
    promote: float
    reject: float
    followed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The versions of a model that a registry lets serve.

    serves    alias -> version that is loaded
    number    entry of the model's history that says so
    failures  alias -> code of why what was told of it does not serve
    fast      whether the fast version scores in place of the champion
    decides   whether this worker is the one that moves aliases
    drift     features beside their reference; of the worker that decides, after a day
    trial     of the worker that decides, where there is one
    """

    serves: Mapping[str, str]
    number: int = 0
    failures: Mapping[str, str] = field(default_factory=dict)
    fast: bool = False
    decides: bool = False
    drift: tuple[DriftFacts, ...] = ()
    trial: TrialFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneFacts:
    """A worker.

    Without arguments it is one that has just been started.

    opened              whether topics were checked and stages built
    joined              whether the group has told which partitions it has, be it none
    stopping            whether it was told to stop
    partitions          those it has
    transactions        those of its stages; none where it delivers at least once
    checkpoints         what became of its checkpoints; None where it takes none
    counters            stage -> name of the counter -> value; never falls
    meters              stage -> its meter
    in_flight_bytes     input in memory whose outputs are not acknowledged
    in_flight_bytes_max bound on that
    polled_s            when the consumer last asked for records, by the monotonic clock
    broker_away_since_s when Kafka was first seen not to answer, by the same clock; None if it
                        does
    model               name and version of the model that scores, None without
    models              the versions that a registry lets serve; None without a registry
    """

    opened: bool = False
    joined: bool = False
    stopping: bool = False
    partitions: tuple[PartitionFacts, ...] = ()
    transactions: tuple[TransactionFacts, ...] = ()
    checkpoints: CheckpointFacts | None = None
    counters: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    meters: Mapping[str, MeterFacts] = field(default_factory=dict)
    in_flight_bytes: int = 0
    in_flight_bytes_max: int = 0
    polled_s: float | None = None
    broker_away_since_s: float | None = None
    model: tuple[str, str] | None = None
    models: ModelFacts | None = None
