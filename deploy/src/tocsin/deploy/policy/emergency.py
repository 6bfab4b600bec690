"""Break-glass: one person gives one member sight of one topic, past all agreements, until it ends by itself. Loudly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tocsin.consumers.acl import AclRow
from tocsin.deploy.errors import PolicyInvalid, PolicyNotApplied
from tocsin.deploy.policy.apply import Application, Applied, said_clearly
from tocsin.deploy.policy.compile import BreakGlass
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.journal import Change, Kind, write
from tocsin.deploy.policy.sight import prohibitions
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.names import AlertTopic
from tocsin.schemas.uuid7 import uuid7

LIFE_MAX: Final = timedelta(hours=72)


def check(policy: Policy, glass: BreakGlass, now: datetime) -> None:
    """Whether it may be given.

    Raises:
        PolicyInvalid: to nobody, of nothing, for too long, or against a prohibition, which nobody may break.
    """
    topic = AlertTopic.parse(glass.topic)
    member = policy.members.get(glass.member)
    if member is None or not member.active:
        raise PolicyInvalid(f"break-glass: {glass.member} is no active member of the policy; correct it")
    if topic.jurisdiction not in policy.jurisdictions():
        raise PolicyInvalid(f"break-glass: no member is of {topic.jurisdiction}, so there is no {glass.topic}")
    if not now < glass.until <= now + LIFE_MAX:
        hours = LIFE_MAX // timedelta(hours=1)
        raise PolicyInvalid(f"break-glass: until {glass.until.isoformat()}: from now on, and {hours} hours at most")
    for prohibition in prohibitions(policy, glass.member, topic, now):
        raise PolicyInvalid(f"break-glass: prohibition {prohibition.id} forbids it: {prohibition.reason}")


def break_glass(policy: Policy, admin_bundle: Bundle, home: Path, glass: BreakGlass) -> Applied:
    """Put the grant on record, then give it, and nothing else. `policy tick` ends it.

    Raises:
        PolicyInvalid: see `check`.
        PolicyNotApplied: it is on record and not given; the next `policy apply` gives it, if its time is not over.
    """
    now = datetime.now(UTC)
    check(policy, glass, now)
    with said_clearly("the cluster refused"):
        write(
            admin_bundle,
            Change(
                change_id=str(uuid7()),
                kind=Kind.BREAK_GLASS,
                at=now,
                by=glass.by,
                why=glass.why,
                member=glass.member,
                topic=glass.topic,
                until=glass.until,
            ),
        )
        application = Application(policy, admin_bundle, home, by=glass.by, only=lambda one, _: _rows(one, glass))
        if not _rows(application, glass):
            raise PolicyNotApplied(f"{glass.member} has been suspended since; nothing is given")
        applied = application.apply(application.plan())
    applied.insist()
    return applied


def _rows(application: Application, glass: BreakGlass) -> set[AclRow]:
    return {grant.row for grant in application.desired.grants if glass.text in grant.reasons}
