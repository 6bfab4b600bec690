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

from tocsin.consumers.acl import AclRow, AclSet
from tocsin.consumers.acl_client import ANSWER_BYTES_MAX, is_too_large, is_understood, light_rows, row_of
from tocsin.consumers.errors import AclsNotUnderstood, AclsUnreadable, TooManyAcls

ROWS_MAX: Final = 100_000
TIMEOUT_S: Final = 2.0

_ANY: Any = None  # no condition; the library's annotation forgets that it may be left out
_TOPICS = AclBindingFilter(
    ResourceType.TOPIC, _ANY, ResourcePatternType.ANY, _ANY, _ANY, AclOperation.ANY, AclPermissionType.ANY
)


def read_topic_acls(admin: AdminClient, *, timeout_s: float = TIMEOUT_S, rows_max: int = ROWS_MAX) -> list[AclRow]:
    """Every ACL row on topics, in no order and at least one, as one broker has them at one moment.

    `admin` is an `acl_client`: with another one, an answer that is too large ends the process.
    Fields arrive as C strings: a name or principal that holds a NUL byte is seen up to it.

    Raises:
        AclsUnreadable: no answer in `timeout_s`, or no row, which is how a refusal looks: librdkafka drops the error
            code of the answer. An exchange whose ACLs hold no row on topics could read no alert either.
        AclsNotUnderstood: a row's kind has no name in this release.
        TooManyAcls: more than `rows_max` rows, or an answer that is larger than the client takes.
    """
    return _understood(_ask(admin, timeout_s), rows_max)


class TopicAcls:
    """The ACL rows on topics, for who reads them again and again.

    To see that an answer is the last one once more takes a twentieth of the time of making rows of it.
    """

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin
        self._answer: list[Any] = []
        self._acls = AclSet(())

    def read(self) -> AclSet:
        """As `read_topic_acls`, its errors too; the very same set while the answer is the same."""
        answer = _ask(self._admin, TIMEOUT_S)
        if answer != self._answer:
            self._acls, self._answer = AclSet(_understood(answer, ROWS_MAX)), answer
        return self._acls


def _ask(admin: AdminClient, timeout_s: float) -> list[Any]:
    """What `row_of` takes; never empty."""
    try:
        with light_rows():
            found: list[Any] = admin.describe_acls(_TOPICS, request_timeout=timeout_s).result(timeout_s + 1)
    except KafkaException as failure:
        if is_too_large(failure):
            raise too_many() from failure
        raise _unreadable(str(failure.args[0])) from failure
    except TimeoutError as failure:
        raise _unreadable(f"no answer in {timeout_s} s") from failure
    if not found:
        raise _unreadable("not a single row on topics")
    return found


def _understood(answer: list[Any], rows_max: int) -> list[AclRow]:
    if len(answer) > rows_max:
        raise too_many(len(answer), rows_max=rows_max)
    rows = [row_of(fields) for fields in answer]
    if strange := next((row for row in rows if not is_understood(row)), None):
        raise AclsNotUnderstood(
            f"the ACL on topic {strange.name!r} for {strange.principal!r} is of an unknown kind ({strange.text()}); "
            f"remove it (kafka-acls --list shows it) or upgrade tocsin-consumers"
        )
    return rows


def too_many(count: int | None = None, *, rows_max: int = ROWS_MAX) -> TooManyAcls:
    """The refusal of `count` rows; None: of so many that their answer was not taken."""
    much = f"{ANSWER_BYTES_MAX / 1_000_000:g} MB"
    found = f"more ACL rows than an answer of {much} holds" if count is None else f"{count} ACL rows"
    return TooManyAcls(
        f"{found}, and {rows_max} in {much} can be read safely; remove those that nobody needs (kafka-acls --list and"
        " --remove), and grant prefixes instead of names"
    )


def _unreadable(why: str) -> AclsUnreadable:
    return AclsUnreadable(
        f"DescribeAcls: {why}; is the broker up, has this login DESCRIBE on CLUSTER, and are there fewer than"
        f" {ROWS_MAX} ACL rows?"
    )
