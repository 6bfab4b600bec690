"""From policy to what the cluster should have: topics, logins and ACL rows. Pure.

A prefix always ends with `.`, and TLP leaves are literal: a prefix `...amber` would also grant amber-strict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tocsin.consumers.acl import AclRow
from tocsin.consumers.acl_client import ANSWER_BYTES_MAX, answer_bytes
from tocsin.consumers.acl_reader import ROWS_MAX
from tocsin.consumers.snapshots import WHOLE_EVERY_MS
from tocsin.consumers.subscriptions import Subscription
from tocsin.deploy.errors import PolicyInvalid
from tocsin.deploy.policy.document import Agreement, Plane, Policy, Prohibition, Transfer
from tocsin.deploy.policy.retention import DAY_MS
from tocsin.deploy.policy.rows import (
    AUDITING,
    PUBLISHING,
    RECEIVING,
    SERVICE_ROWS,
    acl_row,
    barring_rows,
    directory_row,
    officer_rows,
    own_rows,
    publishing_row,
)
from tocsin.schemas.directory import SECRETARIAT_ROLE
from tocsin.schemas.errors import IdentifierInvalid
from tocsin.schemas.identifiers import country
from tocsin.schemas.names import (
    ACCESS_AUDIT_TOPIC,
    ACL_AUDIT_TOPIC,
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

HOUR_MS: Final = 3_600_000
RETENTION: Final = "retention.ms"
# what a decision's ACL snapshot goes back to is so much older than the decision at most, and a clock may be wrong
SNAPSHOT_DAYS: Final = WHOLE_EVERY_MS // DAY_MS + 30

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
class BreakGlass:
    """Sight of one topic that one person gave one member in an emergency, past all agreements, until it ends."""

    member: str
    topic: str
    by: str
    why: str
    until: datetime

    @property
    def text(self) -> str:
        """Why its ACL exists."""
        return f"break-glass by {self.by} until {self.until.isoformat(timespec='seconds')}: {self.why}"


@dataclass(frozen=True, slots=True)
class Desired:
    """What the cluster should have `at` a moment. `warnings` are parts that do nothing, e.g. share with nobody."""

    at: datetime
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


def compile_policy(policy: Policy, now: datetime, glass: Sequence[BreakGlass] = ()) -> Desired:
    """What `policy`, and the break-glass grants beside it, mean at `now`.

    Raises:
        PolicyInvalid: more ACL rows on topics than the fan-out can read.
    """
    compiler = _Compiler(policy, now)
    reasons: dict[AclRow, list[str]] = {}
    for row, reason in compiler.rows(glass):
        known = reasons.setdefault(row, [])
        if reason not in known:
            known.append(reason)
    on_topics = [row for row in reasons if row.resource_type == "TOPIC"]
    size = answer_bytes(on_topics)
    if len(on_topics) > ROWS_MAX or size > ANSWER_BYTES_MAX:
        raise PolicyInvalid(
            f"{len(on_topics)} ACL rows on topics in {size} bytes, {ROWS_MAX} in {ANSWER_BYTES_MAX} can be read safely;"
            " share fewer labels"
        )
    return Desired(
        at=now,
        topics=tuple(_topics(policy)),
        logins=(*SERVICE_ROWS, *(login for name in policy.members for login in logins(policy, name))),
        grants=tuple(Grant(row, tuple(why)) for row, why in reasons.items()),
        warnings=tuple(compiler.warnings()),
    )


def logins(policy: Policy, member: str) -> tuple[str, ...]:
    """The Kafka users of a member: its own, and `<member>.<suffix>`."""
    return (member, *(f"{member}.{suffix}" for suffix in policy.members[member].logins))


def member_of(login: str) -> str:
    """Whose a login is, if it is a member's."""
    return login.partition(".")[0]


class Mechanisms:
    """The transfer matrix at one moment."""

    def __init__(self, policy: Policy, now: datetime) -> None:
        self._policy = policy
        self._by: dict[tuple[str, str, Plane], Transfer] = {
            (source, to, transfer.plane): transfer
            for transfer in reversed(policy.transfers)
            if transfer.in_force(now)
            for source in policy.expand(transfer.source)
            for to in policy.expand(transfer.to)
        }

    def between(self, place: str, member: str) -> Transfer | None:
        """By what the alerts of `place` may reach `member`, the first row that says so; None: by nothing."""
        one = self._policy.members[member]
        return self._by.get((place, one.jurisdiction, one.plane))

    def allow(self, place: str, member: str) -> bool:
        """Whether the alerts of `place` may reach `member`: at home they need no mechanism."""
        return self._policy.members[member].jurisdiction == place or self.between(place, member) is not None


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


# -- topics ----------------------------------------------------------------------------------------------------------


def replication(brokers: int) -> tuple[int, int]:
    """Replication factor and min.insync.replicas in a cluster of `brokers`: with three, one may fail."""
    return (3, 2) if brokers >= 3 else (1, 1)  # noqa: PLR2004  # what the sentence above says


