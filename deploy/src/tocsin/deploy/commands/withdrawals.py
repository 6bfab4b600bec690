"""`tocsin withdrawals`: who was told of each withdrawal, who has acknowledged it, and who has not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from tocsin.consumers.metrics import WithdrawalsMetrics
from tocsin.consumers.withdrawals import Withdrawal
from tocsin.consumers.withdrawals_reader import WithdrawalsReader, lanes
from tocsin.deploy.commands.checks import checked_lanes
from tocsin.deploy.moments import moment_text
from tocsin.deploy.observing.options import AddressOption, CertificateOption, KeyOption, PortOption
from tocsin.deploy.observing.port import LOCAL, PortOptions
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, console, log_beside_output, show
from tocsin.deploy.policy.rows import FANOUT
from tocsin.deploy.serving import serve
from tocsin.schemas.bundle import Bundle

OVERDUE = 3
HOUR_MS = 3_600_000


def withdrawals(
    lane: Annotated[list[str] | None, typer.Option(help="Only this jurisdiction; may be given again.")] = None,
    overdue: Annotated[
        float, typer.Option(metavar="HOURS", min=0, help="Not acknowledged after so long is overdue.")
    ] = 24,
    metrics_port: PortOption = None,
    metrics_address: AddressOption = LOCAL,
    metrics_cert: CertificateOption = None,
    metrics_key: KeyOption = None,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="With --metrics-port: read so often.")] = 60,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show who was told of each retraction, who has acknowledged it, and who has not and since when.

    Exit codes: 0 nobody is overdue, 3 somebody is, 1 failed, 2 usage. With --metrics-port it runs on, shows
    nothing, and ends on Ctrl-C or SIGTERM, once the look under way is done.
    """
    log_beside_output()
    bundle = Bundle.load(home / "services" / FANOUT)
    asked, after_ms = checked_lanes(lane, lanes(bundle), "--lane"), round(overdue * HOUR_MS)
    with WithdrawalsReader(bundle, asked) as reader:
        if metrics_port is not None:
            port = PortOptions(metrics_port, metrics_address, metrics_cert, metrics_key)
            _serve(reader, lambda: asked if lane else lanes(bundle), after_ms, port, every)
            return
        rows = withdrawal_rows(reader.read(), time.time_ns() // 1_000_000, after_ms)
    show(rows, output, title="withdrawals")
    late = sum(row["overdue"] for row in rows)
    if output is Output.TABLE:
        console.print(f"{late} overdue (not acknowledged after {overdue:g} h)")
    if late:
        raise typer.Exit(OVERDUE)


def _serve(
    reader: WithdrawalsReader, of_lanes: Callable[[], list[str]], after_ms: int, port: PortOptions, every_s: float
) -> None:
    metrics = WithdrawalsMetrics()

    def look() -> None:
        reader.follow(of_lanes())  # a jurisdiction may have come
        metrics.read(reader.read(), reader.lanes, time.time_ns() // 1_000_000, after_ms)

    what = f"withdrawals of {', '.join(reader.lanes)}"
    serve(metrics, look, port=port, every_s=every_s, what=what, failed="withdrawals_not_read")


def withdrawal_rows(found: list[Withdrawal], now_ms: int, after_ms: int) -> list[dict[str, Any]]:
    """`found` as it is shown."""
    return [
        {
            "lane": one.lane,
            "lineage": one.lineage,
            "member": one.member,
            "state": one.state.value,
            "withdrawn_at": moment_text(one.withdrawn_ms),
            "acknowledged_at": None if one.acknowledged_ms is None else moment_text(one.acknowledged_ms),
            "overdue": one.overdue(now_ms, after_ms),
        }
        for one in found
    ]
