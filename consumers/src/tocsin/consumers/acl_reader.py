"""Reads the live ACLs on topics through DescribeAcls."""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tocsin.consumers.acl import AclRow
from tocsin.consumers.errors import AclsNotUnderstood, AclsUnreadable, TooManyAcls

# librdkafka puts the answer on its stack and crashes above about 140,000 rows (measured)
ROWS_MAX: Final = 100_000
TIMEOUT_S: Final = 2.0

_ANY: Any = None  # no condition; the library's annotation forgets that it may be left out
_TOPICS = AclBindingFilter(
    ResourceType.TOPIC, _ANY, ResourcePatternType.ANY, _ANY, _ANY, AclOperation.ANY, AclPermissionType.ANY
)


def read_topic_acls(admin: AdminClient) -> list[AclRow]:
    """Every ACL row on topics, in one question to one broker.

    Raises:
        AclsUnreadable: no answer, or a row that is not understood, or too many rows.
    """
    try:
        bindings = admin.describe_acls(_TOPICS, request_timeout=TIMEOUT_S).result(TIMEOUT_S + 1)
    except KafkaException as failure:
        raise AclsUnreadable(f"DescribeAcls: {failure.args[0]}") from failure
    except TimeoutError as failure:
        raise AclsUnreadable("DescribeAcls: no answer in time") from failure
    if len(bindings) > ROWS_MAX:
        raise TooManyAcls(f"{len(bindings)} ACL rows on topics; at most {ROWS_MAX} can be read safely")
    return [_row(binding) for binding in bindings]


def _row(binding: Any) -> AclRow:
    words = (
        binding.restype.name,
        binding.resource_pattern_type.name,
        binding.operation.name,
        binding.permission_type.name,
    )
    if "UNKNOWN" in words:
        raise AclsNotUnderstood(
            f"an ACL on topic {binding.name!r} for {binding.principal} is of an unknown kind: {words}"
        )
    return AclRow(words[0], binding.name, words[1], binding.principal, binding.host, words[2], words[3])
