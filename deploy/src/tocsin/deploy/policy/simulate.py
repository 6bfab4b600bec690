"""Who would be given an alert, by the live ACLs and by those of a plan: the fan-out's own decision. Pure.

Nobody is taken to hold an earlier revision: who does is given a correction too, whatever it asks for now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.consumers.acl import AclRow, AclSet
from tocsin.consumers.decide import NO_SIGHT, audience
from tocsin.consumers.holds import Holds, Published
from tocsin.consumers.lane import QUARANTINED
from tocsin.consumers.lineage import RETRACTED
from tocsin.consumers.sight import Sight, Snapshot
from tocsin.consumers.subscriptions import Subscriptions
from tocsin.deploy.policy.journal import acl_of
from tocsin.deploy.policy.plan import Plan
from tocsin.schemas.directory import Directory
from tocsin.schemas.names import AlertTopic


@dataclass(frozen=True, slots=True)
class Rules:
    """All that a decision goes by but the alert."""

    sight: Sight
    directory: Directory
    subscriptions: Subscriptions
    holds: Holds


@dataclass(frozen=True, slots=True)
class Candidate:
    """An alert, decoded, and the place in its topic at which it stands or would stand.

    `appended_at` is when the broker took it in, or would; milliseconds since 1970.
    """

    topic: AlertTopic
    offset: int
    appended_at: int
    record: Mapping[str, Any]

    @property
    def publisher(self) -> str:
        """Whose it is."""
        return str(self.record["header"]["publisher"])

    @property
    def lineage(self) -> str:
        """`publisher/lineage_id`."""
        return f"{self.publisher}/{self.record['header']['lineage_id']}"

    @property
    def published(self) -> Published:
        """What holds are asked about."""
        return Published(self.lineage, self.topic.name, self.offset, self.appended_at)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one decision comes to: who is given the alert, by which ACL, and who is refused it, why."""

    given: Mapping[str, str]
    refused: Mapping[str, str]


def simulate(alert: Candidate, rules: Rules) -> Outcome:
    """What the fan-out would decide on `alert`, which nobody holds an earlier revision of."""
    if alert.record["header"]["status"] == RETRACTED:
        return Outcome({}, {})
    readers = rules.sight.readers(alert.topic.name, rules.directory)
    who = audience(alert.topic, readers, rules.subscriptions, rules.directory.is_active)
    members, texts = who.for_alert(alert.publisher, alert.record)
    given = dict(zip(members, texts, strict=True))
    refused = dict.fromkeys(who.refused_for(alert.publisher, alert.record), NO_SIGHT)
    if rules.holds.stop(alert.published):
        return Outcome({}, {**refused, **dict.fromkeys(given, QUARANTINED)})
    return Outcome(given, refused)


def after(plan: Plan, sight: Sight) -> Sight:
    """The sight that applying `plan` would leave."""
    rows = {*sight.latest.acls.rows}
    for step in plan.steps:
        if step.what == "ACL":
            row = acl_of(step.name)
            rows = rows | {row} if step.action == "CREATE" else rows - {row}
    acls = AclSet(row for row in rows if _on_topic(row))
    snapshot = Snapshot(acls, acls.digest(), sight.latest.asked_at, sight.latest.read_at_ms)
    return Sight(snapshot, snapshot)


def _on_topic(row: AclRow) -> bool:
    return row.resource_type == "TOPIC"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One member and an alert: `sign` is + or - if a plan would change whether it is given it, else empty.

    `rule` is the text of the ACL by which it is given it (before, where it no longer would be), `why` a refusal's
    reason.
    """

    sign: str
    member: str
    outcome: str
    rule: str | None
    why: str | None


def recipients(now: Outcome, then: Outcome | None = None) -> Iterator[Recipient]:
    """Who is given it and who is refused it: now, or if there is a plan as of `then`, against now."""
    last = then or now
    for member in sorted({*now.given, *last.given}):
        sign = "" if member in now.given and member in last.given else "+" if member in last.given else "-"
        rule = last.given.get(member) or now.given[member]
        outcome = "given" if member in last.given else "no longer given"
        yield Recipient(sign, member, outcome, rule, last.refused.get(member))
    for member in sorted({*last.refused} - {*now.given, *last.given}):
        yield Recipient("", member, "refused", None, last.refused[member])
