"""`tocsin publish`: files become signed alerts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from tocsin.deploy.output import Output, OutputOption, console, show
from tocsin.producers.errors import AlertRefused
from tocsin.producers.imports import Accepted, Context, Profile, Refused, Row, read_rows
from tocsin.producers.publisher import Publisher
from tocsin.schemas.bundle import Bundle

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
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the broker; the rest stays in the spool.")] = 60.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Publish FILES. Each row is reported accepted or refused; exit code 1 unless all are accepted and delivered."""
    opened = Bundle.load(bundle)
    rows: list[dict[str, Any]] = []
    with Publisher(opened, spool=spool) as publisher:
        for file in files:
            loaded = Profile.load(profile or file.with_suffix(".toml"))
            rows += [_publish_row(publisher, file, row) for row in _rows(file, loaded, opened)]
        show(rows, output, title="published")
        waiting = _deliver(publisher, timeout)
        troubles = [(one.alert_id, one.state, one.reason) for one in publisher.status().troubles]
    for alert_id, state, reason in troubles:
        console.print(f"{alert_id}: {state}: {reason}")
    if waiting:
        console.print(f"{waiting} alerts wait in the spool and follow the next time that you publish with this bundle")
    if waiting or troubles or any(row["state"] == "refused" for row in rows):
        raise typer.Exit(1)


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


def _deliver(publisher: Publisher, timeout_s: float) -> int:
    """Wait for the broker, showing progress. Returns how many alerts are still in the spool."""
    total = publisher.waiting()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("delivering", total=total)
        waited = 0.0
        while (waiting := publisher.flush(0.25)) and waited < timeout_s:
            waited += 0.25
            progress.update(task, completed=total - waiting)
    return waiting
