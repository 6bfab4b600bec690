"""`tocsin policy`: who shares what with whom."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tocsin.consumers.acl import AclSet
from tocsin.deploy.errors import PolicyInvalid
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, busy, console, show
from tocsin.deploy.policy.apply import ADMINISTRATOR, Application, Applied, apply_policy, plan_policy, said_clearly
from tocsin.deploy.policy.compile import Desired, compile_policy
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.journal import Journal, Step, acl_name
from tocsin.deploy.policy.plan import WIDENS, Plan, approve, load_approvals, save_approval
from tocsin.deploy.policy.policy_files import PolicyFiles, read_files, read_policy
from tocsin.deploy.policy.prove import Finding, findings
from tocsin.deploy.policy.rows import POLICY
from tocsin.deploy.policy.sight import Seen, look, missing, seen_by
from tocsin.deploy.policy.working_as import working_as
from tocsin.schemas.errors import NameInvalid
from tocsin.schemas.names import AlertTopic
from tocsin.schemas.signing import SigningKey

CHANGES: Final = 3

policy_app = typer.Typer(
    help="Who shares what with whom: topics, users and ACLs from policy files.", no_args_is_help=True
)

FilesArgument = Annotated[list[Path], typer.Argument(metavar="FILE...", help="The policy, YAML.", exists=True)]
PolicyOption = Annotated[
    list[Path], typer.Option("--policy", help="The policy, which says why an ACL exists.", exists=True)
]
FilesOption = Annotated[list[Path], typer.Option("--policy", help="The policy, YAML; may be given again.", exists=True)]
TopicArgument = Annotated[str, typer.Argument(help="An alert topic: alerts.de.site-taken-down.green")]
MemberArgument = Annotated[str, typer.Argument(help="A member of the policy.")]
PlanOption = Annotated[Path | None, typer.Option("--plan", help="Nothing but this plan, as saved.", exists=True)]
ByOption = Annotated[str, typer.Option("--by", envvar="USER", help="Who does it, for the record.")]
MakeKeysOption = Annotated[
    bool,
    typer.Option("--make-member-keys", help="Make keys for members that were not onboarded: for tests and demos only."),
]

SIGNS: Final = {"CREATE": "+", "CHANGE": "~", "DELETE": "-"}
_WORDS: Final = {
    "POLICY": "policy",
    "SIGHT": "sight",
    "DIRECT": "direct reading",
    "TOPIC": "topic",
    "USER": "user",
    "DIRECTORY": "directory",
}


@policy_app.command()
def check(files: FilesArgument, output: OutputOption = Output.TABLE) -> None:
    """Check the policy in FILE... without a cluster: is it sound, do its invariants hold, do its tests pass.

    Invariants are tried as of now and of every later moment at which something begins by itself.
    """
    read = read_files(*files)
    policy = read.policy
    desired, found = _tried(read)
    row = {
        "members": len(policy.members),
        "jurisdictions": len(policy.jurisdictions()),
        "agreements": len(policy.agreements),
        "topics": len(desired.topics),
        "ACLs": len(desired.grants),
        "warnings": len(desired.warnings),
        "invariants": len(policy.invariants),
        "tests": len(policy.tests),
    }
    warn(desired.warnings)
    if not found:
        show([row], output, title="sound")
        return
    if output is Output.TABLE:
        raise PolicyInvalid("\n".join(f"{read.where(one.place)}: {one.line}" for one in found))
    show([_finding_row(read, one) for one in found], output)
    raise typer.Exit(1)


def _finding_row(read: PolicyFiles, found: Finding) -> dict[str, Any]:
    return {"where": read.where(found.place), "what": found.what, "from": found.begins, "found": found.text}


@policy_app.command()
def plan(
    files: FilesArgument,
    out: Annotated[Path | None, typer.Option("--out", help="Save it, to be approved and applied.")] = None,
    by: ByOption = ADMINISTRATOR,
    *,
    make_keys: MakeKeysOption = False,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what `apply` would change: who gains and who loses sight, then topics, users and ACLs. Changes nothing.

    Exit codes: 0 nothing to do, 3 there are changes, 1 failed, 2 usage.
    """
    policy, meant = sound(files)
    with busy("planning"):
        planned = plan_policy(policy, working_as(POLICY, home), home, by=by, make_keys=make_keys, meant=meant)
    show([step_row(step) for step in (*planned.steps, *planned.later)], output, title="would change, or will by itself")
    warn(planned.warnings)
    if out is not None:
        planned.save(out)
    if output is Output.TABLE:
        _summary(planned, out)
    if planned.steps or planned.later:
        raise typer.Exit(CHANGES)


