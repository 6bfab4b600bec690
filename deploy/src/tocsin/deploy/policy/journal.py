"""The journal of the policy (topic `audit.policy`): what was done to it, by whom and why. A fold over its records.

A change is written before anything is changed (BEGUN), and again when it is over: DONE, or FAILED with what became of
each step. What people say
between applications, a member suspended or given sight in an emergency, is in it too and counts from then on, so every
machine that plans or applies knows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, cast

from tocsin.consumers.acl import AclRow
from tocsin.deploy.moments import moment
from tocsin.deploy.policy.compile import BreakGlass, member_of
from tocsin.deploy.policy.document import Approvals, Policy, Status
from tocsin.deploy.policy.records import Published, append_all, read_all
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import decode, encode
from tocsin.schemas.names import POLICY_AUDIT_TOPIC
from tocsin.schemas.records import PolicyChange, PolicyStep

_SCHEMA: Final = schema("policy-change")
STEPS_MAX: Final = 250
"""In one record: some tens of kilobytes."""


class Kind(StrEnum):
    """What a record of the journal says."""

    BEGUN = "BEGUN"
    DONE = "DONE"
    FAILED = "FAILED"
    BREAK_GLASS = "BREAK_GLASS"
    SUSPENDED = "SUSPENDED"
    RESUMED = "RESUMED"
    WITHDRAWN = "WITHDRAWN"


_STANDING: Final[Mapping[Kind, Status]] = {
    Kind.SUSPENDED: "suspended",
    Kind.RESUMED: "active",
    Kind.WITHDRAWN: "withdrawn",
}
_GRAVITY: Final[Mapping[Status, int]] = {"active": 0, "suspended": 1, "withdrawn": 2}


class Step(NamedTuple):
    """One thing that is changed: CREATE, CHANGE or DELETE of a SIGHT, TOPIC, USER, ACL, the POLICY ..., and why.

    `outcome` is None for what is only planned.
    """

    action: str
    what: str
    name: str
    reasons: tuple[str, ...] = ()
    outcome: str | None = None


class Approval(NamedTuple):
    """One person's signed word for one plan."""

    approver: str
    public: bytes
    signature: bytes


