"""Whether what must never be so is so, by a complete set of ACLs: live ones, or those of a plan. Pure.

An alert can be had in more ways than one: by sight, by a client that reads the alert topic itself, by reading somebody
else's inbox or a ledger, which hold the same bytes, or by the right to change ACLs. All of them count, for every
principal that a row names, for every member and login of the policy, and for a stranger whom no row names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tocsin.consumers.acl import WILDCARD, WILDCARD_PRINCIPAL, AclRow, AclSet
from tocsin.deploy.policy.compile import Desired, compile_policy, member_of
from tocsin.deploy.policy.document import Expectation, Invariant, Policy
from tocsin.deploy.policy.rows import FANOUT, POLICY, USER
from tocsin.deploy.policy.sight import look, missing
from tocsin.deploy.policy.yaml_file import Place
from tocsin.schemas.names import DELIVERY_HOST, AlertTopic, inbox_topic, ledger_topic

STRANGER: Final = f"{USER}anybody else"
"""A principal that no ACL names: what it may do, `User:*` may."""
ELSEWHERE: Final = "198.51.100.1"
"""An address that no ACL names (RFC 5737)."""
_TRUSTED: Final = frozenset({f"{USER}{FANOUT}"})
# whose work it is; that it reads nothing by them is not trusted
_CHANGES_ACLS: Final = f"{USER}{POLICY}"
_OUTSIDE: Final = "is no member's login, so nobody answers for it"


@dataclass(frozen=True, slots=True)
class Breach:
    """How `principal` can have alerts of `topic`, which the invariant says must never be. `rule` is the ACL it uses."""

    invariant: str
    principal: str
    topic: str
    how: str
    rule: AclRow

    @property
    def text(self) -> str:
        """One line: the counter-example."""
        return f"{self.principal} can have {self.topic}: {self.how} ({self.rule.text()})"


def breaches(policy: Policy, acls: AclSet) -> Iterator[Breach]:
    """Every way in which `acls` break the policy's invariants; the first way of each principal and topic."""
    ways = _Ways(policy, acls)
    for invariant in policy.invariants:
        yield from ways.breaches(invariant)


class _Ways:
    """Every way in which anybody can have an alert, by one set of ACLs."""

    def __init__(self, policy: Policy, acls: AclSet) -> None:
        self._policy = policy
        self._acls = acls
        named = {row.principal for row in acls.rows} - {WILDCARD_PRINCIPAL}
        members = {f"{USER}{name}" for name in policy.members}
        self._principals = sorted((named | members | {STRANGER}) - _TRUSTED)
        named_hosts = {row.host for row in acls.rows if row.resource_type == "TOPIC" and row.permission == "ALLOW"}
        self._hosts = [DELIVERY_HOST, ELSEWHERE, *sorted(named_hosts - {WILDCARD, DELIVERY_HOST, ELSEWHERE})]
        self._reading: dict[str, dict[str, AclRow]] = {}
        self._sighted: dict[str, dict[str, AclRow]] = {}
        self._members = members
        on_cluster = AclSet(row for row in acls.rows if row.resource_type == "CLUSTER")
        others = [who for who in self._principals if who != _CHANGES_ACLS]
        altering = {who: self._may(on_cluster, who, "ALTER", "CLUSTER", "kafka-cluster") for who in others}
        self._altering = {who: rule for who, rule in altering.items() if rule is not None}
        self._inboxes = {name: self._readers(inbox_topic(name)) for name in policy.members}
        self._ledgers = {place: self._readers(ledger_topic(place)) for place in policy.jurisdictions()}

    def breaches(self, invariant: Invariant) -> Iterator[Breach]:
        meant = {*self._policy.matching(invariant.to)}
        barred = {who: self._bars(who, meant) for who in self._principals}
        for topic in self._policy.topics(invariant):
            found: set[str] = set()
            for who, how, rule in self._ways(topic):
                why = barred[who]
                if why is not None and who not in found:
                    found.add(who)
                    yield Breach(invariant.id, who, topic.name, f"{how}; {why}", rule)

    def _bars(self, principal: str, meant: set[str]) -> str | None:
        """Why `principal` must not have what is never to reach the members `meant`; None: it may."""
        login = principal.removeprefix(USER)
        member = member_of(login)
        if login == principal or member not in self._policy.members:
            return _OUTSIDE
        return (
            f"{self._policy.members[member].role} of {self._policy.members[member].jurisdiction}"
            if member in meant
            else None
        )

    def _ways(self, topic: AlertTopic) -> Iterator[tuple[str, str, AclRow]]:
        """Who can have the alerts of `topic`, and how."""
        sighted = self._of_topic(topic.name)
        for who, rule in self._readers(topic.name).items():
            yield who, "given it by the fan-out" if who in sighted else "reads the topic itself", rule
        for member, inbox_readers in self._inboxes.items():
            if f"{USER}{member}" in sighted:
                for who, rule in inbox_readers.items():
                    if member_of(who) != f"{USER}{member}":
                        yield who, f"reads the inbox of {member}, who sees it", rule
        for who, rule in self._ledgers[topic.jurisdiction].items():
            yield who, f"reads the ledger of {topic.jurisdiction}", rule
        for who, rule in self._altering.items():
            yield who, "may change ACLs", rule

    def _of_topic(self, topic: str) -> dict[str, AclRow]:
        if topic not in self._sighted:
            self._sighted[topic] = {
                who: rule
                for who, rule in self._acls.readers(topic, DELIVERY_HOST, self._members).items()
                if who in self._members
            }
        return self._sighted[topic]

    def _readers(self, topic: str) -> dict[str, AclRow]:
        """Who may READ `topic` from anywhere."""
        if topic not in self._reading:
            found: dict[str, AclRow] = {}
            for host in self._hosts:
                for who, rule in self._acls.readers(topic, host, self._principals).items():
                    found.setdefault(who, rule)
            self._reading[topic] = {who: found[who] for who in self._principals if who in found}
        return self._reading[topic]

    def _may(self, acls: AclSet, principal: str, operation: str, kind: str, name: str) -> AclRow | None:
        for host in self._hosts:
            verdict = acls.decide(principal, host, operation, kind, name)
            if verdict.allowed:
                return verdict.rule
        return None


