"""`tocsin top`: how the exchange is, in a terminal; `tocsin status-page`: the same in a browser."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tocsin.deploy.observing.looking import Looker, checked_urls, trusted_by
from tocsin.deploy.observing.overview import Overview
from tocsin.deploy.observing.status_page import server
from tocsin.deploy.observing.tables import headline, tables
from tocsin.deploy.output import Output, OutputOption, console
from tocsin.deploy.serving import end_on_sigterm

TROUBLE = 3

FromOption = Annotated[
    list[str],
    typer.Option(
        "--from", metavar="URL", help="A service's metrics: http://HOST:PORT/metrics, or HOST:PORT; give all."
    ),
]
EveryOption = Annotated[float, typer.Option(metavar="SECONDS", min=0.2, help="Look so often.")]
CaOption = Annotated[
    Path | None, typer.Option("--ca", help="PEM certificates that https is trusted by.", exists=True, dir_okay=False)
]


def top(
    urls: FromOption,
    *,
    every: EveryOption = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, show it and end.")] = False,
    certificates: CaOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Watch the exchange: lanes, latency, members whose inbox refuses, what decisions are made by, services.

    It asks the services' metrics, and needs no login. With --once, exit codes: 0 all is well, 3 something needs
    somebody, 2 usage; else it runs until Ctrl-C. `--output json` is one object a look.
    """
    with Looker(checked_urls(urls), trusted_by(certificates)) as looker:
        if once:
            seen = looker.look()
            _print(seen, output)
            raise typer.Exit(TROUBLE if seen.troubles else 0)
        if output is Output.JSON or not console.is_terminal:
            while True:
                _print(looker.look(), output)
                time.sleep(every)
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(Group(*_shown(looker.look())), refresh=True)
                time.sleep(every)


def status_page(
    urls: FromOption,
    *,
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65_535)] = 8480,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    every: EveryOption = 5.0,
    certificates: CaOption = None,
) -> None:
    """Serve a page that shows how the exchange is, until Ctrl-C or SIGTERM. It changes nothing and shows no alert.

    It has no log-in: whoever can reach it can read it. The same for programs is at /status.json.
    """
    end_on_sigterm()
    with Looker(checked_urls(urls), trusted_by(certificates)) as looker:
        looker.look()
        with server(port, host, lambda: looker.newest) as serving:
            threading.Thread(target=serving.serve_forever, daemon=True).start()
            console.print(f"status at http://{host}:{serving.server_port}/; Ctrl-C ends it")
            while True:
                time.sleep(every)
                looker.look()


def _print(seen: Overview, output: Output) -> None:
    if output is Output.JSON:
        print(json.dumps(asdict(seen)), flush=True)  # noqa: T201  # what programs read is not wrapped or coloured
    else:
        Console().print(*_shown(seen), sep="\n")


def _shown(seen: Overview) -> Iterator[RenderableType]:
    """The overview for a terminal."""
    at = time.strftime("%H:%M:%S", time.gmtime(seen.at_s))
    yield Text(f"{headline(seen)} (as of {at} UTC)", style="bold red" if seen.troubles else "bold green")
    for one in seen.troubles:
        yield Text(f"  {one}")
    for found in tables(seen):
        if found.rows:
            table = Table(title=found.title, title_justify="left")
            for column in found.columns:
                table.add_column(column)
            for row in found.rows:
                table.add_row(*("" if cell is None else str(cell) for cell in row))
            yield table
