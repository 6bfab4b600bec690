"""The demo's part on the policy: a plan, who sees what and why, a widening that needs a second person, and an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tocsin.consumers.acl import AclSet
from tocsin.deploy.errors import PlanRefused, TocsinDeployError
from tocsin.deploy.output import Output, console, show
from tocsin.deploy.policy.apply import Application, apply_policy, plan_policy
from tocsin.deploy.policy.by_time import tick
from tocsin.deploy.policy.commands import step_row
from tocsin.deploy.policy.document import Agreement, Approvals, Policy
from tocsin.deploy.policy.plan import approve
from tocsin.deploy.policy.sight import look, missing
from tocsin.schemas.bundle import Bundle
from tocsin.schemas.names import AlertTopic
from tocsin.schemas.signing import SigningKey

MEMBER: Final = "host-us"
TOPIC: Final = AlertTopic.parse("alerts.gb.site-taken-down.amber")
APPROVER: Final = "ann"
LIFE_S: Final = 20
AGREEMENT: Final = "hosts-for-a-moment"

Sees = Callable[[str], set[str]]
"""member -> the topics that it sees, by a tool that is not ours."""


class PolicyShow:
    """What the secretariat does when it changes who sees what."""

    def __init__(self, policy: Policy, admin: Bundle, home: Path, sees: Sees) -> None:
        self._policy = policy
        self._admin = admin
        self._home = home
        self._sees = sees
        self._ann = SigningKey.generate(APPROVER)

    def run(self) -> Policy:
        """Show it. Returns the policy that is then in force."""
        self._explain()
        rule = Approvals(widening=1, approvers={APPROVER: self._ann.public.hex()})
        self._policy = self._policy.model_copy(update={"approvals": rule})
        apply_policy(self._policy, self._admin, self._home)
        self._widen()
        self._end()
        return self._policy

    def _explain(self) -> None:
        found = Application(self._policy, self._admin, self._home)
        seen = look(AclSet(found.live), found.desired, MEMBER, TOPIC.name)
        if seen.allowed:
            raise TocsinDeployError(f"the demo failed: {MEMBER} sees {TOPIC.name} already")
        absent = [
            {"agreement": one.agreement, "what is missing": one.condition}
            for one in missing(found.policy, MEMBER, TOPIC, found.now)
        ]
        show(absent, Output.TABLE, title=f"tocsin policy explain {MEMBER} {TOPIC.name}")

    def _widen(self) -> None:
        self._ends = datetime.now(UTC) + timedelta(seconds=LIFE_S)
        agreement = Agreement.model_validate(
            {
                "id": AGREEMENT,
                "alerts_of": ["gb"],
                "types": ["site-taken-down"],
                "up_to": "AMBER",
                "to": {"members": [MEMBER]},
                "purposes": ["CSE_DISRUPTION"],
                "legal_basis": "GDPR_6_1_F",
                "valid_to": self._ends,
            }
        )
        self._policy = self._policy.model_copy(update={"agreements": (*self._policy.agreements, agreement)})
        plan = plan_policy(self._policy, self._admin, self._home, by="bob")
        show([step_row(step) for step in plan.steps], Output.TABLE, title="tocsin policy plan")
        try:
            apply_policy(self._policy, self._admin, self._home, by="bob", plan=plan)
        except PlanRefused as refused:
            console.print(f"Refused: {refused}", soft_wrap=True)
        else:
            raise TocsinDeployError("the demo failed: a widening was applied that nobody had approved")
        apply_policy(
            self._policy, self._admin, self._home, by="bob", plan=plan, approvals=[approve(plan, APPROVER, self._ann)]
        )
        self._insist(sees=True)
        console.print(f"Approved by {APPROVER}, and applied: {MEMBER} sees {TOPIC.name}.")

    def _end(self) -> None:
        time.sleep(max(0.0, (self._ends - datetime.now(UTC)).total_seconds()))
        tick(self._policy, self._admin, self._home)
        self._insist(sees=False)
        console.print(f"Its {LIFE_S} seconds are over: tocsin policy tick has ended the sight by itself.")

    def _insist(self, *, sees: bool) -> None:
        if (TOPIC.name in self._sees(MEMBER)) != sees:
            raise TocsinDeployError(f"the demo failed: {MEMBER} sees {TOPIC.name}: {not sees}")
