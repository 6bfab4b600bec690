"""`tocsin policy`: who shares what with whom."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from confluent_kafka.admin import AdminClient

from tocsin.consumers.acl import AclSet
from tocsin.deploy.cluster.local import LocalCluster
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, console, show
from tocsin.deploy.policy.acls import read_acls
from tocsin.deploy.policy.apply import apply_policy, plan_policy
from tocsin.deploy.policy.compile import Desired, compile_policy
from tocsin.deploy.policy.document import Policy, read_policy
from tocsin.deploy.policy.sight import Seen, look, missing, seen_by
from tocsin.schemas.errors import NameInvalid
from tocsin.schemas.names import AlertTopic

CHANGES: Final = 3

policy_app = typer.Typer(
    help="Who shares what with whom: topics, users and ACLs from policy files.", no_args_is_help=True
)

FilesArgument = Annotated[list[Path], typer.Argument(metavar="FILE...", help="The policy, YAML.", exists=True)]
PolicyOption = Annotated[
    list[Path], typer.Option("--policy", help="The policy, which says why an ACL exists.", exists=True)
]
TopicArgument = Annotated[str, typer.Argument(help="An alert topic: alerts.de.site-taken-down.green")]


@policy_app.command()
def check(files: FilesArgument, output: OutputOption = Output.TABLE) -> None:
    """Check the policy in FILE... without a cluster, and say what it comes to."""
    policy = read_policy(*files)
    desired = _compiled(policy)
    row = {
        "members": len(policy.members),
        "jurisdictions": len(policy.jurisdictions()),
        "agreements": len(policy.agreements),
        "topics": len(desired.topics),
        "ACLs": len(desired.grants),
        "warnings": len(desired.warnings),
    }
    _warn(desired.warnings)
    show([row], output, title="sound")


@policy_app.command()
def plan(files: FilesArgument, home: HomeOption = HOME, output: OutputOption = Output.TABLE) -> None:
    """Show what `apply` would change: who gains and who loses sight, then topics, users and ACLs. Changes nothing.

    Exit codes: 0 nothing to do, 3 there are changes, 1 failed, 2 usage.
    """
    planned = plan_policy(read_policy(*files), LocalCluster(home).admin(), home)
    rows: list[dict[str, Any]] = [
        {"": "+" if one.gains else "-", "what": "sight", "of": one.topic, "by": one.member, "why": _why(one.reasons)}
        for one in planned.sight
    ]
    changes = [
        *(("+", "topic", name) for name in planned.topics_created),
        *(("~", "topic", name) for name in planned.topics_configured),
        *(("+", "user", name) for name in planned.users_set),
        *(("-", "ACL", row.text()) for row in planned.acls_removed),
        *(("+", "ACL", row.text()) for row in planned.acls_created),
    ]
    rows += [{"": sign, "what": what, "of": name, "by": None, "why": None} for sign, what, name in changes]
    show(rows, output, title="would change")
    _warn(planned.warnings)
    if output is Output.TABLE:
        gains = sum(one.gains for one in planned.sight)
        console.print(f"{gains} gain sight, {len(planned.sight) - gains} lose it; {len(changes)} other changes")
    if rows:
        raise typer.Exit(CHANGES)


@policy_app.command()
def apply(files: FilesArgument, home: HomeOption = HOME, output: OutputOption = Output.TABLE) -> None:
    """Create topics, users and ACLs, end sight that the policy no longer gives, and publish the directory."""
    applied = apply_policy(read_policy(*files), LocalCluster(home).admin(), home)
    _warn(applied.warnings)
    rows = [
        {"what": "topics created", "count": len(applied.topics_created)},
        {"what": "topics configured", "count": len(applied.topics_configured)},
        {"what": "users set", "count": len(applied.users_set)},
        {"what": "ACLs created", "count": len(applied.acls_created)},
        {"what": "ACLs removed", "count": len(applied.acls_removed)},
        {"what": "directory version", "count": applied.directory_version},
    ]
    show(rows, output, title="applied" if applied.changed else "nothing to change")


@policy_app.command()
def explain(
    member: Annotated[str, typer.Argument(help="A member of the policy.")],
    topic: TopicArgument,
    files: PolicyOption,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Why MEMBER is given the alerts of TOPIC, by the live ACLs, or what is missing. Exits with 1 when it is not."""
    policy, parsed = read_policy(*files), _topic(topic)
    _known(policy, member)
    seen = look(_live(home), _compiled(policy), member, parsed.name)
    show([_seen_row(seen)], output, title="sight" if seen.allowed else "no sight")
    if not seen.allowed:
        absent = [
            {"agreement": one.agreement, "what is missing": one.condition}
            for one in missing(policy, member, parsed, datetime.now(UTC).date())
        ]
        if seen.rule is None and output is Output.TABLE:
            show(absent, output, title="no agreement gives it")
        raise typer.Exit(1)


@policy_app.command()
def who(
    topic: TopicArgument, files: PolicyOption, home: HomeOption = HOME, output: OutputOption = Output.TABLE
) -> None:
    """Who is given the alerts of TOPIC, by the live ACLs, those made by hand included."""
    policy = read_policy(*files)
    found = seen_by(_live(home), _compiled(policy), policy.members, [_topic(topic).name])
    _show_seen(found, output, f"who sees {topic}")


@policy_app.command()
def sees(
    member: Annotated[str, typer.Argument(help="A member of the policy.")],
    files: PolicyOption,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Which alerts MEMBER is given, by the live ACLs, those made by hand included."""
    policy = read_policy(*files)
    _known(policy, member)
    desired = _compiled(policy)
    _show_seen(seen_by(_live(home), desired, [member], desired.alert_topics), output, f"what {member} sees")


def _show_seen(found: Iterable[Seen], output: Output, title: str) -> None:
    show([_seen_row(one) for one in found], output, title=title)


def _seen_row(seen: Seen) -> dict[str, Any]:
    why = _why(seen.reasons) if seen.rule else "no ACL matches"
    return {"member": seen.member, "topic": seen.topic, "ACL": seen.rule.text() if seen.rule else None, "why": why}


def _why(reasons: tuple[str, ...]) -> str:
    return ", ".join(reasons) or "not in the policy: made by hand, or of an earlier one"


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)


def _compiled(policy: Policy) -> Desired:
    return compile_policy(policy, datetime.now(UTC).date())


def _live(home: Path) -> AclSet:
    return AclSet(read_acls(AdminClient(LocalCluster(home).admin().kafka_config())))


def _topic(text: str) -> AlertTopic:
    try:
        return AlertTopic.parse(text)
    except NameInvalid as error:
        raise typer.BadParameter(str(error), param_hint="TOPIC") from error


def _known(policy: Policy, member: str) -> None:
    if member not in policy.members:
        raise typer.BadParameter(f"the policy has no member {member!r}", param_hint="MEMBER")
