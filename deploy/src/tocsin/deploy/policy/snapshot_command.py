"""`tocsin policy snapshot`: the ACLs that a decision was made by."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from tocsin.consumers.acl import AclRow
from tocsin.consumers.snapshots import Snapshots
from tocsin.deploy.cluster.local import LocalCluster
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, show
from tocsin.deploy.policy.records import read_all
from tocsin.schemas.names import ACL_AUDIT_TOPIC


def snapshot(
    digest: Annotated[str, typer.Argument(help="A decision's acl_digest: 64 hexadecimal digits.")],
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the ACLs on topics that a decision was made by. Exits with 1 when they are not on record."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise typer.BadParameter("64 hexadecimal digits are a digest", param_hint="DIGEST")
    snapshots = Snapshots()
    for record in read_all(LocalCluster(home).admin(), ACL_AUDIT_TOPIC):
        snapshots.apply(record.value)
    rows = sorted(snapshots.rows(bytes.fromhex(digest)), key=_by_name)
    show([{"ACL": row.text()} for row in rows], output, title=f"{len(rows)} ACLs on topics")


def _by_name(row: AclRow) -> tuple[str, str]:
    return (row.name, row.text())
