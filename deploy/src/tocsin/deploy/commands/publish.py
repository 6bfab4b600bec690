"""`tocsin publish`: files become signed alerts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import Progress

from tocsin.deploy.output import Output, OutputOption, show
from tocsin.producers.errors import AlertRefused
from tocsin.producers.imports import Accepted, Context, Profile, Refused, Row, read_rows
from tocsin.producers.publisher import Publisher, Status
from tocsin.producers.spool_rows import State
from tocsin.schemas.bundle import Bundle

POLL_S: Final = 0.25

# beside the rows, which programs may read
_people = Console(stderr=True)

AsOption = Annotated[
    Path,
    typer.Option(
        "--as", envvar="TOCSIN_BUNDLE", help="Your bundle: the folder that the secretariat gave you.", exists=True
    ),
]


def publish(
    files: Annotated[
        list[Path], typer.Argument(help="MATCH JSON, takedown CSV or JSON lines.", exists=True, dir_okay=False)
    ],
    bundle: AsOption,
    profile: Annotated[
        Path | None,
        typer.Option(help="What the files lack (docs/imports.md); FILE with the ending .toml if not given."),
    ] = None,
    spool: Annotated[Path | None, typer.Option(help="Where accepted alerts wait; in the bundle if not given.")] = None,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for the broker; the rest waits in the spool.")
    ] = 60.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Publish FILES. Each row is reported accepted or refused; exit code 1 unless all are accepted and delivered."""
    opened = Bundle.load(bundle)
    sources = [(file, Profile.load(profile or file.with_suffix(".toml"))) for file in files]
    rows: list[dict[str, Any]] = []
    with Publisher(opened, spool=spool) as publisher:
        try:
            try:
                for file, loaded in sources:
                    for row in _rows(file, loaded, opened):
                        rows.append(_publish_row(publisher, file, row))  # noqa: PERF401  # kept when a later row raises
            finally:
                show(rows, output, title="published")
            deliver(publisher, timeout)
        finally:
            # after an error or Ctrl-C too
            ours = [publisher.outcome(row["alert"]) for row in rows if row["alert"]]
            status = publisher.status()
            publisher.close(0)  # what there was to wait for has been waited for
            explain(status)
    dead = any(one is not None and one.state is State.DEAD for one in ours)
    if status.waiting or dead or any(row["state"] == "refused" for row in rows):
        raise typer.Exit(1)


def explain(status: Status) -> None:
    """Tell people what is not on the broker, and why."""
    for one in status.troubles:
        say(f"{one.alert_id}: {one.state}: {one.reason}")
    if status.waiting:
        if status.connection:
            say(f"the broker cannot be reached: {status.connection}")
        say(f"alerts waiting in the spool: {status.waiting}; they go the next time that you publish with this bundle")


def say(line: str) -> None:
    """Tell people, beside the rows."""
    # what a broker says is never read as markup
    _people.print(line, soft_wrap=True, markup=False, highlight=False)


def _rows(file: Path, profile: Profile, bundle: Bundle) -> Iterator[Row]:
    context = Context(bundle.member, bundle.config.jurisdiction, bundle.token_keys(), datetime.now(UTC))
    with file.open("rb") as stream:
        yield from read_rows(stream, profile, context)


def _publish_row(publisher: Publisher, file: Path, row: Row) -> dict[str, Any]:
    report: dict[str, Any] = {"file": file.name, "line": row.line}
    if isinstance(row, Refused):
        return {**report, "state": "refused", "alert": None, "field": row.field, "reason": row.reason}
    try:
        published = publisher.publish(row.alert, row.idempotency_key)
    except AlertRefused as refusal:
        field, _, rule = str(refusal).partition(": ")
        return {**report, "state": "refused", "alert": None, "field": field, "reason": rule}
    state = "known" if published.repeated else "accepted"
    return {**report, "state": state, "alert": published.alert_id, "field": None, "reason": _left_out(row)}


def _left_out(row: Accepted) -> str | None:
    return "left out: " + ", ".join(row.left_out) if row.left_out else None


def deliver(publisher: Publisher, timeout_s: float) -> None:
    """Wait for the broker, showing progress."""
    total = publisher.waiting()
    deadline = time.monotonic() + timeout_s
    with Progress(console=_people, transient=True, disable=not _people.is_terminal) as progress:
        task = progress.add_task("delivering", total=total)
        while True:
            began = time.monotonic()
            waiting = publisher.flush(max(0.0, min(POLL_S, deadline - began)))
            progress.update(task, completed=total - waiting)
            # it returns early when all that is left is refused
            if not waiting or time.monotonic() < began + POLL_S:
                return
