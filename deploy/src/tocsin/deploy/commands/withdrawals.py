"""`tocsin withdrawals`: who was told of each withdrawal, who has acknowledged it, and who has not."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from tocsin.consumers.withdrawals import Withdrawal
from tocsin.consumers.withdrawals_reader import lanes, read_withdrawals
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, console, log_beside_output, show
from tocsin.deploy.policy.compile import FANOUT
from tocsin.schemas.bundle import Bundle

OVERDUE = 3
HOUR_MS = 3_600_000


def withdrawals(
    lane: Annotated[list[str] | None, typer.Option(help="Only this jurisdiction; may be given again.")] = None,
    overdue: Annotated[
        float, typer.Option(metavar="HOURS", min=0, help="Not acknowledged after so long is overdue.")
    ] = 24,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show who was told of each retraction, who has acknowledged it, and who has not and since when.

    Exit codes: 0 nobody is overdue, 3 somebody is, 1 failed, 2 usage.
    """
    log_beside_output()
    bundle = Bundle.load(home / "services" / FANOUT)
    known = lanes(bundle)
    unknown = sorted({*(lane or ())} - {*known})
    if unknown:
        raise typer.BadParameter(
            f"no ledger of {', '.join(unknown)}; there are {', '.join(known)}", param_hint="--lane"
        )
    found = read_withdrawals(bundle, sorted({*lane}) if lane else known)
    rows = withdrawal_rows(found, time.time_ns() // 1_000_000, round(overdue * HOUR_MS))
    show(rows, output, title="withdrawals")
    late = sum(row["overdue"] for row in rows)
    if output is Output.TABLE:
        console.print(f"{late} overdue (not acknowledged after {overdue:g} h)")
    if late:
        raise typer.Exit(OVERDUE)


def withdrawal_rows(found: list[Withdrawal], now_ms: int, after_ms: int) -> list[dict[str, Any]]:
    """`found` as it is shown."""
    return [
        {
            "lane": one.lane,
            "lineage": one.lineage,
            "member": one.member,
            "state": one.state.value,
            "withdrawn_at": _time(one.withdrawn_ms),
            "acknowledged_at": None if one.acknowledged_ms is None else _time(one.acknowledged_ms),
            "overdue": one.overdue(now_ms, after_ms),
        }
        for one in found
    ]


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")
