"""`tocsin audit`: what is asked of the record, and answered from it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from tocsin.consumers.audit.index import Index
from tocsin.consumers.audit.questions import FOREVER, Questions
from tocsin.consumers.audit.report import Table, month_of, report
from tocsin.consumers.errors import IndexUnusable
from tocsin.deploy.audit.answers import (
    HOUR_MS,
    checked_moment,
    overdue_rows,
    print_rows,
    print_timeline,
    refusal_rows,
    seen_lines,
    seen_rows,
    trace_lines,
    trace_rows,
)
from tocsin.deploy.audit.asking import BundleOption, Source, StateOption, UpdateOption, left_out_text, say
from tocsin.deploy.audit.pages import write_csv, write_html
from tocsin.deploy.audit.receipts_command import coverage_table
from tocsin.deploy.commands.checks import checked_jurisdiction, checked_member
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, busy, console, log_beside_output
from tocsin.schemas.names import outbox_topic

OVERDUE = 3

AlertArgument = Annotated[
    str, typer.Argument(metavar="ALERT", help="alert_id, publisher/lineage_id, lineage_id, or topic/offset.")
]
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="Decided then or later: 2026-11-01, 2026-11-01T12:00; UTC.")
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="TIME", help="Decided before then; a date is meant with all of its day.")
]
LaneOption = Annotated[str | None, typer.Option("--lane", help="Only this jurisdiction.")]


def index_record(
    *,
    state: StateOption = None,
    bundle: BundleOption = None,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make or update the index that questions are answered from. It can be deleted at any time.

    An officer's bundle makes an index of its own lane: what its login may not read is left out.
    """
    log_beside_output()
    source = Source.of(home, state, bundle)
    index, updated = source.updated(silent=True)
    places = index.places()
    index.close()
    rows = [
        {"topic": name, "next offset": place.next_offset, "passed over": place.passed_over}
        for name, place in places.items()
    ]
    print_rows(rows, output, title=str(source.path))
    if updated.left_out:
        say(left_out_text(source.bundle.config.login, updated))
    if output is Output.TABLE:
        console.print(f"{updated.records} records read; passed over are those that are of no use to the record")


