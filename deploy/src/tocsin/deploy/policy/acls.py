"""The live ACLs through the administrator's client. What counts is what a later reading shows, not an answer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

import structlog
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
from tocsin.consumers.acl_client import is_too_large, is_understood, light_rows, row_of
from tocsin.consumers.acl_reader import ROWS_MAX, too_many
from tocsin.deploy.errors import PolicyNotApplied
from tocsin.schemas.names import DELIVERY_HOST

log = structlog.get_logger()

# one request of 1,000 takes 0.15 s, 1,000 requests 32 s; Kafka takes 10,000 at most
BATCH: Final = 1_000
WAIT_S: Final = 60.0
# the client gives up after a minute by itself, and says who did not answer
ANSWERED_S: Final = WAIT_S + 5
# of so many logins all rows are asked for one by one; to read all of 50,000 rows takes half a second
ASKED_MAX: Final = 64

# what our rows are on. One question each: kinds that this release cannot name are not asked for, nor are they ours
_KINDS: Final = (ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID, ResourceType.BROKER)
# the request may have been carried out all the same
_UNANSWERED: Final = (KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT, KafkaError._TRANSPORT)  # noqa: SLF001  # librdkafka's names


_ANY: Any = None  # no condition; the library's annotation forgets that it may be left out


def read_acls(admin: AdminClient) -> set[AclRow]:
    """Every ACL row on topics, groups, transactional ids and the cluster.

    `admin` is an `acl_client`: with another one, an answer that is too large ends the process.

    Raises:
        TooManyAcls: more rows of a kind than can be read safely.
        KafkaException: refused, or no answer.
    """
    return {row for kind in _KINDS for row in _every(admin, kind)}


def strange_acls(admin: AdminClient) -> list[str]:
    """The ACLs of kinds that this release has no name for, as far as they can be told, on whatever resource.

    Raises:
        TooManyAcls, KafkaException: as `read_acls`.
    """
    return sorted(row.text() for row in _every(admin, ResourceType.ANY) if not is_understood(row))


def _every(admin: AdminClient, kind: ResourceType) -> list[AclRow]:
    try:
        with light_rows():
            found: list[Any] = admin.describe_acls(_all_of(kind, _ANY)).result(ANSWERED_S)
    except KafkaException as failure:
        if is_too_large(failure):
            raise too_many() from failure
        raise
    if len(found) > ROWS_MAX:
        raise too_many(len(found))
    return [row_of(fields) for fields in found]


def _all_of(kind: ResourceType, principal: str) -> AclBindingFilter:
    return AclBindingFilter(
        kind, _ANY, ResourcePatternType.ANY, principal, _ANY, AclOperation.ANY, AclPermissionType.ANY
    )


class Outcome(StrEnum):
    """What became of a change: read back, neither refused nor read back in time, or refused."""

    APPLIED = "applied"
    UNCONFIRMED = "unconfirmed"
    FAILED = "failed"


def create_acls(admin: AdminClient, rows: Sequence[AclRow]) -> None:
    """Add `rows` and wait until they are read back.

    Raises:
        KafkaException: refused.
        PolicyNotApplied: not visible in time.
    """
    _insist(change_acls(admin, create=rows), "not visible yet")


def delete_acls(admin: AdminClient, rows: Sequence[AclRow]) -> None:
    """Delete exactly `rows` and wait until they are no longer read back.

    Raises:
        KafkaException: refused.
        PolicyNotApplied: still visible after the waiting time.
    """
    _insist(change_acls(admin, delete=rows), "still there")


def _insist(outcomes: Mapping[AclRow, Outcome], what: str) -> None:
    left = [row for row, outcome in outcomes.items() if outcome is not Outcome.APPLIED]
    if left:
        raise PolicyNotApplied(f"{len(left)} ACLs are {what}, e.g. {left[0].text()}; run the command again")


def change_acls(
    admin: AdminClient, *, create: Sequence[AclRow] = (), delete: Sequence[AclRow] = (), live: Collection[AclRow] = ()
) -> dict[AclRow, Outcome]:
    """Create or delete rows, and say what became of each: what counts is what is read back.

    With the `live` rows, what is deleted is named by few filters where all that they match is to go: a filter costs
    the controller a look at every ACL.
    """
    rows = [*create, *delete]
    refused = _send(create, lambda part: admin.create_acls([AclBinding(*_parts(row)) for row in part]))
    refused |= _send(delete_filters(delete, live), lambda part: admin.delete_acls([*part]))
    wanted = {**dict.fromkeys(create, True), **dict.fromkeys(delete, False)}
    outcomes = dict.fromkeys(rows, Outcome.UNCONFIRMED)
    deadline = time.monotonic() + (0 if refused else WAIT_S)
    while True:
        left = [row for row, outcome in outcomes.items() if outcome is not Outcome.APPLIED]
        there = there_among(admin, left)
        outcomes |= {row: Outcome.APPLIED for row in left if (row in there) == wanted[row]}
        if Outcome.UNCONFIRMED not in outcomes.values() or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    failed = Outcome.FAILED if refused else Outcome.UNCONFIRMED
    return {row: failed if outcome is Outcome.UNCONFIRMED else outcome for row, outcome in outcomes.items()}


def _send(items: Sequence[Any], send: Callable[[Sequence[Any]], Any]) -> bool:
    """Send `items` in batches; whether one was refused. What is not answered may have been carried out all the same."""
    for start in range(0, len(items), BATCH):
        for future in send(items[start : start + BATCH]).values():
            try:
                future.result(ANSWERED_S)
            except KafkaException as failure:
                if failure.args[0].code() not in _UNANSWERED:
                    log.warning("acls_refused", reason=str(failure.args[0]))
                    return True
    return False


def delete_filters(rows: Sequence[AclRow], live: Collection[AclRow]) -> list[AclBindingFilter]:
    """Filters that match `rows` and, among `live`, nothing else."""
    groups: dict[_Kind, list[AclRow]] = {}
    for row in rows:
        groups.setdefault(_kind(row), []).append(row)
    there = Counter(filter(groups.__contains__, map(_kind, live if groups else ())))
    found: list[AclBindingFilter] = []
    for kind, some in groups.items():
        # all sight of a member: whatever else is made of that kind meanwhile is ours to remove too
        whole = some[0].host == DELIVERY_HOST and there[kind] == len(some)
        found += [_whole(some[0])] if whole else [AclBindingFilter(*_parts(row)) for row in some]
    return found


_Kind = tuple[str, ...]
_kind: Callable[[AclRow], _Kind] = attrgetter("resource_type", "principal", "host", "operation", "permission")


def _whole(row: AclRow) -> AclBindingFilter:
    """What matches all rows of the kind of `row`, whatever they are on."""
    kind, _, _, *rest = _parts(row)
    return AclBindingFilter(kind, _ANY, ResourcePatternType.ANY, *rest)


def there_among(admin: AdminClient, rows: Sequence[AclRow]) -> Collection[AclRow]:
    """Which of `rows` there are, and more than those: it is quicker to read all of a few logins, or of everybody.

    Raises:
        TooManyAcls, KafkaException: as `read_acls`.
    """
    principals = {row.principal for row in rows}
    if len(principals) > ASKED_MAX:
        return read_acls(admin)
    with light_rows():
        answers: list[Any] = [admin.describe_acls(_all_of(ResourceType.ANY, who)) for who in principals]
        return {row_of(fields) for answer in answers for fields in answer.result(ANSWERED_S)}


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
