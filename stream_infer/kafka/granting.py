"""Grant ACLs through Kafka's own protocol: aiokafka has the request and no method for it.

Source: Kafka protocol guide, CreateAcls (API key 30, version 1); the numbers are those of
``org.apache.kafka.common.resource.ResourceType``, ``PatternType`` and ``acl.AclOperation``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiokafka import errors as kafka_errors
from aiokafka.protocol.admin import CreateAclsRequest

from stream_infer.errors import ConflictError
from stream_infer.kafka.acls import Acl, Operation, Pattern, Resource
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import administration

_RESOURCES: dict[Resource, int] = {"topic": 2, "group": 3, "transactional-id": 5}
_PATTERNS: dict[Pattern, int] = {"literal": 3, "prefixed": 4}
_OPERATIONS: dict[Operation, int] = {
    "Read": 3,
    "Write": 4,
    "Create": 5,
    "Describe": 8,
    "DescribeConfigs": 10,
}
_ALLOW = 3
_EVERY_HOST = "*"


class _CreateAcls(CreateAclsRequest):  # type: ignore[misc]  # aiokafka ships no types
    """All rules in one request; aiokafka's own takes one, and each waits for the controllers."""

    def __init__(self, rules: list[tuple[int, str, int, str, str, int, int]]) -> None:
        self._rules = rules

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._rules)


async def grant(connection: Connection, granted: Sequence[tuple[str, Acl]]) -> int:
    """Grant ACLs to principals; return how many rules that are. Safe to repeat.

    granted  (principal such as ``User:worker``, ACL)
    Raises   ConflictError when the cluster has no authorizer, BrokerError when it refuses
    """
    rules = [
        (
            _RESOURCES[acl.resource],
            acl.name,
            _PATTERNS[acl.pattern],
            principal,
            _EVERY_HOST,
            _OPERATIONS[operation],
            _ALLOW,
        )
        for principal, acl in granted
        for operation in acl.operations
    ]
    async with administration(connection) as client:
        answer = await client._send_request(_CreateAcls(rules))  # noqa: SLF001 - see above
        for code, message in answer.creation_responses:
            _refuse(code, message, connection.bootstrap)
    return len(rules)


def _refuse(code: int, message: str | None, address: str) -> None:
    kind = kafka_errors.for_code(code)
    if kind is kafka_errors.NoError:
        return
    if kind is kafka_errors.SecurityDisabled:
        raise ConflictError(
            "acls_disabled",
            f"Kafka at {address} has no authorizer: everybody may do everything there.",
            "Set authorizer.class.name of the brokers and controllers to"
            " org.apache.kafka.metadata.authorizer.StandardAuthorizer.",
            address=address,
        )
    raise kind(message)
