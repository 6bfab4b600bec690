"""From policy to what the cluster should have: topics, logins and ACL rows. Pure.

A prefix always ends with `.`, and TLP leaves are literal: a prefix `...amber` would also grant amber-strict.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from tocsin.consumers.acl import AclRow
from tocsin.consumers.acl_reader import ROWS_MAX
from tocsin.consumers.subscriptions import Subscription
from tocsin.deploy.errors import PolicyInvalid
from tocsin.deploy.policy.document import Agreement, Policy
from tocsin.schemas.directory import SECRETARIAT_ROLE
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

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
FANOUT: Final = "fanout"
ANY_HOST: Final = "*"
USER: Final = "User:"

_DELETE = {"cleanup.policy": "delete"}
# what was erased is gone from the disk within a bound: docs/withdrawal.md, "When the bytes are gone"
_COMPACT = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.1",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": str(HOUR_MS),
    # so long does a tombstone stay for members that are away
    "delete.retention.ms": str(7 * DAY_MS),
}
# a segment goes as a whole, by its newest record: one that is a day long keeps its oldest a day too long
_DAILY = {"segment.ms": str(DAY_MS)}
_STAMPED = {"message.timestamp.type": "LogAppendTime"}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of one partition and the settings that are ours to say."""

    name: str
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Grant:
    """An ACL row and why it exists: the agreements' ids, or what the login needs for its work."""

    row: AclRow
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Desired:
    """What the cluster should have. `warnings` are agreements that share with nobody, or nothing."""

    topics: tuple[Topic, ...]
    logins: tuple[str, ...]
    grants: tuple[Grant, ...]
    warnings: tuple[str, ...]

    @property
    def alert_topics(self) -> list[str]:
        """The names of the topics that sight is of."""
        return [topic.name for topic in self.topics if topic.name.startswith("alerts.")]

    @property
    def rows(self) -> frozenset[AclRow]:
        """The ACL rows of all grants."""
        return frozenset(grant.row for grant in self.grants)


