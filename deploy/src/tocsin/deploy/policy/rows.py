"""The ACL rows that logins need for their work: the exchange's services, and members. Pure.

A prefix always ends with `.`, and TLP leaves are literal: a prefix `...amber` would also grant amber-strict.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from tocsin.consumers.acl import AclRow
from tocsin.consumers.audit.logs import SEALER
from tocsin.schemas.directory import EXCHANGE
from tocsin.schemas.names import (
    ACCESS_AUDIT_TOPIC,
    ACL_AUDIT_TOPIC,
    CHECKPOINTS_TOPIC,
    DIRECTORY_TOPIC,
    POLICY_AUDIT_TOPIC,
    AlertType,
    audit_topic,
    inbox_topic,
    outbox_topic,
)

FANOUT: Final = "fanout"
AUDITOR: Final = "auditor"
SHIPPER: Final = "shipper"
# what the policy tool works with once there is a policy, and what only looks
POLICY: Final = "policy"
DRIFT: Final = "drift"
# a login without rights, to see that none are given to everyone
CANARY: Final = "canary"
ANY_HOST: Final = "*"
USER: Final = "User:"
SIGNERS: Final[Mapping[str, str]] = {FANOUT: EXCHANGE, SEALER: SEALER}
"""The services that sign, by login, and whose their keys are in the directory."""
MANAGED: Final = ("alerts.", "audit.", "inbox.", "ledger.", "outbox.", DIRECTORY_TOPIC)
"""The topics that a policy makes, by name or prefix."""
_CLUSTER: Final = "kafka-cluster"
# the work of a member's logins
RECEIVING: Final = ("all", "receive")
PUBLISHING: Final = ("all", "publish")
AUDITING: Final = "audit"


def acl_row(
    login: str, operation: str, kind: str, name: str, *, host: str = ANY_HOST, permission: str = "ALLOW"
) -> AclRow:
    """A row; a name that ends with `.` is a prefix, every other one literal."""
    return AclRow(
        resource_type=kind,
        name=name,
        pattern="PREFIXED" if name.endswith(".") else "LITERAL",
        principal=f"{USER}{login}",
        host=host,
        operation=operation,
        permission=permission,
    )


def fanout_rows(lanes: Collection[str]) -> Iterator[AclRow]:
    """What the fan-out needs to work on `lanes`, and no more."""
    for prefix in ("alerts.", "ledger.", "outbox."):
        yield acl_row(FANOUT, "READ", "TOPIC", prefix)
    for prefix in ("inbox.", "ledger."):
        yield acl_row(FANOUT, "WRITE", "TOPIC", prefix)
    # no prefix: audit.policy, whose word the policy tool believes, and audit.access are not the fan-out's to write
    for place in lanes:
        yield acl_row(FANOUT, "WRITE", "TOPIC", audit_topic(place))
    # what the ACLs were that it decided by, and what of that is there already
    for operation in ("WRITE", "READ"):
        yield acl_row(FANOUT, operation, "TOPIC", ACL_AUDIT_TOPIC)
    # the head of each lane's log, which it passes on when it tests the line
    for topic in (DIRECTORY_TOPIC, CHECKPOINTS_TOPIC):
        yield acl_row(FANOUT, "READ", "TOPIC", topic)
    yield acl_row(FANOUT, "WRITE", "TRANSACTIONAL_ID", "fanout.")
    yield acl_row(FANOUT, "READ", "GROUP", "fanout.")
    yield acl_row(FANOUT, "DESCRIBE", "CLUSTER", _CLUSTER)


def sealer_rows(lanes: Collection[str]) -> Iterator[AclRow]:
    """What the sealer needs to seal decisions of `lanes`, policy changes and brokers' logs; it writes but seals."""
    for topic in (*map(audit_topic, lanes), POLICY_AUDIT_TOPIC, ACCESS_AUDIT_TOPIC):
        yield acl_row(SEALER, "READ", "TOPIC", topic)
    for operation in ("WRITE", "READ"):
        yield acl_row(SEALER, operation, "TOPIC", CHECKPOINTS_TOPIC)
    yield group_row(SEALER)


def shipper_rows(_lanes: Collection[str]) -> Iterator[AclRow]:
    """What the shipper needs to put the brokers' logs on record, and to find where it was; nothing else."""
    for operation in ("WRITE", "READ"):
        yield acl_row(SHIPPER, operation, "TOPIC", ACCESS_AUDIT_TOPIC)
    yield group_row(SHIPPER)