def _topics(policy: Policy) -> Iterator[Topic]:
    days = policy.retention
    for place in policy.jurisdictions():
        for kind in AlertType:
            for tlp in Tlp:
                yield Topic(
                    AlertTopic(place, kind, tlp).name, {**_DELETE, **_STAMPED, **_DAILY, **_kept(days.alerts_days)}
                )
        yield Topic(ledger_topic(place), _COMPACT)
        yield Topic(audit_topic(place), {**_DELETE, **_STAMPED, **_kept(days.audit_days)})
    for member in policy.members:
        yield Topic(inbox_topic(member), {**_COMPACT, **_STAMPED})
        # stamped: a key counts by the broker's time of what it signed
        yield Topic(outbox_topic(member), {**_COMPACT, **_STAMPED})
    # 32 records' worth: a directory of 1,000 members with several keys each
    yield Topic(DIRECTORY_TOPIC, {**_COMPACT, "max.message.bytes": "2200000"})
    # stamped: how long it is kept is not for a writer's clock to say
    yield Topic(ACL_AUDIT_TOPIC, {**_DELETE, **_STAMPED, **_kept(days.audit_days + SNAPSHOT_DAYS)})
    yield Topic(ACCESS_AUDIT_TOPIC, {**_DELETE, **_STAMPED, **_kept(days.audit_access_days)})
    for name, kept in ((POLICY_AUDIT_TOPIC, days.audit_policy_days), (CHECKPOINTS_TOPIC, days.audit_checkpoints_days)):
        yield Topic(name, {**_DELETE, **_kept(kept)})


def _kept(days: int) -> dict[str, str]:
    return {RETENTION: str(days * DAY_MS)}


_CORRECT_TO: Final = "correct `to`"
_CORRECT_OF: Final = "correct `alerts_of`"
_CORRECT_DATES: Final = "correct its dates if that is not meant"


def _is_country(place: str) -> bool:
    try:
        return place == "eu" or bool(country(place))
    except IdentifierInvalid:
        return False


