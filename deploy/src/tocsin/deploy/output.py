"""How commands speak: tables for people, JSON for programs."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table

console = Console()


class Output(StrEnum):
    """`--output`."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="table for people, json for programs")]
HomeOption = Annotated[
    Path, typer.Option("--home", envvar="TOCSIN_HOME", help="The folder of the local cluster, its data and secrets.")
]
HOME = Path(".tocsin")


def log_beside_output() -> None:
    """Log warnings to stderr: what is printed is for the next program of a pipe."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        # the stream of the moment: another command in the same process may have another
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def log_as_service() -> None:
    """Log to stderr what a service does: for people on a terminal, else one JSON object a line, stamped in UTC."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def busy(what: str) -> Status:
    """Shows, on a terminal, that something is being done; a context manager."""
    return Console(stderr=True).status(f"{what} ...")


def show(rows: Sequence[Mapping[str, Any]], output: Output, *, title: str = "") -> None:
    """Print `rows`: one JSON object a line, or a table."""
    if output is Output.JSON:
        for row in rows:
            print(json.dumps(row, default=str))  # noqa: T201  # what programs read is not wrapped or coloured
        return
    table = Table(title=title or None, title_justify="left")
    for column in rows[0] if rows else ():
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    console.print(table if rows else f"{title}: nothing" if title else "nothing")


def show_one(row: Mapping[str, Any], output: Output, *, title: str) -> None:
    """Print one row: a JSON object, or a line for each of its parts."""
    if output is Output.JSON:
        show([row], output)
        return
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in row.items():
        table.add_row(name, "" if value is None else str(value))
    console.print(table)
