"""Who may do what in Kafka: the access that each role of a pipeline needs, and no more. Pure.

    producer    sends events and labels
    worker      runs the stages: `stream-infer worker`
    subscriber  reads scored events and alerts, in groups `<pipeline>-subscriber...`
    console     looks at everything and changes nothing: tail, audit, doctor, dashboards
    operator    creates topics, keeps lists, sends dead letters again

A worker that conducts a trial by labels joins them to what the versions said, so it also reads the
two topics in which that stands. Only then: else whoever steals its password learns no result.

The topics come from `pipeline_topics`; here stands only what a role does with each. Kafka lets
those who may read or write a topic describe it, so Describe is named only where it is alone.
Since Kafka 3.0 an idempotent producer needs no right of its own (KIP-679). A transactional one
writes its transactional id, reads its group and the topics whose offsets it commits (KIP-98,
KIP-447).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from stream_infer.events.topic_names import guard_group, guard_topic, skips_topic
from stream_infer.kafka.resend_transactions import progress_topic
from stream_infer.kafka.topic_specs import DEAD_LETTERS, Role, pipeline_topics
from stream_infer.pipeline import Pipeline

AccessRole = Literal["producer", "worker", "subscriber", "console", "operator"]
Resource = Literal["topic", "group", "transactional-id"]
Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]
Pattern = Literal["literal", "prefixed"]

ROLES: tuple[AccessRole, ...] = ("producer", "worker", "subscriber", "console", "operator")
KEPT_TOPICS = ("checkpoints", "checkpoint-manifests")
"""What the workers of a pipeline keep for themselves: ``<pipeline>-<word>``."""

READ: tuple[Operation, ...] = ("Read", "DescribeConfigs")
WRITE: tuple[Operation, ...] = ("Write", "DescribeConfigs")
BOTH: tuple[Operation, ...] = ("Read", "Write", "DescribeConfigs")

_WORKER_IN = {"worker": READ}
_WORKER_OUT = {"worker": WRITE}
_BY_TOPIC_ROLE: Mapping[str, Mapping[str, tuple[Operation, ...]]] = {
    # role of the topic -> role of the user -> operations; console and operator see all of them
    "input": {"producer": WRITE, "worker": READ, "operator": ("Write",)},
    "labels": {"producer": WRITE, "worker": READ, "operator": ("Write",)},
    "lists": {"worker": READ, "operator": ("Read", "Write")},
    "internal": {"worker": BOTH},
    "skips": {"worker": BOTH},
    "progress": {"worker": BOTH},
    "models": {"worker": BOTH, "operator": ("Write",)},
    "evidence": {"worker": BOTH},
    "guard": {"worker": BOTH},
    "operations": {"worker": BOTH, "subscriber": READ},
    "shadow": {"worker": WRITE},
    "scored": {"worker": WRITE, "subscriber": READ},
    "alerts": {"worker": WRITE, "subscriber": READ},
    "dead-letters": {"worker": WRITE, "operator": ("Read",)},
    "late-events": {"worker": WRITE},
}
_READ_FOR_A_TRIAL = frozenset({"scored", "shadow"})
"""Roles of the topics in which the scores of the versions on trial stand."""
_KEPT_BY_WORKERS: Mapping[str, tuple[Operation, ...]] = {"worker": BOTH}
_OPERATOR: tuple[Operation, ...] = ("Create", "Describe", "DescribeConfigs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Acl:
    """One resource and what a role may do with it, from every host."""

    role: AccessRole
    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    pattern: Pattern = "literal"


def role_acls(
    pipeline: Pipeline, roles: Iterable[AccessRole] = ROLES, *, trial: bool = False
) -> list[Acl]:
    """Return what the roles of a pipeline need, role by role.

    trial   whether its workers try challengers on labels, where it has versions to exchange
    Raises  ConfigError when a declaration is wrong
    """
    trial = trial and guard_topic(pipeline) is not None
    topics = {spec.name: _by_role(spec.role, trial=trial) for spec in pipeline_topics(pipeline)}
    for word in KEPT_TOPICS:
        topics.setdefault(f"{pipeline.name}-{word}", _KEPT_BY_WORKERS)
    topics[progress_topic(DEAD_LETTERS)] = {"operator": ("Read", "Write")}
    return [
        acl
        for role in roles
        for acl in (*_of_topics(role, topics), *_beside_topics(role, pipeline))
    ]


def _by_role(topic: Role, *, trial: bool) -> Mapping[str, tuple[Operation, ...]] | None:
    by_role = _BY_TOPIC_ROLE.get(topic)
    if by_role is None or not trial or topic not in _READ_FOR_A_TRIAL:
        return by_role
    return {**by_role, "worker": BOTH}


def _of_topics(
    role: AccessRole, topics: Mapping[str, Mapping[str, tuple[Operation, ...]] | None]
) -> list[Acl]:
    found = []
    for name, by_role in topics.items():
        # A topic of a kind that is not in the table is one that workers keep for themselves.
        operations = (_KEPT_BY_WORKERS if by_role is None else by_role).get(role, ())
        if role == "console":
            operations = READ
        elif role == "operator":
            operations = (*operations, *_OPERATOR)
        if operations:
            found.append(Acl(role=role, resource="topic", name=name, operations=operations))
    return found


def _beside_topics(role: AccessRole, pipeline: Pipeline) -> list[Acl]:
    """Return what a role needs of groups and transactional ids; a worker's group is the pipeline.

    A worker's transactional ids are ``<group>.<stage>.<instance>``; that of its supervisor, which
    notes the records to pass over, begins with the topic of the notes.
    """

    def acl(resource: Resource, name: str, operation: Operation, pattern: Pattern) -> Acl:
        return Acl(
            role=role, resource=resource, name=name, operations=(operation,), pattern=pattern
        )

    name = pipeline.name
    if role == "worker":
        return [
            acl("group", name, "Read", "literal"),
            acl("group", guard_group(name), "Read", "literal"),
            acl("transactional-id", f"{name}.", "Write", "prefixed"),
            acl("transactional-id", f"{skips_topic(pipeline)}.", "Write", "prefixed"),
        ]
    if role == "subscriber":
        return [acl("group", f"{name}-subscriber", "Read", "prefixed")]
    if role == "console":
        return [acl("group", name, "Describe", "literal")]
    if role == "operator":
        resend = f"stream-infer.{progress_topic(DEAD_LETTERS)}"
        return [
            acl("group", name, "Describe", "literal"),
            acl("transactional-id", resend, "Write", "literal"),
        ]
    return []


def kafka_acls_command(acl: Acl, principal: str, bootstrap: str) -> str:
    """Return the command of Apache Kafka that grants an ACL, as a line for a shell.

    principal  as Kafka names it, such as ``User:worker`` or ``User:CN=worker``
    """
    words = ["kafka-acls", "--bootstrap-server", bootstrap, "--command-config", "admin.properties"]
    words += ["--add", "--allow-principal", principal]
    for operation in acl.operations:
        words += ["--operation", operation]
    words += [f"--{acl.resource}", acl.name]
    if acl.pattern == "prefixed":
        words += ["--resource-pattern-type", "prefixed"]
    return shlex.join(words)
