"""`tocsin dispute`: tell a publisher that what it told you is wrong."""

from __future__ import annotations

from typing import Annotated

import typer

from tocsin.consumers.disputes import DISPUTE_REASONS
from tocsin.consumers.outbox import Outbox
from tocsin.deploy.commands.publish import AsOption
from tocsin.deploy.output import Output, OutputOption, console, show
from tocsin.schemas.bundle import Bundle


def dispute(
    lineage: Annotated[str, typer.Argument(help="publisher/lineage_id, as `tocsin inbox` shows it.")],
    bundle: AsOption,
    reason: Annotated[str, typer.Option(help=", ".join(DISPUTE_REASONS))] = "FALSE_POSITIVE",
    output: OutputOption = Output.TABLE,
) -> None:
    """Dispute an alert that you were given; its publisher hears of it, and why, but not from whom."""
    publisher, separator, lineage_id = lineage.partition("/")
    if not (separator and publisher and lineage_id):
        raise typer.BadParameter("write it as publisher/lineage_id, as `tocsin inbox` shows it", param_hint="LINEAGE")
    if reason not in DISPUTE_REASONS:
        raise typer.BadParameter(f"one of {', '.join(DISPUTE_REASONS)}", param_hint="--reason")
    with Outbox(Bundle.load(bundle)) as outbox:
        dispute_id = outbox.dispute(publisher, lineage_id, reason)
    show([{"lineage": lineage, "dispute_id": dispute_id, "reason": reason}], output, title="disputed")
    if output is Output.TABLE:
        console.print(f"{publisher} is told within seconds. What it corrects or retracts comes into your inbox.")
