"""What a Kafka client raises, as one named cause with one fix. Pure.

Causes of a `BrokerError`
    broker_dns           the host name has no address
    broker_refused       the host answers, nothing listens on the port
    broker_unreachable   no answer at all before the deadline
    broker_protocol      something answers that does not speak Kafka this way
    broker_advertised    Kafka answers and sends the client to an address that does not
    broker_not_ready     Kafka answers and is not ready to serve (starting, no leader, ...)
    broker_rejected      Kafka refuses the request, with its own name for the reason
    denied_topic, denied_group, denied_transactional_id, denied_cluster
                         this user lacks an ACL

Those of TLS and of users stand in `stream_infer.kafka.security_causes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from aiokafka import errors as kafka_errors

from stream_infer.errors import BrokerError, NotFoundError, StreamInferError

# What says only that the way to the broker broke: the way itself must be walked to know why.
BROKEN_WAY = (
    OSError,
    TimeoutError,
    kafka_errors.KafkaConnectionError,
    kafka_errors.KafkaTimeoutError,
    kafka_errors.KafkaUnavailableError,
    kafka_errors.NodeNotReadyError,
    kafka_errors.NoBrokersAvailable,
    kafka_errors.RequestTimedOutError,
    kafka_errors.StaleMetadata,
    kafka_errors.UnrecognizedBrokerVersion,
)


MAY_PASS = frozenset(
    {
        "broker_advertised",
        "broker_dns",
        "broker_not_ready",
        "broker_protocol",
        "broker_refused",
        "broker_silent",
        "broker_unreachable",
    }
)
"""Codes of what a Kafka that starts, or a name that is not known yet, looks like. A wrong user or
a missing right does not pass."""

_NO_BROKER = kafka_errors.KafkaError
_CAUSES: tuple[tuple[tuple[type[BaseException], ...], str, str, str], ...] = (
    # (what the client raised, our code, message, fix)
    (
        (
            kafka_errors.LeaderNotAvailableError,
            kafka_errors.NotLeaderForPartitionError,
            kafka_errors.BrokerNotAvailableError,
            kafka_errors.GroupLoadInProgressError,
            kafka_errors.GroupCoordinatorNotAvailableError,
            kafka_errors.NotControllerError,
        ),
        "broker_not_ready",
        "Kafka at {address} is not ready ({name}).",
        "It is starting or electing leaders: wait and try again.",
    ),
    (
        BROKEN_WAY,
        "broker_unreachable",
        "Kafka at {address} stopped answering ({name}).",
        "Check that the broker runs and that the network to it is up, then try again.",
    ),
)


def cause_of(error: BaseException, address: str) -> StreamInferError:
    """Return our error for what a Kafka client at `address` raised; ours pass unchanged."""
    if isinstance(error, StreamInferError):
        return error
    known = _missing(error, address) or _denied(error, address)
    if known is not None:
        return known
    name = type(error).__name__
    for kinds, code, message, fix in _CAUSES:
        # The bare class is what the client raises when no broker told it the topics.
        if isinstance(error, kinds) or (kinds is BROKEN_WAY and type(error) is _NO_BROKER):
            text = message.format(address=address, name=name)
            return BrokerError(code, text, fix, address=address)
    return BrokerError(
        "broker_rejected",
        f"Kafka at {address} refuses the request: {name}.",
        "See the broker's log for the reason.",
        address=address,
        reason=str(error),
    )


def _missing(error: BaseException, address: str) -> NotFoundError | None:
    if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
        return NotFoundError(
            "topic_missing",
            "Kafka does not know a topic or partition that was asked for.",
            "Create the pipeline's topics with: stream-infer topics create PIPELINE.",
            address=address,
        )
    if isinstance(error, kafka_errors.OffsetOutOfRangeError):
        return NotFoundError(
            "offset_gone",
            f"An offset that was asked for is not in the log: {error}.",
            "Retention has removed it, or the topic was made anew: name a later offset.",
            address=address,
        )
    return None


_DENIALS: tuple[tuple[type[BaseException], str, str], ...] = (
    # (what the client raised, kind of the resource, what the ACL is for)
    (kafka_errors.TopicAuthorizationFailedError, "topic", "--topic"),
    (kafka_errors.GroupAuthorizationFailedError, "group", "--group"),
    (kafka_errors.TransactionalIdAuthorizationFailed, "transactional id", "--transactional-id"),
    (kafka_errors.ClusterAuthorizationFailedError, "cluster", ""),
)
_ACL_FIX = (
    "Grant what this user's role needs: stream-infer acls show PIPELINE prints it (look for"
    " {option})."
)
_CLUSTER_FIX = (
    "Run it as an administrator; a producer needs Write on the topics that it sends to:"
    " stream-infer acls show PIPELINE prints what each role needs."
)
# Kafka's own sentence often stands where the client puts a name; a name holds no blank.
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def _denied(error: BaseException, address: str) -> BrokerError | None:
    for kind, resource, option in _DENIALS:
        if isinstance(error, kind):
            names = _names(error.args)
            which = f" {', '.join(names)}" if names else ""
            return BrokerError(
                f"denied_{resource.replace(' ', '_')}",
                f"Kafka at {address} denies this user the {resource}{which}.",
                _CLUSTER_FIX if resource == "cluster" else _ACL_FIX.format(option=option),
                address=address,
                resource=resource,
                names=names,
            )
    return None


def _names(args: Iterable[object]) -> list[str]:
    first = next(iter(args), None)
    found = [first] if isinstance(first, str) else first
    if not isinstance(found, list | tuple | set | frozenset):
        return []
    return sorted(name for name in found if isinstance(name, str) and _NAME.fullmatch(name))


def topic_missing(topic: str) -> NotFoundError:
    """Return the error for a topic that does not exist."""
    return NotFoundError(
        "topic_missing",
        f"Topic {topic!r} does not exist.",
        "Create the pipeline's topics with: stream-infer topics create PIPELINE.",
        topic=topic,
    )
