"""`tocsin release`: a member may be given more live alerts at once than the exchange's bound."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from tocsin.consumers.gains import Release
from tocsin.consumers.outbox import Outbox
from tocsin.deploy.commands.checks import checked_jurisdiction, checked_member
from tocsin.deploy.commands.publish import AsOption
from tocsin.deploy.moments import moment_text
from tocsin.deploy.output import Output, OutputOption, log_beside_output, show
from tocsin.schemas.bundle import Bundle

HOUR_MS = 3_600_000


def release(
    member: Annotated[str, typer.Argument(help="Who has gained more than the bound, as the fan-out's log names it.")],
    bundle: AsOption,
    jurisdiction: Annotated[str, typer.Option(help="Of the publishers of those alerts: the lane in that log line.")],
    up_to: Annotated[int, typer.Option(min=1, help="How many live alerts it may be given at once.")],
    *,
    hours: Annotated[float, typer.Option(min=0, help="For how long this counts.")] = 1,
    output: OutputOption = Output.TABLE,
) -> None:
    """For the secretariat: let a member be given the live alerts that it has gained and that the exchange holds back.

    Look at the rule that gave it sight first: what was given cannot be taken back.
    """
    log_beside_output()
    valid_to = time.time_ns() // 1_000_000 + round(hours * HOUR_MS)
    made = Release(checked_member(member, "MEMBER"), checked_jurisdiction(jurisdiction), up_to, valid_to)
    with Outbox(Bundle.load(bundle)) as outbox:
        outbox.release(made)
    row = {
        "member": made.recipient,
        "jurisdiction": made.jurisdiction,
        "up to": made.live_alerts_max,
        "until": moment_text(valid_to),
    }
    show([row], output, title="released")
