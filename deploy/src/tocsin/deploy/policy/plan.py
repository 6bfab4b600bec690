"""A plan: what applying a policy to a cluster would do, in terms of sight first. It can be saved, approved, applied.

A saved plan is for one cluster, one policy and one set of live ACLs: with anything else it is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from tocsin.deploy.errors import PlanRefused
from tocsin.deploy.policy.document import Approvals
from tocsin.deploy.policy.journal import Approval, Step
from tocsin.schemas.files import write_file
from tocsin.schemas.signing import SigningKey, pae, verify

WIDENS: Final = frozenset({"SIGHT", "DIRECT"})


class Plan(BaseModel):
    """What would be done. `rule` says whose approval it needs if it widens sight: the rule before it, not its own.

    `later` is the sight that the policy gives by itself when its day comes: who approves the plan approves that too.
    `releases` are the live alerts that those who gain sight now would be given, by member.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan_id: str
    made_at: datetime
    by: str
    coalition: str
    cluster_id: str
    policy_sha256: str
    acls_sha256: str
    steps: tuple[Step, ...]
    later: tuple[Step, ...] = ()
    releases: dict[str, int]
    rule: Approvals
    new_rule: Approvals
    warnings: tuple[str, ...]

    @property
    def digest(self) -> bytes:
        """SHA-256 over its content, which approvals sign."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).digest()

    @property
    def gains(self) -> tuple[Step, ...]:
        """Who gains sight of what, or may read it past the fan-out."""
        return tuple(step for step in self.steps if step.what in WIDENS and step.action == "CREATE")

    @property
    def losses(self) -> tuple[Step, ...]:
        """Who loses it."""
        return tuple(step for step in self.steps if step.what in WIDENS and step.action == "DELETE")

    @property
    def changes(self) -> tuple[Step, ...]:
        """What is changed on the cluster."""
        return tuple(step for step in self.steps if step.what not in WIDENS)

    @property
    def approvals_needed(self) -> int:
        """Of how many approvers it needs the word: for widening sight, and for changing whose word is needed."""
        return self.rule.widening if self.gains or self.later or self.new_rule != self.rule else 0

    def save(self, path: Path) -> None:
        """Write it to a file."""
        write_file(path, self.model_dump_json(indent=2).encode() + b"\n")

    @classmethod
    def load(cls, path: Path) -> Plan:
        """The plan in a file.

        Raises:
            PlanRefused: it is none.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise PlanRefused(f"{path}: no plan that `tocsin policy plan --out` wrote: {error}") from error

    def check(self, now: Plan) -> None:
        """Compare it with a plan made now, for the same policy files.

        Raises:
            PlanRefused: the cluster, the policy, its ACLs or what is to be done are others.
        """
        for what, mine, other in (
            ("it is for another cluster", self.cluster_id, now.cluster_id),
            ("the policy files have changed since", self.policy_sha256, now.policy_sha256),
            ("the live ACLs have changed since", self.acls_sha256, now.acls_sha256),
            (
                "it would do something else by now, since a date has passed or a topic, user or key changed",
                sorted(self.steps),
                sorted(now.steps),
            ),
            ("others must approve it by now", self.rule, now.rule),
        ):
            if mine != other:
                raise PlanRefused(f"plan {self.plan_id}: {what}; plan again and have that plan approved")


def _payload_type(coalition: str) -> bytes:
    return f"application/vnd.tocsin.{coalition}.policy-plan".encode()


def approve(plan: Plan, approver: str, key: SigningKey) -> Approval:
    """One person's signed word for `plan`."""
    return Approval(approver, key.public, key.sign(pae(_payload_type(plan.coalition), plan.digest)))


def approvers(plan: Plan, approvals: Iterable[Approval]) -> set[str]:
    """Who of those whose word counts has given it for this very plan; who made it has no say in it."""
    return {
        one.approver
        for one in approvals
        if one.approver != plan.by
        and plan.rule.approvers.get(one.approver) == one.public.hex()
        and verify(one.public, pae(_payload_type(plan.coalition), plan.digest), one.signature)
    }


def insist_on_approval(plan: Plan, approvals: Sequence[Approval]) -> list[Approval]:
    """Let `plan` pass if nobody's word is needed, or enough have given it. Returns those that count.

    Raises:
        PlanRefused: somebody's word is wanting.
    """
    given = approvers(plan, approvals)
    if len(given) < plan.approvals_needed:
        others = ", ".join(sorted({*plan.rule.approvers} - given - {plan.by})) or "nobody is left to give it"
        raise PlanRefused(
            f"plan {plan.plan_id} widens sight (now {len(plan.gains)}, by itself later {len(plan.later)} times)"
            f" or changes who approves: it needs the word of"
            f" {plan.approvals_needed} besides {plan.by}, and has {len(given)}; save it with `tocsin policy plan --out"
            f" FILE`, let one of {others} run `tocsin policy approve FILE`, then `tocsin policy apply --plan FILE`"
        )
    return [one for one in approvals if one.approver in given]


# -- beside the plan -------------------------------------------------------------------------------------------------


def approval_file(plan_path: Path, approver: str) -> Path:
    """Where one person's word for the plan in a file is."""
    return plan_path.with_name(f"{plan_path.name}.{approver}.approval")


def save_approval(plan_path: Path, approval: Approval) -> Path:
    """Put it beside the plan."""
    path = approval_file(plan_path, approval.approver)
    content = {"approver": approval.approver, "public": approval.public.hex(), "signature": approval.signature.hex()}
    write_file(path, json.dumps(content, indent=2).encode() + b"\n")
    return path


def load_approvals(plan_path: Path) -> Iterator[Approval]:
    """All that lie beside the plan.

    Raises:
        PlanRefused: a file is none.
    """
    for path in sorted(plan_path.parent.glob(f"{plan_path.name}.*.approval")):
        try:
            found: Mapping[str, str] = json.loads(path.read_bytes())
            yield Approval(found["approver"], bytes.fromhex(found["public"]), bytes.fromhex(found["signature"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PlanRefused(f"{path}: no approval that `tocsin policy approve` wrote; delete it") from error
