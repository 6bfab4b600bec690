"""The live ACLs through the administrator's client. What counts is what a later reading shows, not an answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tocsin.consumers.acl import AclRow
from tocsin.deploy.errors import PolicyNotApplied

# one request of 1,000 takes 0.15 s, 1,000 requests 32 s; Kafka takes 10,000 at most
BATCH: Final = 1_000
WAIT_S: Final = 60.0

# what our rows are on. One question each: kinds that this release cannot name are not asked for, nor are they ours
_KINDS: Final = (ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID, ResourceType.BROKER)
# the request may have been carried out all the same
_UNANSWERED: Final = (KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT, KafkaError._TRANSPORT)  # noqa: SLF001  # librdkafka's names


def read_acls(admin: AdminClient) -> set[AclRow]:
    """Every ACL row on topics, groups, transactional ids and the cluster."""
    nothing: Any = None  # no condition; the library's annotation forgets that it may be left out
    answers = [
        admin.describe_acls(
            AclBindingFilter(
                kind, nothing, ResourcePatternType.ANY, nothing, nothing, AclOperation.ANY, AclPermissionType.ANY
            )
        )
        for kind in _KINDS
    ]
    return {_row(binding) for answer in answers for binding in answer.result(WAIT_S)}


def create_acls(admin: AdminClient, rows: Sequence[AclRow]) -> None:
    """Add `rows` and wait until they are read back.

    Raises:
        KafkaException: refused.
        PolicyNotApplied: not visible in time.
    """
    _in_batches(rows, lambda part: admin.create_acls([AclBinding(*_parts(row)) for row in part]))
    _settle(admin, "ACLs are not visible yet", lambda live: [row for row in rows if row not in live])


def delete_acls(admin: AdminClient, rows: Sequence[AclRow]) -> None:
    """Delete exactly `rows` and wait until they are no longer read back.

    Raises:
        KafkaException: refused.
        PolicyNotApplied: still visible after the waiting time.
    """
    _in_batches(rows, lambda part: admin.delete_acls([AclBindingFilter(*_parts(row)) for row in part]))
    _settle(admin, "ACLs are still there", lambda live: [row for row in rows if row in live])


def _in_batches(rows: Sequence[AclRow], send: Callable[[Sequence[AclRow]], Any]) -> None:
    for start in range(0, len(rows), BATCH):
        for future in send(rows[start : start + BATCH]).values():
            try:
                future.result(WAIT_S)
            except KafkaException as failure:
                if failure.args[0].code() not in _UNANSWERED:
                    raise


def _settle(admin: AdminClient, what: str, left: Callable[[Collection[AclRow]], list[AclRow]]) -> None:
    deadline = time.monotonic() + WAIT_S
    while rows := left(read_acls(admin)):
        if time.monotonic() > deadline:
            raise PolicyNotApplied(f"{len(rows)} {what}, e.g. {rows[0].text()}; run the command again")
        time.sleep(0.1)


def _row(binding: Any) -> AclRow:
    return AclRow(
        # librdkafka's name for Kafka's CLUSTER
        "CLUSTER" if binding.restype is ResourceType.BROKER else binding.restype.name,
        binding.name,
        binding.resource_pattern_type.name,
        binding.principal,
        binding.host,
        binding.operation.name,
        binding.permission_type.name,
    )


def _parts(row: AclRow) -> tuple[Any, ...]:
    return (
        ResourceType.BROKER if row.resource_type == "CLUSTER" else ResourceType[row.resource_type],
        row.name,
        ResourcePatternType[row.pattern],
        row.principal,
        row.host,
        AclOperation[row.operation],
        AclPermissionType[row.permission],
    )