def compile_policy(policy: Policy, today: date) -> Desired:
    """What `policy` means on `today`.

    Raises:
        PolicyInvalid: more ACL rows on topics than the fan-out can read.
    """
    reasons: dict[AclRow, list[str]] = {}
    for row, reason in _all_rows(policy, today):
        known = reasons.setdefault(row, [])
        if reason not in known:
            known.append(reason)
    on_topics = sum(row.resource_type == "TOPIC" for row in reasons)
    if on_topics > ROWS_MAX:
        raise PolicyInvalid(f"{on_topics} ACL rows on topics, {ROWS_MAX} can be read safely: share fewer labels apart")
    return Desired(
        topics=tuple(_topics(policy)),
        logins=(FANOUT, *policy.members),
        grants=tuple(Grant(row, tuple(why)) for row, why in reasons.items()),
        warnings=tuple(_warnings(policy, today)),
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


def _warnings(policy: Policy, today: date) -> Iterator[str]:
    lanes = set(policy.jurisdictions())
    for one in policy.agreements:
        parties = list(policy.matching(one.to))
        if not parties:
            yield f"agreement {one.id}: its parties match nobody, so it shares with nobody"
        elif not any(policy.members[name].status == "active" for name in parties):
            yield f"agreement {one.id}: none of its parties is active, so it shares with nobody"
        if not one.in_force(today):
            yield f"agreement {one.id}: not in force on {today}, so it grants nothing"
        if not policy.expand(one.alerts_of) & lanes:
            yield f"agreement {one.id}: no member is of {', '.join(one.alerts_of)}, so there is nothing to share"


# -- topics ----------------------------------------------------------------------------------------------------------


def replication(brokers: int) -> tuple[int, int]:
    """Replication factor and min.insync.replicas in a cluster of `brokers`: with three, one may fail."""
    return (3, 2) if brokers >= 3 else (1, 1)  # noqa: PLR2004  # what the sentence above says


def _topics(policy: Policy) -> Iterator[Topic]:
    for place in policy.jurisdictions():
        for kind in AlertType:
            for tlp in Tlp:
                yield Topic(AlertTopic(place, kind, tlp).name, {**_DELETE, **_STAMPED, **_DAILY, **_kept(30)})
        yield Topic(ledger_topic(place), _COMPACT)
        yield Topic(audit_topic(place), {**_DELETE, **_STAMPED, **_kept(3650)})
    for member in policy.members:
        yield Topic(inbox_topic(member), {**_COMPACT, **_STAMPED})
        # stamped: a key counts by the broker's time of what it signed
        yield Topic(outbox_topic(member), {**_COMPACT, **_STAMPED})
    # 32 records' worth: a directory of 1,000 members with several keys each
    yield Topic(DIRECTORY_TOPIC, {**_COMPACT, "max.message.bytes": "2200000"})
    for name, days in ((POLICY_AUDIT_TOPIC, 3650), (ACCESS_AUDIT_TOPIC, 730), (CHECKPOINTS_TOPIC, 3650)):
        yield Topic(name, {**_DELETE, **_kept(days)})


def _kept(days: int) -> dict[str, str]:
    return {"retention.ms": str(days * DAY_MS)}


# -- ACL rows --------------------------------------------------------------------------------------------------------


def _allow(login: str, operation: str, kind: str, name: str, *, host: str = ANY_HOST) -> AclRow:
    """An ALLOW row; a name that ends with `.` is a prefix, every other one literal."""
    return AclRow(
        resource_type=kind,
        name=name,
        pattern="PREFIXED" if name.endswith(".") else "LITERAL",
        principal=f"{USER}{login}",
        host=host,
        operation=operation,
        permission="ALLOW",
    )


def _all_rows(policy: Policy, today: date) -> Iterator[tuple[AclRow, str]]:
    for row in fanout_rows(policy.jurisdictions()):
        yield row, "the fan-out's work"
    for name in policy.members:
        yield from _member_rows(policy, name)
    for agreement in policy.agreements:
        if agreement.in_force(today):
            for row in _agreement_rows(policy, agreement):
                yield row, f"agreement {agreement.id}"


def _member_rows(policy: Policy, name: str) -> Iterator[tuple[AclRow, str]]:
    member = policy.members[name]
    # suspended and withdrawn ones too: they are still sent withdrawal notices, and acknowledge them
    for row in own_rows(name):
        yield row, "every member's own"
    if member.status == "active":
        for kind in member.publishes:
            yield _publishing_row(name, member.jurisdiction, kind), f"publishes {kind.value}"
        if member.role == SECRETARIAT_ROLE:
            for row in _revising_rows(name, policy.jurisdictions()):
                yield row, "revises for any publisher"


def fanout_rows(lanes: Collection[str]) -> Iterator[AclRow]:
    """What the fan-out needs to work on `lanes`, and no more."""
    for prefix in ("alerts.", "ledger.", "outbox."):
        yield _allow(FANOUT, "READ", "TOPIC", prefix)
    for prefix in ("inbox.", "ledger."):
        yield _allow(FANOUT, "WRITE", "TOPIC", prefix)
    # no prefix: audit.policy, audit.access and audit.checkpoints are not the fan-out's to write
    for place in lanes:
        yield _allow(FANOUT, "WRITE", "TOPIC", audit_topic(place))
    yield _allow(FANOUT, "READ", "TOPIC", DIRECTORY_TOPIC)
    yield _allow(FANOUT, "WRITE", "TRANSACTIONAL_ID", "fanout.")
    yield _allow(FANOUT, "READ", "GROUP", "fanout.")
    yield _allow(FANOUT, "DESCRIBE", "CLUSTER", "kafka-cluster")


def own_rows(member: str) -> Iterator[AclRow]:
    """What every member needs. No TRANSACTIONAL_ID: an open transaction would hold back all readers of a topic."""
    yield _allow(member, "READ", "TOPIC", inbox_topic(member))
    for operation in ("WRITE", "READ"):
        yield _allow(member, operation, "TOPIC", outbox_topic(member))
    yield _allow(member, "READ", "TOPIC", DIRECTORY_TOPIC)
    yield _allow(member, "READ", "TOPIC", CHECKPOINTS_TOPIC)
    yield _allow(member, "READ", "GROUP", f"{member}.")


def _publishing_row(member: str, place: str, kind: AlertType) -> AclRow:
    return _allow(member, "WRITE", "TOPIC", f"alerts.{place}.{kind.value}.")


def _revising_rows(member: str, places: Collection[str]) -> Iterator[AclRow]:
    """Who may revise for others writes every alert topic: a publisher that is gone cannot retract."""
    for place in places:
        for kind in AlertType:
            yield _publishing_row(member, place, kind)


def _agreement_rows(policy: Policy, agreement: Agreement) -> Iterator[AclRow]:
    host = ANY_HOST if agreement.direct else DELIVERY_HOST
    # what a group names beyond the members' jurisdictions has no topics yet
    places = sorted(policy.expand(agreement.alerts_of) & set(policy.jurisdictions()))
    for member in policy.matching(agreement.to):
        if policy.members[member].status == "active":
            for place in places:
                for kind in agreement.types:
                    for tlp in agreement.up_to.and_below():
                        yield _allow(member, "READ", "TOPIC", AlertTopic(place, kind, tlp).name, host=host)
