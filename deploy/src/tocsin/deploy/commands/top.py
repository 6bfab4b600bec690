"""`tocsin top`: the exchange's services, live in a terminal."""

from __future__ import annotations

import ssl
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any, Final, cast
from urllib.parse import urlsplit

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table

from tocsin.deploy.observing.rows import LaneRow, MemberRow, SnapshotRow, SourceRow, State, state_of
from tocsin.deploy.observing.scrape import Fetch, Scrape, scrape
from tocsin.deploy.output import Output, OutputOption, console, show

ANSWER_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 64_000_000
_ROWS: Final = {"lane": LaneRow, "member": MemberRow, "snapshot": SnapshotRow, "source": SourceRow}


def top(
    source: Annotated[
        list[str],
        typer.Option("--from", metavar="URL", help="Where a service serves its metrics; may be given again."),
    ],
    *,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.2, help="Ask so often.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Ask twice, --every apart, say what came of it, end.")] = False,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", help="What certifies https addresses, a PEM file.", exists=True, dir_okay=False),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show lanes, members, snapshots and services, live, until Ctrl-C.

    Rates and latencies are of the time between two questions; while nothing was delivered, latencies are of all since
    the service began. Exit codes of --once: 0 all have answered, 1 one has not, 2 usage.
    """
    wrong = [one for one in source if urlsplit(one).scheme not in {"http", "https"}]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]}: must be http:// or https://", param_hint="--from")
    if output is Output.JSON and not once:
        raise typer.BadParameter("json needs --once", param_hint="--output")
    asking = _Asking(source, _fetch(ca))
    asking.ask()
    if once:
        time.sleep(every)
        state = asking.ask()
        for kind, rows in _parts(state):
            show([{"kind": kind, **row} for row in rows] if output is Output.JSON else rows, output, title=f"{kind}s")
        if any(one.trouble for one in state.sources):
            raise typer.Exit(1)
        return
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            time.sleep(every)
            live.update(Group(*(_table(kind, rows) for kind, rows in _parts(asking.ask()))), refresh=True)


class _Asking:
    """Remembers the last answers."""

    def __init__(self, sources: Sequence[str], fetch: Fetch) -> None:
        self._sources = sources
        self._fetch = fetch
        self._before: list[Scrape] = []

    def ask(self) -> State:
        """Ask all once."""
        now = [scrape(one, self._fetch, time.time) for one in self._sources]
        before, self._before = self._before, now
        return state_of(before, now)


def _fetch(ca: Path | None) -> Fetch:
    context = ssl.create_default_context(cafile=None if ca is None else str(ca))

    def fetch(url: str) -> str:
        # the scheme is http or https: it was looked at above
        with urllib.request.urlopen(url, timeout=ANSWER_S, context=context) as answer:  # noqa: S310
            return cast("bytes", answer.read(ANSWER_BYTES_MAX)).decode(errors="replace")

    return fetch


def _parts(state: State) -> list[tuple[str, list[dict[str, Any]]]]:
    return [
        ("lane", [asdict(row) for row in state.lanes]),
        ("member", [asdict(row) for row in state.members]),
        ("snapshot", [asdict(row) for row in state.snapshots]),
        ("source", [asdict(row) for row in state.sources]),
    ]


def _table(kind: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=f"{kind}s", title_justify="left", expand=True)
    for field in fields(_ROWS[kind]):
        table.add_column(field.name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*map(cell, row.values()))
    return table


def cell(value: object) -> str:
    """A value as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if value < 1_000 else f"{value:,.0f}"  # noqa: PLR2004  # three figures say enough
    return ", ".join(map(str, cast("tuple[object, ...]", value))) if isinstance(value, tuple) else str(value)