class _Compiler:
    """What a policy means at one moment."""

    def __init__(self, policy: Policy, now: datetime) -> None:
        self._policy = policy
        self._now = now
        self._lanes = policy.jurisdictions()
        self._mechanisms = Mechanisms(policy, now)
        self._prohibited: dict[str, set[str]] = {}
        for prohibition in policy.prohibitions:
            if prohibition.in_force(now):
                topics = {topic.name for topic in policy.topics(prohibition)}
                for member in policy.matching(prohibition.to):
                    self._prohibited.setdefault(member, set()).update(topics)

    def rows(self, glass: Sequence[BreakGlass]) -> Iterator[tuple[AclRow, str]]:
        """Every row and a reason for it; a row may come again with another reason."""
        yield from self._service_rows()
        for name in self._policy.members:
            yield from self._member_rows(name)
        for prohibition in self._policy.prohibitions:
            if prohibition.in_force(self._now):
                for row in self._denying_rows(prohibition):
                    yield row, f"prohibition {prohibition.id}"
        for agreement in self._policy.agreements:
            if agreement.in_force(self._now):
                yield from self._agreement_rows(agreement)
        for one in glass:
            if self._now < one.until and self._policy.members[one.member].active:
                yield acl_row(one.member, "READ", "TOPIC", one.topic, host=DELIVERY_HOST), one.text

    def _service_rows(self) -> Iterator[tuple[AclRow, str]]:
        for service, rows in SERVICE_ROWS.items():
            for row in rows(self._lanes):
                yield row, f"the work of the {service}"

    def _member_rows(self, name: str) -> Iterator[tuple[AclRow, str]]:
        member = self._policy.members[name]
        for login in logins(self._policy, name):
            work = member.logins.get(login.partition(".")[2], "all")
            # suspended and withdrawn ones too: they are still sent withdrawal notices, and acknowledge them
            for row in own_rows(name, login) if work in RECEIVING else [directory_row(login)]:
                yield row, "every member's own"
            if not member.active:
                for row in barring_rows(login):
                    yield row, f"{name} is {member.status}"
            elif work in PUBLISHING:
                yield from self._publishing_rows(name, login)
            elif work == AUDITING:
                for row in officer_rows(login, member.jurisdiction):
                    yield row, f"reads the record of {member.jurisdiction}"

    def _publishing_rows(self, name: str, login: str) -> Iterator[tuple[AclRow, str]]:
        member = self._policy.members[name]
        for kind in member.publishes:
            yield publishing_row(login, member.jurisdiction, kind), f"publishes {kind.value}"
        if member.role == SECRETARIAT_ROLE:
            # a publisher that is gone cannot retract
            for place in self._lanes:
                for kind in AlertType:
                    yield publishing_row(login, place, kind), "revises for any publisher"

    def _denying_rows(self, prohibition: Prohibition) -> Iterator[AclRow]:
        """Of all labels by prefix, which holds for topics that are yet to be made; else each by name."""
        names: Iterable[str] = (topic.name for topic in self._policy.topics(prohibition))
        if prohibition.above is None:
            names = dict.fromkeys(f"{name.rpartition('.')[0]}." for name in names)
            if not prohibition.types:
                names = dict.fromkeys(f"{name.rpartition('.')[0].rpartition('.')[0]}." for name in names)
        listed = [*names]
        for member in self._policy.matching(prohibition.to):
            for login in logins(self._policy, member):
                for name in listed:
                    yield acl_row(login, "READ", "TOPIC", name, permission="DENY")

    def _agreement_rows(self, agreement: Agreement) -> Iterator[tuple[AclRow, str]]:
        # what a group names beyond the members' jurisdictions has no topics yet
        places = sorted(self._policy.expand(agreement.alerts_of).intersection(self._lanes))
        topics = {
            place: [
                AlertTopic(place, kind, tlp).name for kind in agreement.types for tlp in agreement.up_to.and_below()
            ]
            for place in places
        }
        for member in self._policy.matching(agreement.to):
            one = self._policy.members[member]
            prohibited = self._prohibited.get(member, frozenset[str]())
            for place in places if one.active else ():
                transfer = self._mechanisms.between(place, member)
                if transfer is None and place != one.jurisdiction:
                    continue
                by = "" if place == one.jurisdiction or transfer is None else f" by {transfer.text}"
                for topic in topics[place]:
                    if topic not in prohibited:
                        for row in self._reading_rows(agreement, member, topic):
                            yield row, f"agreement {agreement.id}{by}"

    def _reading_rows(self, agreement: Agreement, member: str, topic: str) -> Iterator[AclRow]:
        if not agreement.direct:
            yield acl_row(member, "READ", "TOPIC", topic, host=DELIVERY_HOST)
            return
        for login in logins(self._policy, member):
            if self._policy.members[member].logins.get(login.partition(".")[2], "all") in RECEIVING:
                yield acl_row(login, "READ", "TOPIC", topic)

    # -- what does nothing -------------------------------------------------------------------------------------------

    def warnings(self) -> Iterator[str]:
        """Parts of the policy that share nothing, or with nobody, or are likely to be misspelt."""
        for place in self._lanes:
            if not _is_country(place):
                yield f"jurisdiction {place}: no country of ISO 3166-1, nor eu; correct it where it is misspelt"
        for agreement in self._policy.agreements:
            yield from self._agreement_warnings(agreement)
        for prohibition in self._policy.prohibitions:
            yield from self._prohibition_warnings(prohibition)
        for invariant in self._policy.invariants:
            if not [*self._policy.matching(invariant.to)]:
                yield f"invariant {invariant.id}: its parties match nobody, so no member can break it; {_CORRECT_TO}"

    def _prohibition_warnings(self, prohibition: Prohibition) -> Iterator[str]:
        name = f"prohibition {prohibition.id}"
        if not [*self._policy.matching(prohibition.to)]:
            yield f"{name}: its parties match nobody, so it forbids nothing; {_CORRECT_TO}"
        if not [*self._policy.topics(prohibition)]:
            yield f"{name}: no member is of {', '.join(prohibition.alerts_of)}, so it forbids nothing; {_CORRECT_OF}"
        if not prohibition.in_force(self._now):
            yield f"{name}: not in force on {self._now.date()}, so it forbids nothing; {_CORRECT_DATES}"

    def _agreement_warnings(self, agreement: Agreement) -> Iterator[str]:
        name, policy = f"agreement {agreement.id}", self._policy
        parties = list(policy.matching(agreement.to))
        active = [member for member in parties if policy.members[member].active]
        if not parties:
            yield f"{name}: its parties match nobody, so it shares with nobody; {_CORRECT_TO}"
        elif not active:
            yield f"{name}: none of its parties is active, so it shares with nobody; remove it, or {_CORRECT_TO}"
        if agreement.begins is not None and agreement.begins > self._now:
            begins = agreement.begins.isoformat()
            yield f"{name}: begins by itself at {begins}; until then it grants nothing; {_CORRECT_DATES}"
        elif not agreement.in_force(self._now):
            yield f"{name}: ended on {agreement.valid_to}, so it grants nothing; {_CORRECT_DATES}"
        places = policy.expand(agreement.alerts_of).intersection(self._lanes)
        if not places:
            named = ", ".join(agreement.alerts_of)
            yield f"{name}: no member is of {named}, so there is nothing to share; {_CORRECT_OF}"
        wanting: dict[tuple[str, str, Plane], int] = {}
        for member in active:
            one = policy.members[member]
            for place in places:
                if not self._mechanisms.allow(place, member):
                    key = (place, one.jurisdiction, one.plane)
                    wanting[key] = wanting.get(key, 0) + 1
        for (place, to, plane), count in sorted(wanting.items()):
            yield (
                f"{name}: no transfer mechanism from {place} to {to} ({plane}), so {count} of its parties get nothing"
                f" of {place}; add a row to transfers, or narrow the agreement"
            )