def _summary(planned: Plan, out: Path | None) -> None:
    console.print(
        f"narrowing: {len(planned.losses)} lose sight; widening: {len(planned.gains)} gain it, who would be given up to"
        f" {sum(planned.releases.values())} live alerts; {len(planned.changes)} changes to the cluster",
        soft_wrap=True,
    )
    if planned.approvals_needed:
        console.print(f"needs the approval of {planned.approvals_needed} of {', '.join(planned.rule.approvers)}")
    if out is not None:
        console.print(f"saved: tocsin policy apply FILE... --plan {out}", soft_wrap=True)


def step_row(step: Step) -> dict[str, Any]:
    """A step of a plan as it is shown."""
    who, _, topic = step.name.partition(" ")
    sight = step.what in WIDENS
    return {
        "": SIGNS[step.action],
        "what": _WORDS.get(step.what, step.what),
        "of": topic if sight else step.name,
        "by": who if sight else None,
        "why": why(step.reasons) if sight else ", ".join(step.reasons) or None,
    }


@policy_app.command(name="approve")
def approve_plan(
    plan_file: Annotated[Path, typer.Argument(metavar="PLAN", help="As `plan --out` saved it.", exists=True)],
    key: Annotated[Path, typer.Option("--key", help="Your signing key, PEM, mode 0600.", exists=True)],
    name: Annotated[str, typer.Option("--as", help="Your name among the policy's approvers.")],
) -> None:
    """Give your signed word for the plan in PLAN, once you have read it; it is put beside it."""
    planned = Plan.load(plan_file)
    show([step_row(step) for step in (*planned.steps, *planned.later)], Output.TABLE, title="what you approve")
    approval = approve(planned, name, SigningKey.load(key, name))
    known = planned.rule.approvers.get(name)
    if known != approval.public.hex():
        whose = "no approver of the policy in force" if known is None else "known by another key"
        raise typer.BadParameter(f"{name} is {whose}", param_hint="--as")
    console.print(f"approved: {save_approval(plan_file, approval)}", soft_wrap=True)


