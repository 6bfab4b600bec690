"""The commands of `tocsin audit`."""

from __future__ import annotations

import typer

from tocsin.deploy.audit.export_command import export_record
from tocsin.deploy.audit.verify_command import verify_record

audit_app = typer.Typer(
    help="The record of what was decided: sealed, searched, verified, and proved to others.", no_args_is_help=True
)
audit_app.command(name="export")(export_record)
audit_app.command(name="verify")(verify_record)