def auditor_rows(lanes: Collection[str]) -> Iterator[AclRow]:
    """What who answers from the record needs: all of the record, and of the alerts how many there are."""
    audits = (POLICY_AUDIT_TOPIC, ACL_AUDIT_TOPIC, ACCESS_AUDIT_TOPIC, CHECKPOINTS_TOPIC)
    for topic in (*map(audit_topic, lanes), *audits, DIRECTORY_TOPIC, "outbox."):
        yield acl_row(AUDITOR, "READ", "TOPIC", topic)
    yield acl_row(AUDITOR, "DESCRIBE", "TOPIC", "alerts.")
    yield group_row(AUDITOR)


def policy_rows(_lanes: Collection[str]) -> Iterator[AclRow]:
    """What the policy tool needs: to make topics, settings, users and ACLs, and to say so. It reads no alert.

    ALTER on the cluster is the right to change any ACL and any password: it could give itself all that it has not.
    """
    for name in MANAGED:
        for operation in ("CREATE", "DESCRIBE", "ALTER_CONFIGS"):
            yield acl_row(POLICY, operation, "TOPIC", name)
    for topic in (DIRECTORY_TOPIC, POLICY_AUDIT_TOPIC):
        for operation in ("WRITE", "READ"):
            yield acl_row(POLICY, operation, "TOPIC", topic)
    yield group_row(POLICY)
    # not ALTER_CONFIGS, which quotas need: who has that can turn off the brokers' access log
    yield acl_row(POLICY, "ALTER", "CLUSTER", _CLUSTER)


def drift_rows(_lanes: Collection[str]) -> Iterator[AclRow]:
    """What who compares the cluster with the policy needs: to look at what the policy made, and to change nothing."""
    for name in MANAGED:
        for operation in ("DESCRIBE", "DESCRIBE_CONFIGS"):
            yield acl_row(DRIFT, operation, "TOPIC", name)
    for topic in (DIRECTORY_TOPIC, POLICY_AUDIT_TOPIC):
        yield acl_row(DRIFT, "READ", "TOPIC", topic)
    yield group_row(DRIFT)
    yield acl_row(DRIFT, "DESCRIBE", "CLUSTER", _CLUSTER)


SERVICE_ROWS: Final[Mapping[str, Callable[[Collection[str]], Iterator[AclRow]]]] = {
    FANOUT: fanout_rows,
    SEALER: sealer_rows,
    AUDITOR: auditor_rows,
    SHIPPER: shipper_rows,
    POLICY: policy_rows,
    DRIFT: drift_rows,
    CANARY: lambda _: iter(()),
}
"""What each service of the exchange needs to work on lanes, by its login."""


def officer_rows(login: str, place: str) -> Iterator[AclRow]:
    """What an officer needs to read the record of its own jurisdiction, and of no other."""
    for topic in (audit_topic(place), ACL_AUDIT_TOPIC, CHECKPOINTS_TOPIC):
        yield acl_row(login, "READ", "TOPIC", topic)
    yield group_row(login)


def group_row(login: str) -> AclRow:
    """Groups of its own, for whoever reads with a client of another kind."""
    return acl_row(login, "READ", "GROUP", f"{login}.")


def own_rows(member: str, login: str) -> Iterator[AclRow]:
    """What a member's login needs to receive, and to send the exchange word.

    No TRANSACTIONAL_ID: an open transaction would hold back all readers of a topic.
    """
    yield acl_row(login, "READ", "TOPIC", inbox_topic(member))
    for operation in ("WRITE", "READ"):
        yield acl_row(login, operation, "TOPIC", outbox_topic(member))
    yield acl_row(login, "READ", "TOPIC", CHECKPOINTS_TOPIC)
    yield acl_row(login, "READ", "GROUP", f"{member}.")
    yield directory_row(login)


def directory_row(login: str) -> AclRow:
    """What who publishes needs too: to know which of its keys count."""
    return acl_row(login, "READ", "TOPIC", DIRECTORY_TOPIC)


def publishing_row(login: str, place: str, kind: AlertType) -> AclRow:
    """The right to publish one type of one jurisdiction."""
    return acl_row(login, "WRITE", "TOPIC", f"alerts.{place}.{kind.value}.")


def barring_rows(login: str) -> Iterator[AclRow]:
    """What keeps the login of a member that is not active from alerts, whatever else is granted."""
    for operation in ("READ", "WRITE"):
        yield acl_row(login, operation, "TOPIC", "alerts.", permission="DENY")