def trace(
    alert: AlertArgument,
    *,
    state: StateOption = None,
    bundle: BundleOption = None,
    update: UpdateOption = True,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what the record says of an alert's lineage, in time: published, decided, given, withdrawn, acknowledged.

    With each copy: the ACL that allowed it, and why that was there (agreement, mechanism). Exits with 1 when nothing is
    on record.
    """
    log_beside_output()
    found = Source.of(home, state, bundle, update=update).ask(lambda index: Questions(index.database).trace(alert))
    if output is Output.JSON:
        print_rows(trace_rows(found), output, title="")
    else:
        print_timeline(trace_lines(found), title=found.lineage or alert)


def who_saw(
    alert: AlertArgument,
    *,
    state: StateOption = None,
    bundle: BundleOption = None,
    update: UpdateOption = True,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the members that were given an alert, when, under which ACL and why, and whether it was erased since.

    What was decided and then withheld was not given, and is not shown. Exits with 1 when nothing is on record.
    """
    log_beside_output()
    found = Source.of(home, state, bundle, update=update).ask(lambda index: Questions(index.database).who_saw(alert))
    rows = seen_rows(found) if output is Output.JSON else seen_lines(found, by_lineage=False)
    print_rows(rows, output, title=found[0].lineage if found else alert)
    if output is Output.TABLE and found:
        console.print(f"{len({one.copy.member for one in found})} members")


def seen_by(
    member: Annotated[str, typer.Argument(help="The member.")],
    begin: FromOption = None,
    end: ToOption = None,
    *,
    state: StateOption = None,
    bundle: BundleOption = None,
    update: UpdateOption = True,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show everything that a member was given in a period, under which ACL and why, and what became of it since."""
    log_beside_output()
    checked_member(member, "MEMBER")
    from_ms, to_ms = _period(begin, end)
    source = Source.of(home, state, bundle, update=update)
    found = source.ask(lambda index: Questions(index.database).seen_by(member, from_ms, to_ms))
    rows = seen_rows(found) if output is Output.JSON else seen_lines(found, by_lineage=True)
    print_rows(rows, output, title=f"given to {member}")


def refusals(
    begin: FromOption = None,
    end: ToOption = None,
    lane: LaneOption = None,
    member: Annotated[str | None, typer.Option(help="Only what this member published, or was refused.")] = None,
    *,
    state: StateOption = None,
    bundle: BundleOption = None,
    update: UpdateOption = True,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the records that were rejected, and what members were refused, each with its reason."""
    log_beside_output()
    from_ms, to_ms = _period(begin, end)
    of = checked_jurisdiction(lane) if lane is not None else None
    whose = checked_member(member, "--member") if member is not None else None
    found = Source.of(home, state, bundle, update=update).ask(
        lambda index: [*Questions(index.database).refusals(from_ms, to_ms, of, whose)]
    )
    print_rows(refusal_rows(found), output, title="refusals")


def overdue(
    hours: Annotated[float, typer.Option(min=0, help="Not acknowledged after so long is overdue.")] = 24,
    lane: LaneOption = None,
    *,
    state: StateOption = None,
    bundle: BundleOption = None,
    update: UpdateOption = True,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show who was told that an alert is withdrawn and has not acknowledged it, as far as the record says.

    By the record a member is told when that is decided: whether its inbox took the notice is in the ledger, which
    `tocsin withdrawals` asks, with the fan-out's login; that is of retractions only, this is of all withdrawals.
    Exit codes: 0 nobody is overdue, 3 somebody is, 1 failed, 2 usage.
    """
    log_beside_output()
    of = checked_jurisdiction(lane) if lane is not None else None
    source = Source.of(home, state, bundle, update=update)
    found = source.ask(lambda index: [*_answering(index).withdrawn(of)])
    rows = overdue_rows(found, time.time_ns() // 1_000_000, round(hours * HOUR_MS))
    print_rows(rows, output, title=f"not acknowledged after {hours:g} h")
    if rows:
        raise typer.Exit(OVERDUE)


def _answering(index: Index) -> Questions:
    """Questions that need to know what members have acknowledged."""
    if outbox_topic("*") in (index.fact("left out") or ""):
        raise IndexUnusable(
            f"the login {index.login} may not read outboxes, so nothing is known of acknowledgements; ask the auditor"
        )
    return Questions(index.database)


def report_month(
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="The month, in UTC, by the time of the decisions.")],
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as one page, to read or print.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write each table as a CSV file.")] = None,
    *,
    receipts: Annotated[
        bool,
        typer.Option(
            "--receipts", help="Add how far members' receipts go; reads the whole record, as the auditor may."
        ),
    ] = False,
    state: StateOption = None,
    bundle: BundleOption = None,
    update: UpdateOption = True,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what a month came to: decisions, copies, rejections, refusals, latencies, retractions, members with most."""
    log_beside_output()
    try:
        from_ms, to_ms = month_of(month)
    except ValueError as error:
        raise typer.BadParameter(f"{month!r} is not a month: 2026-11", param_hint="--month") from error
    source = Source.of(home, state, bundle, update=update)
    tables, missing = source.ask(
        lambda index: (report(Questions(index.database), index.database, from_ms, to_ms), index.fact("left out") or "")
    )
    if receipts:
        with busy("reading receipts and decisions"):
            tables.append(coverage_table(source.bundle))
    if html is not None:
        write_html(html, f"{source.bundle.coalition}: the record of {month}", tables, missing.splitlines())
    if csv is not None:
        write_csv(csv, tables)
    written = [str(path) for path in (html, csv) if path is not None]
    if written and output is Output.TABLE:
        console.print(f"written: {', '.join(written)}", soft_wrap=True, markup=False)
    for table in () if written else tables:
        _print(table, output)


def _print(table: Table, output: Output) -> None:
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    if output is Output.JSON:
        rows = [{"table": table.name, **row} for row in rows]
    print_rows(rows, output, title=table.title)


def _period(begin: str | None, end: str | None) -> tuple[int, int]:
    from_ms, to_ms = checked_moment(begin, "--from", 0), checked_moment(end, "--to", FOREVER)
    if from_ms >= to_ms:
        raise typer.BadParameter("not after --from", param_hint="--to")
    return from_ms, to_ms