@policy_app.command()
def apply(
    files: FilesArgument,
    *,
    saved: PlanOption = None,
    narrowing: Annotated[
        bool, typer.Option("--narrowing", help="Only what ends sight; needs nobody's approval.")
    ] = False,
    by: ByOption = ADMINISTRATOR,
    make_keys: MakeKeysOption = False,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create topics, users and ACLs, end sight that the policy no longer gives, and publish the directory.

    Exit codes: 0 all of it is applied, 1 failed, refused or unconfirmed, 2 usage. Running it again is safe.
    """
    policy, meant = sound(files)
    planned = None if saved is None else Plan.load(saved)
    approvals = [] if saved is None else [*load_approvals(saved)]
    bundle = working_as(POLICY, home)
    with busy("applying"):
        applied = apply_policy(
            policy,
            bundle,
            home,
            by=by,
            plan=planned,
            approvals=approvals,
            narrowing=narrowing,
            make_keys=make_keys,
            meant=meant,
        )
    show_applied(applied, output)


def show_applied(applied: Applied, output: Output) -> None:
    """Show what was done."""
    warn(applied.plan.warnings)
    counted = [
        ("topics created", applied.count("CREATE", "TOPIC")),
        ("topics configured", applied.count("CHANGE", "TOPIC")),
        ("users set", applied.count("CREATE", "USER")),
        ("ACLs created", applied.count("CREATE", "ACL")),
        ("ACLs removed", applied.count("DELETE", "ACL")),
        ("directory version", applied.directory_version),
    ]
    rows = [{"what": what, "count": count} for what, count in counted]
    show(rows, output, title="applied" if applied.steps else "nothing to change")
    show_draft(applied)


def show_draft(applied: Applied) -> None:
    """Say what to do where the directory waits for offline root keys."""
    if applied.draft is not None:
        typer.echo(
            f"{applied.draft} waits for the root keys: let their holders run `tocsin directory sign DRAFT --root"
            f" KEY.pem`, put what they send beside it, then run `tocsin directory publish {applied.draft}`",
            err=True,
        )


@policy_app.command()
def explain(
    member: MemberArgument,
    topic: TopicArgument,
    files: PolicyOption,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Why MEMBER is given the alerts of TOPIC, by the live ACLs, or what is missing. Exits with 1 when it is not."""
    policy, parsed = read_policy(*files), checked_topic(topic)
    _known(policy, member)
    found = application_of(policy, home)
    seen = look(AclSet(found.live), found.desired, member, parsed.name)
    show([_seen_row(seen, found.journal)], output, title="sight" if seen.allowed else "no sight")
    if not seen.allowed:
        absent = [
            {"agreement": one.agreement, "what is missing": one.condition}
            for one in missing(found.policy, member, parsed, found.now)
        ]
        if output is Output.TABLE:
            show(absent, output, title="no agreement gives it")
        raise typer.Exit(1)


@policy_app.command()
def who(
    topic: TopicArgument, files: PolicyOption, home: HomeOption = HOME, output: OutputOption = Output.TABLE
) -> None:
    """Who is given the alerts of TOPIC, by the live ACLs, those made by hand included."""
    name = checked_topic(topic).name
    found = application_of(read_policy(*files), home)
    _show_seen(found, found.policy.members, [name], output, f"who sees {topic}")


@policy_app.command()
def sees(
    member: MemberArgument, files: PolicyOption, home: HomeOption = HOME, output: OutputOption = Output.TABLE
) -> None:
    """Which alerts MEMBER is given, by the live ACLs, those made by hand included."""
    policy = read_policy(*files)
    _known(policy, member)
    found = application_of(policy, home)
    _show_seen(found, [member], found.desired.alert_topics, output, f"what {member} sees")


def _show_seen(found: Application, members: Collection[str], topics: Iterable[str], output: Output, title: str) -> None:
    seen = seen_by(AclSet(found.live), found.desired, members, topics)
    show([_seen_row(one, found.journal) for one in seen], output, title=title)


def _seen_row(seen: Seen, journal: Journal) -> dict[str, Any]:
    told = why(seen.reasons) if seen.rule else "no ACL matches"
    change = journal.causes.get(acl_name(seen.rule)) if seen.rule else None
    return {
        "member": seen.member,
        "topic": seen.topic,
        "ACL": seen.rule.text() if seen.rule else None,
        "why": told,
        "made by": change and f"{change.by}, {change.at.isoformat(timespec='seconds')}, change {change.change_id}",
    }


def why(reasons: tuple[str, ...]) -> str:
    """Why an ACL exists, as it is shown."""
    return ", ".join(reasons) or "not in the policy: made by hand, or of an earlier one"


def sound(files: Iterable[Path]) -> tuple[Policy, Desired]:
    """The policy in `files` and what it means now, if what it must never come to does not come of it."""
    read = read_files(*files)
    meant, found = _tried(read)
    if found:
        more = f" (and {len(found) - 1} more: tocsin policy check FILE...)" if len(found) > 1 else ""
        raise PolicyInvalid(f"{read.where(found[0].place)}: {found[0].line}{more}")
    return read.policy, meant


def _tried(read: PolicyFiles) -> tuple[Desired, list[Finding]]:
    """What the policy means now, and what is wrong with that."""
    now = _now()
    try:
        desired = compile_policy(read.policy, now)
        return desired, [*findings(read.policy, now, desired)]
    except PolicyInvalid as error:
        raise PolicyInvalid(f"{read.where(('agreements', 0))}: agreements: {error}") from error


def warn(warnings: Iterable[str]) -> None:
    """Say `warnings` beside the output."""
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)


def _now() -> datetime:
    return datetime.now(UTC)


def application_of(policy: Policy, home: Path, login: str = POLICY) -> Application:
    """What applying `policy` now would meet, seen by the service `login`. Raises PolicyNotApplied."""
    with said_clearly("the cluster cannot be asked"):
        return Application(policy, working_as(login, home), home)


def checked_topic(text: str) -> AlertTopic:
    """`text`, if it is an alert topic's name. Raises typer.BadParameter."""
    try:
        return AlertTopic.parse(text)
    except NameInvalid as error:
        raise typer.BadParameter(str(error), param_hint="TOPIC") from error


def _known(policy: Policy, member: str) -> None:
    if member not in policy.members:
        raise typer.BadParameter(f"the policy has no member {member!r}", param_hint="MEMBER")
