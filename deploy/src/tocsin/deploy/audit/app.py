"""The commands of `tocsin audit`."""

from __future__ import annotations

import typer

from tocsin.deploy.audit.seal_command import seal

audit_app = typer.Typer(
    help="The record of what was decided: sealed, searched, verified, and proved to others.", no_args_is_help=True
)
audit_app.command()(seal)
