"""What time alone changes: what ends and begins by itself, and what is about to."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from tocsin.consumers.acl import AclRow
from tocsin.deploy.errors import PlanRefused
from tocsin.deploy.moments import moment
from tocsin.deploy.policy.apply import Application, Applied, said_clearly
from tocsin.deploy.policy.changes import AclChanges
from tocsin.deploy.policy.compile import BreakGlass, compile_policy
from tocsin.deploy.policy.document import Policy
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.directory import Directory

WARN_DAYS: Final = (30, 7, 1)
"""So many days ahead of its end a thing is warned of, each time more urgently."""
TICK: Final = "tick"


@dataclass(frozen=True, slots=True)
class Ending:
    """Something that ends by itself.

    An agreement, a transfer, a prohibition, a key, the directory, a break-glass, a certificate.
    """

    what: str
    name: str
    ends: datetime

    def days(self, now: datetime) -> float:
        """How many days are left."""
        return (self.ends - now) / timedelta(days=1)

    def warning_days(self, now: datetime) -> int | None:
        """The nearest of 30, 7 and 1 days that has come; None while none has, or once it has ended."""
        left = self.days(now)
        return min((days for days in WARN_DAYS if 0 <= left <= days), default=None)


def endings(policy: Policy, directory: Directory | None, glass: Collection[BreakGlass], now: datetime) -> list[Ending]:
    """Everything that ends by itself after `now`, the next first."""
    found = [*_of_policy(policy), *(_of_directory(directory) if directory else ())]
    found += [Ending("break-glass", f"{one.member} {one.topic}", one.until) for one in glass]
    return sorted((one for one in found if one.ends > now), key=lambda one: (one.ends, one.what, one.name))


def _of_policy(policy: Policy) -> Iterator[Ending]:
    for agreement in policy.agreements:
        if agreement.ends is not None:
            yield Ending("agreement", agreement.id, agreement.ends)
    for transfer in policy.transfers:
        if transfer.ends is not None:
            where = f"{','.join(transfer.source)} to {','.join(transfer.to)} ({transfer.plane}) by {transfer.text}"
            yield Ending("transfer", where, transfer.ends)
    for prohibition in policy.prohibitions:
        if prohibition.ends is not None:
            yield Ending("prohibition", prohibition.id, prohibition.ends)


def _of_directory(directory: Directory) -> Iterator[Ending]:
    yield Ending("directory", f"version {directory.version}", moment(directory.expires_at))
    for key in directory.keys.values():
        if not key.revoked:
            yield Ending("key", key.key_id, moment(key.valid_to))


def changed_by_time(application: Application, _: AclChanges) -> set[AclRow]:
    """The rows that the policy had when it was last applied and has no more, and those that it has now and had not.

    Raises:
        PlanRefused: the files are not what was applied last, so it is not time alone that would change something.
    """
    journal = application.journal
    if journal.applied != application.file.sha256 or journal.applied_at is None:
        raise PlanRefused("the policy files are not what was applied last; run `tocsin policy plan` and `apply` first")
    before = compile_policy(application.policy, journal.applied_at, journal.glass)
    return {*(before.rows ^ application.desired.rows)}


def tick(policy: Policy, admin_bundle: Bundle, home: Path) -> Applied:
    """Do what time alone has brought about since the policy was applied: end and begin sight, renew the directory.

    Nobody's approval is asked: it was given with the plan that had these dates.

    Raises:
        PlanRefused: the files are not what was applied last.
        PolicyNotApplied: the cluster refused a part, or does not show it afterwards. Running it again is safe.
    """
    with said_clearly("the cluster refused"):
        application = Application(policy, admin_bundle, home, by=TICK, only=changed_by_time)
        applied = application.apply(application.plan())
    applied.insist()
    return applied
