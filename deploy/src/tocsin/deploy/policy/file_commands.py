"""`tocsin policy schema|export|import|quotas|retention`: policies as files, to and from other forms; and bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from confluent_kafka.admin import AdminClient

from tocsin.consumers.acl_client import acl_client
from tocsin.deploy.cluster.local import LocalCluster
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, console, show
from tocsin.deploy.policy.acls import WAIT_S, read_acls
from tocsin.deploy.policy.commands import CHANGES, SIGNS, FilesArgument, sound, warn
from tocsin.deploy.policy.export import Format, kafka_acls, strimzi
from tocsin.deploy.policy.imported import TODO, Known
from tocsin.deploy.policy.importing import import_acls
from tocsin.deploy.policy.policy_files import read_policy
from tocsin.deploy.policy.quotas import QuotaChange, apply_quotas, kafka_configs, plan_quotas, quotas_of
from tocsin.deploy.policy.retention import kept
from tocsin.deploy.policy.schema import SchemaFormat, reference, schema_text
from tocsin.schemas.bundle import CONFIG, Bundle

OutOption = Annotated[Path | None, typer.Option("--out", help="The file to write; left out: print it.")]


def schema(
    form: Annotated[
        SchemaFormat, typer.Option("--format", help="json for editors, markdown for people.")
    ] = SchemaFormat.JSON,
    out: OutOption = None,
) -> None:
    """Write the JSON Schema of a policy file, by which editors complete and check it, or the reference of its keys.

    A file names it on its first line: `# yaml-language-server: $schema=policy.schema.json`.
    """
    _write(schema_text() if form is SchemaFormat.JSON else reference(), out)


def export_policy(
    files: FilesArgument,
    form: Annotated[Format, typer.Option("--format", help="Strimzi's resources, or a script of Kafka's own tools.")],
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="The Kafka resource's name, which Strimzi's resources name.")
    ] = None,
    brokers: Annotated[int, typer.Option("--brokers", min=1, help="For how many brokers; from 3 on, 3 copies.")] = 3,
    out: OutOption = None,
) -> None:
    """Write the topics and ACLs of the policy in FILE..., as of now, in another tool's form.

    Whoever applies them writes ACLs from then on, not this tool: docs/policy-files.md, "Who writes".
    """
    policy, desired = sound(files)
    warn(desired.warnings)
    if form is Format.KAFKA_ACLS:
        _write(kafka_acls(desired, brokers=brokers), out)
    elif cluster is None:
        raise typer.BadParameter("name the Kafka resource that they are for", param_hint="--cluster")
    else:
        _write(strimzi(desired, cluster=cluster, brokers=brokers, quotas=quotas_of(policy)), out)


def import_policy(
    home: HomeOption = HOME,
    coalition: Annotated[str, typer.Option("--coalition", help="Its name.")] = TODO,
    out: OutOption = None,
) -> None:
    """Write a first policy that gives the sight that the live ACLs give, for a person to complete and confirm.

    Roles and jurisdictions are taken from the members' bundles under --home, where there are some. Nothing is changed.
    Exit codes: 0 it says all that the ACLs do, 3 it leaves some out and names them, 1 failed, 2 usage.
    """
    config = LocalCluster(home).admin().kafka_config()
    admin = AdminClient(config)
    imported = import_acls(
        read_acls(acl_client(config)), admin.list_topics(timeout=WAIT_S).topics, coalition, _known(home)
    )
    _write(imported.text(), out)
    if imported.left:
        typer.echo(f"{len(imported.left)} things are not in it, named at its top", err=True)
        raise typer.Exit(CHANGES)


def _known(home: Path) -> dict[str, Known]:
    configs = [Bundle.load(path.parent).config for path in (home / "members").glob(f"*/{CONFIG}")]
    return {one.member: Known(one.role, one.jurisdiction) for one in configs}


def quotas(
    files: FilesArgument,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
) -> None:
    """Bound what members' logins may use of the brokers, as the policy's `quotas` say, and end other bounds of theirs.

    Exit codes: 0 all of it is applied, or nothing to do; 3 there are changes (--dry-run); 1 failed, 2 usage.
    """
    policy, run = read_policy(*files), kafka_configs(LocalCluster(home).admin())
    changes = plan_quotas(policy, run) if dry_run else apply_quotas(policy, run)
    title = "nothing to change" if not changes else "would change" if dry_run else "applied"
    show([_quota_row(change) for change in changes], output, title=title)
    if changes and dry_run:
        raise typer.Exit(CHANGES)


def retention(files: FilesArgument, output: OutputOption = Output.TABLE) -> None:
    """Show for how many days topics are kept by the policy in FILE..., and within what bounds it may say so."""
    rows = [{**one._asdict()} for one in kept(read_policy(*files).retention)]
    show(rows, output, title="days that topics are kept")


def _quota_row(change: QuotaChange) -> dict[str, Any]:
    return {
        "": SIGNS[change.action],
        "login": change.login,
        "quota": change.key,
        "was": change.now,
        "is": change.wanted,
    }


def _write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    out.write_text(text, encoding="utf-8")
    console.print(f"written: {out}", soft_wrap=True)
