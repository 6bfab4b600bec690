"""`tocsin policy export|import`: policies as files, to and from other forms."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka.admin import AdminClient

from tocsin.consumers.acl_client import acl_client
from tocsin.deploy.cluster.local import LocalCluster
from tocsin.deploy.errors import PolicyInvalid
from tocsin.deploy.output import HOME, HomeOption, console
from tocsin.deploy.policy.acls import WAIT_S, read_acls
from tocsin.deploy.policy.commands import CHANGES, FilesArgument
from tocsin.deploy.policy.compile import compile_policy
from tocsin.deploy.policy.export import Format, kafka_acls, strimzi
from tocsin.deploy.policy.imported import TODO, Known
from tocsin.deploy.policy.importing import import_acls
from tocsin.deploy.policy.policy_files import read_policy
from tocsin.deploy.policy.prove import findings
from tocsin.schemas.bundle import Bundle

OutOption = Annotated[Path | None, typer.Option("--out", help="The file to write; left out: print it.")]


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
    now = datetime.now(UTC)
    policy = read_policy(*files)
    for found in findings(policy, now):
        raise PolicyInvalid(f"{found.what}: {found.text}; see tocsin policy check FILE...")
    desired = compile_policy(policy, now)
    for warning in desired.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if form is Format.KAFKA_ACLS:
        _write(kafka_acls(desired, brokers=brokers), out)
    elif cluster is None:
        raise typer.BadParameter("name the Kafka resource that they are for", param_hint="--cluster")
    else:
        _write(strimzi(desired, cluster=cluster, brokers=brokers), out)


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
    folders = (home / "members").iterdir() if (home / "members").exists() else ()
    configs = [Bundle.load(folder).config for folder in folders]
    return {one.member: Known(one.role, one.jurisdiction) for one in configs}


def _write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    out.write_text(text, encoding="utf-8")
    console.print(f"written: {out}", soft_wrap=True)
