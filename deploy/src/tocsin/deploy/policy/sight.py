"""Who sees what by ACLs, and why: the fan-out's own evaluator, with the policy's agreements beside it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from tocsin.consumers.acl import WILDCARD, AclRow, AclSet
from tocsin.deploy.policy.compile import Desired, Mechanisms
from tocsin.deploy.policy.document import Agreement, Parties, Policy, Prohibition
from tocsin.deploy.policy.rows import USER
from tocsin.schemas.names import DELIVERY_HOST, AlertTopic


@dataclass(frozen=True, slots=True)
class Seen:
    """One member and one alert topic: the ACL that decided, and why the policy has that ACL.

    Without `reasons` the ACL was made by hand, or the policy has changed since.
    """

    member: str
    topic: str
    allowed: bool
    rule: AclRow | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """Why an agreement does not give a member sight of a topic: the first of its conditions that does not hold."""

    agreement: str
    condition: str


def readers(acls: AclSet, members: Collection[str], topic: str, host: str = DELIVERY_HOST) -> dict[str, AclRow]:
    """Which of `members` may be given the alerts of `topic`, each with the ACL that lets it.

    From another `host`: which of their own clients may read it.
    """
    names = {f"{USER}{member}": member for member in members}
    return {names[who]: rule for who, rule in acls.readers(topic, host, names).items() if who in names}


def look(acls: AclSet, desired: Desired, member: str, topic: str) -> Seen:
    """What the ACLs say of `member` and `topic`."""
    verdict = acls.decide(f"{USER}{member}", DELIVERY_HOST, "READ", "TOPIC", topic)
    return Seen(member, topic, verdict.allowed, verdict.rule, _reasons(desired).get(verdict.rule, ()))


def seen_by(acls: AclSet, desired: Desired, members: Collection[str], topics: Iterable[str]) -> Iterator[Seen]:
    """Everything that some of `members` see among `topics`."""
    reasons = _reasons(desired)
    for topic in topics:
        for member, rule in readers(acls, members, topic).items():
            yield Seen(member, topic, allowed=True, rule=rule, reasons=reasons.get(rule, ()))


def _reasons(desired: Desired) -> Mapping[AclRow | None, tuple[str, ...]]:
    return {grant.row: grant.reasons for grant in desired.grants}


def missing(policy: Policy, member: str, topic: AlertTopic, now: datetime) -> Iterator[Missing]:
    """What stands between `member` and sight of `topic`, for each agreement; nothing for one that gives it."""
    mechanisms = Mechanisms(policy, now)
    for agreement in policy.agreements:
        condition = next(_unmet(policy, mechanisms, agreement, member, topic, now), None)
        if condition is not None:
            yield Missing(agreement.id, condition)


def _unmet(
    policy: Policy, mechanisms: Mechanisms, agreement: Agreement, member: str, topic: AlertTopic, now: datetime
) -> Iterator[str]:
    one = policy.members[member]
    if not one.active:
        yield f"{member} is {one.status}"
    if topic.jurisdiction not in policy.expand(agreement.alerts_of):
        yield f"alerts_of does not have {topic.jurisdiction}"
    if topic.type not in agreement.types:
        yield f"types does not have {topic.type.value}"
    if topic.tlp not in agreement.up_to.and_below():
        yield f"up_to is {agreement.up_to.value}"
    yield from _outside(policy, agreement.to, member)
    if not agreement.in_force(now):
        yield f"not in force on {now.date()}"
    if not mechanisms.allow(topic.jurisdiction, member):
        yield f"no transfer mechanism from {topic.jurisdiction} to {one.jurisdiction} ({one.plane}) on {now.date()}"
    for prohibition in prohibitions(policy, member, topic, now):
        yield f"prohibition {prohibition.id} forbids it: {prohibition.reason}"


def prohibitions(policy: Policy, member: str, topic: AlertTopic, now: datetime) -> Iterator[Prohibition]:
    """Those that keep `member` from the alerts of `topic` at `now`."""
    for prohibition in policy.prohibitions:
        if (
            prohibition.in_force(now)
            and topic in policy.topics(prohibition)
            and member in policy.matching(prohibition.to)
        ):
            yield prohibition


def _outside(policy: Policy, parties: Parties, member: str) -> Iterator[str]:
    one = policy.members[member]
    if member in parties.without:
        yield f"to.without names {member}"
    if parties.members and member not in parties.members:
        yield f"to.members does not name {member}"
    if parties.roles and one.role not in parties.roles:
        yield f"to.roles does not have {one.role}"
    if parties.jurisdictions and one.jurisdiction not in policy.expand(parties.jurisdictions):
        yield f"to.jurisdictions does not have {one.jurisdiction}"
    if one.jurisdiction in policy.expand(parties.outside):
        yield f"to.outside has {one.jurisdiction}"


@dataclass(frozen=True, slots=True)
class SightChange:
    """A member gains, or loses, sight of a topic; `reasons` are those of the ACL that gives it, or gave it."""

    member: str
    topic: str
    gains: bool
    reasons: tuple[str, ...]


def matched(topics: Collection[str], rows: Iterable[AclRow]) -> list[str]:
    """Which of `topics` some of `rows` have a say about."""
    on_topics = [row for row in rows if row.resource_type == "TOPIC"]
    names = {row.name for row in on_topics if row.pattern == "LITERAL"}
    prefixes = tuple({row.name for row in on_topics if row.pattern != "LITERAL"})
    return [topic for topic in topics if WILDCARD in names or topic in names or topic.startswith(prefixes)]


def sight_changes(
    before: AclSet,
    after: AclSet,
    desired: Desired,
    members: Collection[str],
    topics: Iterable[str],
    host: str = DELIVERY_HOST,
) -> Iterator[SightChange]:
    """Who gains and who loses sight of which of `topics` when the ACLs change so; from another host: direct reading."""
    reasons = _reasons(desired)
    for topic in topics:
        had, has = readers(before, members, topic, host), readers(after, members, topic, host)
        for member in sorted(had.keys() ^ has.keys()):
            rule = has.get(member) or had[member]
            yield SightChange(member, topic, member in has, reasons.get(rule, ()))