# -- without a cluster -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a policy by itself: what it is about, from when on, and the counter-example.

    `place` is where the invariant or test stands in the policy, `begins` None for what is so already.
    """

    what: str
    place: Place
    begins: datetime | None
    text: str

    @property
    def line(self) -> str:
        """All of it but the place."""
        begins = "" if self.begins is None else f"from {self.begins.isoformat()} on: "
        return f"{self.what}: {begins}{self.text}"


def findings(policy: Policy, now: datetime, meant: Desired | None = None) -> Iterator[Finding]:
    """What the policy's ACLs break of its own invariants and tests: now, and whenever something begins by itself.

    `meant` is what it is compiled to now, for who has that already.
    """
    seen: set[tuple[str, str]] = set()
    ids = [invariant.id for invariant in policy.invariants]
    for moment in (now, *beginnings(policy, now)):
        desired = meant if meant is not None and moment == now else compile_policy(policy, moment)
        reasons = {grant.row: grant.reasons for grant in desired.grants}
        acls = AclSet(desired.rows)
        for breach in breaches(policy, acls):
            if (breach.invariant, breach.text) not in seen:
                seen.add((breach.invariant, breach.text))
                place = ("invariants", ids.index(breach.invariant))
                why = f"{breach.text}, by {', '.join(reasons[breach.rule])}; {_KEEP}"
                yield Finding(f"invariant {breach.invariant}", place, None if moment == now else moment, why)
        for at, test in enumerate(policy.tests if moment == now else ()):
            if wrong := _unexpected(policy, test, desired, acls, now):
                yield Finding(f"test {test.member} {test.topic}", ("tests", at), None, wrong)


def beginnings(policy: Policy, now: datetime) -> list[datetime]:
    """When, after `now`, somebody may gain sight by time alone."""
    begun = [one.begins for one in (*policy.agreements, *policy.transfers)]
    over = [one.ends for one in policy.prohibitions]
    return sorted({moment for moment in (*begun, *over) if moment is not None and moment > now})


_KEEP: Final = "narrow that, or add a prohibition"


def _unexpected(policy: Policy, test: Expectation, desired: Desired, acls: AclSet, now: datetime) -> str | None:
    seen = look(acls, desired, test.member, test.topic)
    by = ", ".join(seen.reasons)
    if seen.allowed and not test.sees:
        return f"sees it, by {by}; narrow that, or write `sees: true`"
    if not seen.allowed and test.sees:
        absent = missing(policy, test.member, AlertTopic.parse(test.topic), now)
        why = ", ".join(f"{one.agreement}: {one.condition}" for one in absent) or "there is no agreement"
        return f"does not see it ({why}); widen one of them, or write `sees: false`"
    if test.by is not None and not any(reason.split(" by ")[0] == f"agreement {test.by}" for reason in seen.reasons):
        return f"sees it, but not by agreement {test.by}: by {by}; correct `by`, or widen that agreement"
    return None
