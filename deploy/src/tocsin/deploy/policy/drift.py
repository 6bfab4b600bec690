"""How a cluster differs from the policy, by whomever: what `apply` would change, and what it would leave alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tocsin.consumers.acl import AclRow, AclSet
from tocsin.deploy.policy.apply import Application
from tocsin.deploy.policy.journal import acl_name
from tocsin.deploy.policy.plan import WIDENS
from tocsin.deploy.policy.prove import breaches

_OURS: Final = ("alerts.", "audit.", "inbox.", "ledger.", "outbox.", "directory", "fanout.")


class Kind(StrEnum):
    """In what way a cluster differs."""

    MISSING = "missing"
    CHANGED = "changed"
    EXTRA = "extra"
    FOREIGN = "foreign"
    BREACH = "breach"
    BREAK_GLASS = "break-glass"


_KINDS: Final = {"CREATE": Kind.MISSING, "CHANGE": Kind.CHANGED, "DELETE": Kind.EXTRA}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the policy has it. FOREIGN is an ACL on our topics that the policy tool did not make."""

    kind: Kind
    what: str
    why: str


def differences(application: Application) -> Iterator[Difference]:
    """Everything in which the cluster differs from the policy, emergencies that are in force included."""
    for one in application.journal.glass:
        if application.now < one.until:
            yield Difference(Kind.BREAK_GLASS, f"{one.member} {one.topic}", one.text)
    for breach in breaches(application.policy, AclSet(application.live)):
        yield Difference(Kind.BREACH, breach.text, f"invariant {breach.invariant}")
    steps = application.plan().steps
    for step in steps:
        if step.what not in WIDENS:
            yield Difference(_KINDS[step.action], f"{step.what.lower()} {step.name}", ", ".join(step.reasons))
    for login in sorted({*application.lost_logins()}.difference(step.name for step in steps if step.what == "USER")):
        yield Difference(Kind.MISSING, f"user {login}", "its member has keys in the directory")
    known = {*application.desired.rows, *application.changes.removed}
    for row in sorted(application.live - known, key=AclRow.text):
        if _concerns_us(row):
            yield Difference(Kind.FOREIGN, f"acl {acl_name(row)}", "not made by the policy; left alone")


def _concerns_us(row: AclRow) -> bool:
    """Whether it can matter to what the exchange keeps: its own topics, or a prefix or wildcard that may reach them."""
    if row.resource_type == "CLUSTER" or row.name == "*":
        return True
    reaches = row.pattern == "PREFIXED" and any(name.startswith(row.name) for name in _OURS)
    return row.name.startswith(_OURS) or reaches
