"""The commands of `tocsin audit`."""

from __future__ import annotations

import typer

from tocsin.deploy.audit.access_command import access
from tocsin.deploy.audit.archive_command import archive_record
from tocsin.deploy.audit.ask_commands import index_record, overdue, refusals, report_month, seen_by, trace, who_saw
from tocsin.deploy.audit.export_command import export_record
from tocsin.deploy.audit.heads_command import heads
from tocsin.deploy.audit.prove_command import check, prove
from tocsin.deploy.audit.receipts_command import receipts
from tocsin.deploy.audit.seal_command import seal
from tocsin.deploy.audit.ship_command import ship
from tocsin.deploy.audit.verify_command import verify_record
from tocsin.deploy.audit.witness_command import witness

audit_app = typer.Typer(
    help="The record of what was decided: sealed, searched, verified, and proved to others.", no_args_is_help=True
)
audit_app.command()(seal)
audit_app.command()(ship)
audit_app.command()(access)
audit_app.command()(receipts)
audit_app.command()(witness)
audit_app.command()(heads)
audit_app.command()(prove)
audit_app.command()(check)
audit_app.command(name="index")(index_record)
audit_app.command()(trace)
audit_app.command()(who_saw)
audit_app.command()(seen_by)
audit_app.command()(refusals)
audit_app.command()(overdue)
audit_app.command(name="report")(report_month)
audit_app.command(name="export")(export_record)
audit_app.command(name="archive")(archive_record)
audit_app.command(name="verify")(verify_record)
