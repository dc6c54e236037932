"""Who commits offsets in a transaction, and what a group's answers to it mean. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from aiokafka import errors as kafka_errors

from stream_infer.errors import BrokerError

NONE = 0
CONCURRENT_TRANSACTIONS = 51

_GROUP_MOVED_ON = {
    22: "ILLEGAL_GENERATION",
    25: "UNKNOWN_MEMBER_ID",
    27: "REBALANCE_IN_PROGRESS",
    82: "FENCED_INSTANCE_ID",
}
_COORDINATOR_MOVED = {7, 15, 16}  # timed out, coordinator not available, not the coordinator
_AGAIN = {3, 14, CONCURRENT_TRANSACTIONS}  # topic not known (yet), group is loading, still ending
_FENCED = {47, 90}  # INVALID_PRODUCER_EPOCH, PRODUCER_FENCED


class GroupMember(NamedTuple):
    """Who commits: a member of a generation of a consumer group.

    group_id       of the consumer group
    generation_id  of its current assignment; below 0 where it has none
    member_id      that the coordinator gave it; empty where it gave none
    instance_id    of a static member, None of others
    """

    group_id: str
    generation_id: int
    member_id: str
    instance_id: str | None = None

    @property
    def is_joined(self) -> bool:
        """Whether it belongs to a generation at all."""
        return self.generation_id >= 0 and bool(self.member_id)


class GroupMovedOnError(BrokerError):
    """The group takes no more commits of this member's generation. The transaction can be aborted.

    details  group, generation, member and Kafka's answer
    """

    def __init__(self, member: GroupMember, answer: str) -> None:
        super().__init__(
            "group_moved_on",
            f"Group {member.group_id!r} refuses a commit of generation {member.generation_id}:"
            f" {answer}.",
            "Nothing is lost: whoever owns the partitions now goes on from the last commit.",
            group=member.group_id,
            generation=member.generation_id,
            member=member.member_id,
            answer=answer,
        )


@dataclass(frozen=True)
class Reaction:
    """What follows from the answers to an offset commit.

    fatal    ends the producer
    refusal  the transaction is to be aborted
    again    what was not taken is sent again
    """

    fatal: Exception | None = None
    refusal: Exception | None = None
    again: bool = False
    is_coordinator_dead: bool = False


def reaction_to(codes: set[int], member: GroupMember) -> Reaction:
    """Return what to do when the partitions of an offset commit got these answers."""
    if codes & _FENCED:
        return Reaction(fatal=kafka_errors.ProducerFenced())
    refused = codes - {NONE} - _AGAIN - _COORDINATOR_MOVED
    if moved := refused & _GROUP_MOVED_ON.keys():
        return Reaction(refusal=GroupMovedOnError(member, _GROUP_MOVED_ON[min(moved)]))
    if refused:
        code = min(refused)
        return Reaction(refusal=kafka_errors.for_code(code)(f"code {code}"))
    return Reaction(
        again=bool(codes - {NONE}), is_coordinator_dead=bool(codes & _COORDINATOR_MOVED)
    )