NO_RULE: Final = Approvals(widening=0)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was done to the policy. Times are in UTC."""

    change_id: str
    kind: Kind
    at: datetime
    by: str
    why: str | None = None
    member: str | None = None
    topic: str | None = None
    until: datetime | None = None
    policy_sha256: str | None = None
    cluster_id: str | None = None
    acls_sha256: str | None = None
    steps: tuple[Step, ...] = ()
    approvals: tuple[Approval, ...] = ()
    rule: Approvals = NO_RULE


def acl_name(row: AclRow) -> str:
    """An ACL as the journal names it: `TOPIC DENY READ User:isp-gb * PREFIXED alerts.de.`."""
    return f"{row.resource_type} {row.text()}"


def acl_of(name: str) -> AclRow:
    """The ACL that the journal names so. Raises ValueError."""
    kind, permission, operation, principal, host, pattern, resource = name.split(" ")
    return AclRow(kind, resource, pattern, principal, host, operation, permission)


# -- the fold --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Journal:
    """What the journal comes to. `denies` are the DENY rows that are this tool's, `causes` the last change of each ACL.

    `applied` is the policy that was last applied whole, `applied_at` the moment for which it was compiled, `rule` whose
    approval it asks for. `locked` are the logins of suspended members whose passwords were deleted.
    """

    denies: set[AclRow] = field(default_factory=set[AclRow])
    causes: dict[str, Change] = field(default_factory=dict[str, Change])
    standing: dict[str, Status] = field(default_factory=dict[str, Status])
    glass: list[BreakGlass] = field(default_factory=list[BreakGlass])
    applied: str | None = None
    applied_at: datetime | None = None
    rule: Approvals | None = None
    locked: set[str] = field(default_factory=set[str])
    _begun_at: datetime | None = None
    _deleting: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def apply(self, change: Change) -> None:
        """Take one record in; they come in order."""
        self._take_steps(change)
        if change.kind is Kind.BREAK_GLASS:
            self.glass.append(_glass(change))
        elif change.kind in _STANDING and change.member is not None:
            self._take_standing(change, change.member)
        if change.kind is Kind.BEGUN:
            self._begun_at = change.at
        elif change.kind is Kind.DONE and change.policy_sha256 is not None:
            self.applied, self.applied_at, self.rule = change.policy_sha256, self._begun_at, change.rule

    def _take_steps(self, change: Change) -> None:
        for step in change.steps:
            if step.what == "ACL" and step.action == "CREATE":
                self.causes[step.name] = change
                if " DENY " in step.name:
                    # what may have been created is ours
                    self.denies.add(acl_of(step.name))
            elif step.what == "ACL" and change.kind is Kind.BEGUN:
                self._deleting.setdefault(change.change_id, []).append(step.name)
        if change.kind is Kind.DONE:
            for name in self._deleting.pop(change.change_id, ()):
                self.causes.pop(name, None)
                if " DENY " in name:
                    self.denies.discard(acl_of(name))

    def _take_standing(self, change: Change, member: str) -> None:
        if self.standing.get(member) == "withdrawn":
            return  # for good
        self.standing[member] = _STANDING[change.kind]
        if change.kind is Kind.RESUMED:
            self.locked = {login for login in self.locked if member_of(login) != member}
        self.locked |= {step.name for step in change.steps if (step.action, step.what) == ("DELETE", "USER")}

    def reasons(self, row: AclRow) -> tuple[str, ...]:
        """Why an ACL was made, by the last record of it."""
        name = acl_name(row)
        change = self.causes.get(name)
        return next((step.reasons for step in change.steps if step.name == name), ()) if change else ()

    def effective(self, policy: Policy) -> Policy:
        """`policy` with the standing that its members have been given since; who has left stays so."""
        members = {
            name: member.model_copy(update={"status": status})
            for name, status in self.standing.items()
            if (member := policy.members.get(name)) is not None and _GRAVITY[status] > _GRAVITY[member.status]
        }
        return policy.model_copy(update={"members": {**policy.members, **members}}) if members else policy


def _glass(change: Change) -> BreakGlass:
    return BreakGlass(
        member=change.member or "",
        topic=change.topic or "",
        by=change.by,
        why=change.why or "",
        until=change.until or change.at,
    )


# -- the topic -------------------------------------------------------------------------------------------------------


def read_journal(admin_bundle: Bundle) -> Journal:
    """The journal as it is now. Raises PolicyNotApplied, KafkaException."""
    found = Journal()
    for change in changes(record.value for record in read_all(admin_bundle, POLICY_AUDIT_TOPIC)):
        found.apply(change)
    return found


def write(admin_bundle: Bundle, change: Change) -> None:
    """Append `change`. Raises PolicyNotApplied."""
    append_all(admin_bundle, POLICY_AUDIT_TOPIC, change.change_id, [Published(value, []) for value in records(change)])


def records(change: Change) -> list[bytes]:
    """The values of the records that say `change`."""
    return [encode(_SCHEMA, record) for record in _records(change)]


def changes(values: Iterable[bytes]) -> Iterator[Change]:
    """What records of the topic say, each part of a change as one of its own; what others write there is left out."""
    for value in values:
        kind, content = decode(value)
        if kind.subject == _SCHEMA.subject:
            yield _change(cast("PolicyChange", content))


def _records(change: Change) -> Iterator[dict[str, Any]]:
    pieces = [change.steps[at : at + STEPS_MAX] for at in range(0, len(change.steps), STEPS_MAX)] or [()]
    for part, steps in enumerate(pieces):
        yield {
            "change_id": change.change_id,
            "kind": change.kind.value,
            "part": part,
            "parts": len(pieces),
            "at": _millis(change.at),
            "by": change.by,
            "why": change.why,
            "member": change.member,
            "topic": change.topic,
            "until": None if change.until is None else _millis(change.until),
            "policy_sha256": change.policy_sha256,
            "cluster_id": change.cluster_id,
            "acls_sha256": change.acls_sha256,
            "changes": [{**step._asdict(), "reasons": [*step.reasons]} for step in steps],
            "approvals": [one._asdict() for one in change.approvals],
            "widening": change.rule.widening,
            "approvers": [
                {"name": name, "public": bytes.fromhex(public)} for name, public in change.rule.approvers.items()
            ],
        }


def _change(record: PolicyChange) -> Change:
    """One part of a change, as a change of its own: the fold needs no more."""
    return Change(
        change_id=record["change_id"],
        kind=Kind(record["kind"]),
        at=moment(record["at"]),
        by=record["by"],
        why=record["why"],
        member=record["member"],
        topic=record["topic"],
        until=None if record["until"] is None else moment(record["until"]),
        policy_sha256=record["policy_sha256"],
        cluster_id=record["cluster_id"],
        acls_sha256=record["acls_sha256"],
        steps=tuple(_step(step) for step in record["changes"]),
        approvals=tuple(Approval(**one) for one in record["approvals"]),
        rule=Approvals(
            widening=record["widening"], approvers={one["name"]: one["public"].hex() for one in record["approvers"]}
        ),
    )


def _step(record: PolicyStep) -> Step:
    return Step(record["action"], record["what"], record["name"], tuple(record["reasons"]), record["outcome"])


def _millis(at: datetime) -> int:
    return round(at.timestamp() * 1_000)
