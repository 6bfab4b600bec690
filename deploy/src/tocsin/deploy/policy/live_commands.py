"""`tocsin policy` beside a living cluster: what can never be, what differs, what time changes, what breaks glass."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin.consumers.acl import AclSet
from tocsin.deploy.observing.options import AddressOption, CertificateOption, KeyOption, PortOption
from tocsin.deploy.observing.port import LOCAL, PortOptions
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, console, log_beside_output, show
from tocsin.deploy.policy.acls import strange_acls
from tocsin.deploy.policy.apply import ADMINISTRATOR, said_clearly
from tocsin.deploy.policy.by_time import Ending, endings, tick
from tocsin.deploy.policy.canary import UNREADABLE, probe
from tocsin.deploy.policy.certificates import certificates
from tocsin.deploy.policy.commands import (
    CHANGES,
    ByOption,
    FilesArgument,
    MemberArgument,
    PolicyOption,
    TopicArgument,
    application_of,
    checked_topic,
    show_applied,
)
from tocsin.deploy.policy.compile import BreakGlass
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.drift import differences
from tocsin.deploy.policy.emergency import LIFE_MAX, break_glass
from tocsin.deploy.policy.policy_files import read_policy
from tocsin.deploy.policy.prove import breaches
from tocsin.deploy.policy.rows import CANARY, DRIFT, POLICY
from tocsin.deploy.policy.watching import DriftMetrics, TickMetrics, Told
from tocsin.deploy.policy.working_as import working_as
from tocsin.deploy.serving import serve
from tocsin.schemas.bundle import Bundle

NOT_LOOKED_AT = "policy_not_looked_at"
HOURS_MAX = LIFE_MAX / timedelta(hours=1)

EveryOption = Annotated[float, typer.Option(metavar="SECONDS", min=1, help="With --metrics-port: look so often.")]


def prove(
    files: FilesArgument,
    *,
    planned: Annotated[bool, typer.Option("--planned", help="As it would be once the files are applied.")] = False,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Prove the policy's invariants over all live ACLs, hand-made ones included, or show how one can be broken.

    Exit codes: 0 proved, 3 a counter-example, 1 failed, 2 usage. ACLs that cannot be understood prove nothing.
    """
    policy = read_policy(*files)
    application = application_of(policy, home)
    rows = application.after if planned else application.live
    found: list[dict[str, Any]] = [
        {"invariant": one.invariant, "counter-example": one.text} for one in breaches(application.policy, AclSet(rows))
    ]
    with said_clearly("the cluster cannot be asked"):
        strange = strange_acls(application.acl_client)
        found += [{"invariant": "every ACL is understood", "counter-example": text} for text in strange]
        open_doors = probe(Bundle.load(home / "services" / CANARY), application.desired.alert_topics[0])
        found += [{"invariant": "nobody has rights without ACLs", "counter-example": text} for text in open_doors]
    proved = [{"invariant": one.id, "says": one.says, "ACLs": len(rows)} for one in policy.invariants]
    show(found or proved, output, title="not so" if found else "proved")
    if output is Output.TABLE:
        console.print(UNREADABLE, soft_wrap=True)
    if found:
        raise typer.Exit(CHANGES)


def drift(
    files: FilesArgument,
    metrics_port: PortOption = None,
    metrics_address: AddressOption = LOCAL,
    metrics_cert: CertificateOption = None,
    metrics_key: KeyOption = None,
    every: EveryOption = 60,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show how the cluster differs from the policy, by whomever: also what `apply` would leave alone.

    Exit codes: 0 it does not, 3 it does, 1 failed, 2 usage. With --metrics-port it runs on, shows
    nothing, and ends on Ctrl-C or SIGTERM, once the look under way is done.
    """
    policy = read_policy(*files)
    if metrics_port is not None:
        metrics, told = DriftMetrics(), Told()

        def look() -> None:
            with said_clearly("the cluster cannot be asked"):
                found = [*differences(application_of(read_policy(*files), home, DRIFT))]
            told.differences(found)
            metrics.drift(found)

        serve(
            metrics,
            look,
            port=PortOptions(metrics_port, metrics_address, metrics_cert, metrics_key),
            every_s=every,
            what="drift",
            failed=NOT_LOOKED_AT,
        )
        return
    with said_clearly("the cluster cannot be asked"):
        found = [*differences(application_of(policy, home, DRIFT))]
    show([{"kind": one.kind.value, "what": one.what, "why": one.why} for one in found], output, title="drift")
    if found:
        raise typer.Exit(CHANGES)


def tick_policy(
    files: FilesArgument,
    metrics_port: PortOption = None,
    metrics_address: AddressOption = LOCAL,
    metrics_cert: CertificateOption = None,
    metrics_key: KeyOption = None,
    every: EveryOption = 60,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """End what has ended by itself, begin what has begun, and warn of what ends within 30, 7 and 1 days.

    It changes what time alone changes, of the policy that was applied last: agreements, transfers, prohibitions,
    break-glass, the directory. Of certificates it only warns. Run it by a timer, or leave it running with
    --metrics-port: it then ends on Ctrl-C or SIGTERM, once the look under way is done.
    """
    log_beside_output()
    bundle = working_as(POLICY, home)
    if metrics_port is not None:
        metrics, told = TickMetrics(), Told()

        def look() -> None:
            policy = read_policy(*files)
            tick(policy, bundle, home)
            found = _endings(policy, home)
            told.endings(found, datetime.now(UTC))
            metrics.tick(found)

        serve(
            metrics,
            look,
            port=PortOptions(metrics_port, metrics_address, metrics_cert, metrics_key),
            every_s=every,
            what="tick",
            failed=NOT_LOOKED_AT,
        )
        return
    policy = read_policy(*files)
    show_applied(tick(policy, bundle, home), output)
    now = datetime.now(UTC)
    soon = [(one, one.warning_days(now)) for one in _endings(policy, home)]
    rows = [
        {"ends": one.ends.isoformat(timespec="seconds"), "what": one.what, "name": one.name, "within days": days}
        for one, days in soon
        if days is not None
    ]
    show(rows, output, title="ends soon")


def _endings(policy: Policy, home: Path) -> list[Ending]:
    application = application_of(policy, home)
    directory = application.directory.directory if application.directory else None
    found = endings(policy, directory, application.journal.glass, application.now)
    with said_clearly("the cluster cannot be asked"):
        found += certificates(working_as(POLICY, home))
    return sorted(found, key=lambda one: one.ends)


def break_glass_for(
    member: MemberArgument,
    topic: TopicArgument,
    files: PolicyOption,
    why: Annotated[str, typer.Option(help="For the record; no personal data.")],
    hours: Annotated[float, typer.Option(help="It ends by itself after so long.", min=0.001, max=HOURS_MAX)] = 4,
    by: ByOption = ADMINISTRATOR,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Give MEMBER sight of TOPIC at once, past all agreements, for some hours.

    It is on record, and in drift until `policy tick` ends it. What a prohibition forbids cannot be given.
    """
    until = datetime.now(UTC) + timedelta(hours=hours)
    glass = BreakGlass(member, checked_topic(topic).name, by, why, until.replace(microsecond=0))
    applied = break_glass(read_policy(*files), working_as(POLICY, home), home, glass)
    show_applied(applied, output)
    typer.echo(f"BREAK-GLASS: {glass.member} sees {glass.topic}: {glass.text}", err=True)
