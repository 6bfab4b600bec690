"""`tocsin policy`: who shares what with whom."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.deploy.cluster.local import LocalCluster
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, console, show
from tocsin.deploy.policy.apply import apply_policy
from tocsin.deploy.policy.document import read_policy

policy_app = typer.Typer(help="Who shares what with whom: topics, users and ACLs from one file.", no_args_is_help=True)


@policy_app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="The policy, YAML.", exists=True, dir_okay=False)],
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create topics, users and ACLs from FILE, end sight that it no longer gives, and publish the directory."""
    applied = apply_policy(read_policy(file), LocalCluster(home).admin(), home)
    for warning in applied.warnings:
        console.print(f"warning: {warning}")
    rows = [
        {"what": "topics created", "count": len(applied.topics_created)},
        {"what": "topics configured", "count": len(applied.topics_configured)},
        {"what": "users set", "count": len(applied.users_set)},
        {"what": "ACLs created", "count": len(applied.acls_created)},
        {"what": "ACLs removed", "count": len(applied.acls_removed)},
        {"what": "directory version", "count": applied.directory_version},
    ]
    show(rows, output, title="applied" if applied.changed else "nothing to change")
