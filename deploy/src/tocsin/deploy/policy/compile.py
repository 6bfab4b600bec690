"""From policy to what the cluster should have: topics, logins and ACL rows. Pure.

A prefix always ends with `.`, and TLP leaves are literal: a prefix `...amber` would also grant amber-strict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from tocsin.consumers.acl import AclRow
from tocsin.consumers.decide import Subscription
from tocsin.deploy.policy.document import Agreement, Policy
from tocsin.schemas.names import (
    ACCESS_AUDIT_TOPIC,
    CHECKPOINTS_TOPIC,
    DELIVERY_HOST,
    DIRECTORY_TOPIC,
    POLICY_AUDIT_TOPIC,
    AlertTopic,
    AlertType,
    Tlp,
    audit_topic,
    inbox_topic,
    ledger_topic,
    outbox_topic,
)

DAY_MS = 86_400_000
FANOUT = "fanout"
ANY_HOST = "*"

_DELETE = {"cleanup.policy": "delete"}
_COMPACT = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of one partition and its configuration."""

    name: str
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Grant:
    """An ACL row and why it exists: an agreement's id, or what the role needs."""

    row: AclRow
    reason: str


@dataclass(frozen=True, slots=True)
class Desired:
    """What the cluster should have. `warnings` are agreements that share with nobody."""

    topics: tuple[Topic, ...]
    logins: tuple[str, ...]
    grants: tuple[Grant, ...]
    warnings: tuple[str, ...]


def compile_policy(policy: Policy, today: date) -> Desired:
    """What `policy` means on `today`."""
    grants = {grant.row: grant for grant in _all_grants(policy, today)}
    empty = [
        f"agreement {a.id}: its parties match nobody, so it shares with nobody"
        for a in policy.agreements
        if not list(policy.matching(a.to))
    ]
    ended = [
        f"agreement {a.id}: not in force on {today}, so it grants nothing"
        for a in policy.agreements
        if not a.in_force(today)
    ]
    return Desired(
        topics=tuple(_topics(policy)),
        logins=(FANOUT, *policy.members),
        grants=tuple(grants.values()),
        warnings=(*empty, *ended),
    )


def subscriptions(policy: Policy) -> dict[str, Subscription]:
    """What each member asks for, as the fan-out takes it."""
    return {
        name: Subscription(
            member=name,
            everything=wish.everything,
            types=frozenset(one.value for one in wish.types),
            jurisdictions=frozenset(wish.jurisdictions),
            tlps=frozenset(one.value for one in wish.tlps),
            own=wish.own,
        )
        for name, member in policy.members.items()
        if (wish := member.subscription) is not None
    }


def _topics(policy: Policy) -> Iterator[Topic]:
    stamped = {"message.timestamp.type": "LogAppendTime"}
    for place in policy.jurisdictions():
        for kind in AlertType:
            for tlp in Tlp:
                yield Topic(AlertTopic(place, kind, tlp).name, {**_DELETE, **stamped, "retention.ms": str(30 * DAY_MS)})
        yield Topic(ledger_topic(place), _COMPACT)
        yield Topic(audit_topic(place), {**_DELETE, **stamped, "retention.ms": str(3650 * DAY_MS)})
    for member in policy.members:
        yield Topic(inbox_topic(member), {**_COMPACT, **stamped})
        yield Topic(outbox_topic(member), _COMPACT)
    yield Topic(DIRECTORY_TOPIC, {**_COMPACT, "max.message.bytes": "2200000"})
    for name, days in ((POLICY_AUDIT_TOPIC, 3650), (ACCESS_AUDIT_TOPIC, 730), (CHECKPOINTS_TOPIC, 3650)):
        yield Topic(name, {**_DELETE, "retention.ms": str(days * DAY_MS)})


def _allow(login: str, operation: str, kind: str, name: str, *, prefix: bool = False, host: str = ANY_HOST) -> AclRow:
    return AclRow(
        resource_type=kind,
        name=name,
        pattern="PREFIXED" if prefix else "LITERAL",
        principal=f"User:{login}",
        host=host,
        operation=operation,
        permission="ALLOW",
    )


def _all_grants(policy: Policy, today: date) -> Iterator[Grant]:
    yield from (Grant(row, "the fan-out's work") for row in _fanout_rows(policy))
    for name, member in policy.members.items():
        if member.status == "active":
            yield from (Grant(row, "every member's own") for row in _member_rows(name))
            for kind in member.publishes:
                prefix = f"alerts.{member.jurisdiction}.{kind.value}."
                yield Grant(_allow(name, "WRITE", "TOPIC", prefix, prefix=True), f"publishes {kind.value}")
    for agreement in policy.agreements:
        if agreement.in_force(today):
            yield from _agreement_grants(policy, agreement)


def _fanout_rows(policy: Policy) -> Iterator[AclRow]:
    for prefix in ("alerts.", "ledger.", "outbox."):
        yield _allow(FANOUT, "READ", "TOPIC", prefix, prefix=True)
    for prefix in ("inbox.", "ledger."):
        yield _allow(FANOUT, "WRITE", "TOPIC", prefix, prefix=True)
    for place in policy.jurisdictions():
        yield _allow(FANOUT, "WRITE", "TOPIC", audit_topic(place))
    yield _allow(FANOUT, "READ", "TOPIC", DIRECTORY_TOPIC)
    yield _allow(FANOUT, "WRITE", "TRANSACTIONAL_ID", "fanout.", prefix=True)
    yield _allow(FANOUT, "READ", "GROUP", "fanout.", prefix=True)
    yield _allow(FANOUT, "DESCRIBE", "CLUSTER", "kafka-cluster")


def _member_rows(member: str) -> Iterator[AclRow]:
    yield _allow(member, "READ", "TOPIC", inbox_topic(member))
    yield _allow(member, "WRITE", "TOPIC", outbox_topic(member))
    yield _allow(member, "READ", "TOPIC", DIRECTORY_TOPIC)
    yield _allow(member, "READ", "TOPIC", CHECKPOINTS_TOPIC)
    yield _allow(member, "READ", "GROUP", f"{member}.", prefix=True)


def _agreement_grants(policy: Policy, agreement: Agreement) -> Iterator[Grant]:
    host = ANY_HOST if agreement.direct else DELIVERY_HOST
    for member in policy.matching(agreement.to):
        if policy.members[member].status != "active":
            continue
        for place in sorted(policy.expand(agreement.alerts_of)):
            for kind in agreement.types:
                for tlp in agreement.up_to.and_below():
                    topic = AlertTopic(place, kind, tlp).name
                    yield Grant(_allow(member, "READ", "TOPIC", topic, host=host), f"agreement {agreement.id}")
