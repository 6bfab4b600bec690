"""`tocsin withdrawals`: who was told of each withdrawal, who has acknowledged it, and who has not."""

from __future__ import annotations

import signal
import threading
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import structlog
import typer
from prometheus_client import start_http_server

from tocsin.consumers.errors import TocsinConsumerError
from tocsin.consumers.metrics import WithdrawalsMetrics
from tocsin.consumers.withdrawals import Withdrawal
from tocsin.consumers.withdrawals_reader import WithdrawalsReader, lanes
from tocsin.deploy.commands.checks import checked_lanes
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
    metrics_port: Annotated[
        int | None,
        typer.Option(help="Run on, show nothing, and serve Prometheus metrics of who is overdue on 127.0.0.1."),
    ] = None,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="With --metrics-port: read so often.")] = 60,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show who was told of each retraction, who has acknowledged it, and who has not and since when.

    Exit codes: 0 nobody is overdue, 3 somebody is, 1 failed, 2 usage. With --metrics-port it runs until Ctrl-C.
    """
    log_beside_output()
    bundle = Bundle.load(home / "services" / FANOUT)
    asked, after_ms = checked_lanes(lane, lanes(bundle), "--lane"), round(overdue * HOUR_MS)
    with WithdrawalsReader(bundle, asked) as reader:
        if metrics_port is not None:
            _serve(reader, asked, after_ms, metrics_port, every)
            return
        rows = withdrawal_rows(reader.read(), time.time_ns() // 1_000_000, after_ms)
    show(rows, output, title="withdrawals")
    late = sum(row["overdue"] for row in rows)
    if output is Output.TABLE:
        console.print(f"{late} overdue (not acknowledged after {overdue:g} h)")
    if late:
        raise typer.Exit(OVERDUE)


def _serve(reader: WithdrawalsReader, of_lanes: list[str], after_ms: int, port: int, every_s: float) -> None:
    """Read and count until told to stop. What cannot be read now is read later: the metrics say how old they are."""
    metrics, stop_asked = WithdrawalsMetrics(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop_asked.set())
    start_http_server(port, addr="127.0.0.1", registry=metrics.registry)
    console.print(f"withdrawals of {', '.join(of_lanes)}: metrics at http://127.0.0.1:{port}/metrics; Ctrl-C ends it")
    while not stop_asked.is_set():
        try:
            found = reader.read()
        except TocsinConsumerError as failure:
            structlog.get_logger().warning("withdrawals_not_read", reason=str(failure))
        else:
            metrics.read(found, of_lanes, time.time_ns() // 1_000_000, after_ms)
        stop_asked.wait(every_s)


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
