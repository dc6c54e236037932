"""The decisions of exactly-once sending, as functions of facts: no clock, no client.

What an answer means, whether a commit without an answer took place, and how long a transaction
stays open.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from aiokafka import errors as kafka_errors

from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.sender import CLOCK_AHEAD, FORBIDDEN, clock_ahead, is_final
from stream_infer.errors import BrokerError

Covers = tuple[Partition, int]
"""An input partition, and the offset after the last row that some outputs come from."""

COMMIT_SHARE_MOST = 0.1
"""Of the time that a loaded stage may spend on committing, in which it sends nothing."""

STRETCH_MOST = 4.0
"""How many times its usual length a transaction may last at most, for the sake of that share."""

MARKERS_PER_S_MAX = 5_000.0
"""Commit markers that the workers of a group may make a broker write."""

MARKERS_OF_ITS_OWN = 2
"""Of a transaction, whatever it writes: one for the offsets, one in the transaction log."""

FAILED = (kafka_errors.KafkaError, kafka_errors.IllegalOperation, TimeoutError)
"""What a producer that has failed raises. Once it has ended, all it says is IllegalOperation."""

_NOT_ALLOWED = (
    *FORBIDDEN,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.TransactionalIdAuthorizationFailed,
)
_TOO_OLD = (kafka_errors.IncompatibleBrokerVersion, NotImplementedError)
"""What the client raises where the broker has no version of a request that the client has."""


class AssignmentMovedOnError(BrokerError):
    """The group has given the partitions to others; only the next assignment helps.

    What was delivered and not committed is void: whoever owns the partitions does it again.
    """

    def __init__(self, stage: str, cause: str) -> None:
        super().__init__(
            "assignment_moved_on",
            f"The group has moved on without stage {stage!r} of this worker: {cause}",
            "Nothing is lost: whoever owns the partitions now goes on from the last commit.",
            stage=stage,
        )


class Answer(Enum):
    """What an error of the client asks for."""

    AGAIN = "abort, and send everything again"
    REFUSED = "the same bytes are never taken"
    STOP = "stop the worker"


def answer_of(error: BaseException) -> Answer:
    """Return what an error asks for; STOP for what is none of Kafka's."""
    if is_final(error):
        return Answer.REFUSED
    if isinstance(error, CLOCK_AHEAD) or isinstance(error.__cause__, CLOCK_AHEAD):
        return Answer.STOP
    if isinstance(error, _NOT_ALLOWED) or isinstance(error.__cause__, _NOT_ALLOWED):
        return Answer.STOP
    if isinstance(error, _TOO_OLD) or isinstance(error.__cause__, _TOO_OLD):
        return Answer.STOP
    return Answer.AGAIN if isinstance(error, FAILED) else Answer.STOP


def stop_error(error: BaseException, transactional_id: str) -> BaseException:
    """Return our error for one that asks for a stop; errors that are ours stay as they are."""
    if isinstance(error, BrokerError):
        return error
    known = (*_NOT_ALLOWED, *_TOO_OLD, CLOCK_AHEAD)
    cause = error if isinstance(error, known) else error.__cause__
    if isinstance(cause, CLOCK_AHEAD):
        return clock_ahead()
    if isinstance(cause, kafka_errors.TopicAuthorizationFailedError):
        return BrokerError(
            "write_forbidden",
            f"Kafka does not let this worker write: {cause}.",
            "Grant the worker's user the WRITE right on that topic.",
        )
    if isinstance(cause, _NOT_ALLOWED):
        return BrokerError(
            "transaction_forbidden",
            f"Kafka does not let this worker use transactional id {transactional_id!r}: {cause}.",
            "Grant the worker's user WRITE and DESCRIBE on its transactional ids and READ on its"
            " group, or run with delivery = at_least_once.",
            transactional_id=transactional_id,
        )
    if isinstance(cause, _TOO_OLD):
        return BrokerError(
            "transactions_unsupported",
            "This Kafka is too old for exactly-once delivery.",
            "Use Kafka 2.5 or later, or run with delivery = at_least_once.",
        )
    return error


class Outcome(Enum):
    """What became of a commit."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    MOVED_ON = "others have committed"


def outcome_of(
    before: Mapping[Partition, int], meant: Mapping[Partition, int], found: Mapping[Partition, int]
) -> Outcome:
    """Return what became of a commit whose answer is not known.

    before  committed offsets as they were, of each partition in `meant`
    meant   offsets of the commit
    found   committed offsets now that the transaction is settled; none for a partition that
            has none

    Offsets of a transaction are committed together. One that moves none (ticks alone) cannot be
    told, and counts as aborted: a tick may be written twice, and must not be lost.
    """
    moved = {partition for partition, offset in meant.items() if offset != before[partition]}
    if moved and all(found.get(p) == meant[p] for p in moved):
        return Outcome.COMMITTED
    if all(found.get(p, before[p]) == before[p] for p in meant):
        return Outcome.ABORTED
    return Outcome.MOVED_ON


def next_interval(base_s: float, commit_cost_s: float) -> float:
    """Return for how long a transaction should stay open when a commit takes so long.

    As short as it may be (`base_s`), and so long that committing takes at most a tenth of the
    time, within `STRETCH_MOST` times the base.
    """
    worth_s = commit_cost_s * (1 - COMMIT_SHARE_MOST) / COMMIT_SHARE_MOST
    return min(max(base_s, worth_s), base_s * STRETCH_MOST)


def markers_interval(destinations: int, markers_per_s_max: float) -> float:
    """Return for how long a transaction must last at least, seconds, to keep its markers few.

    destinations       partitions that it writes to: each gets a marker when it ends
    markers_per_s_max  this sender's part of `MARKERS_PER_S_MAX`
    """
    return (destinations + MARKERS_OF_ITS_OWN) / markers_per_s_max
