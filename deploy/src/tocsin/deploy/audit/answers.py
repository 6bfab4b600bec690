"""Answers from the record as rows for programs, and as tables for people. Pure, but for the printing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tocsin.consumers.audit.life import Copy
from tocsin.consumers.audit.questions import Event, Refusal, Seen, Trace, Why, Withdrawn
from tocsin.deploy.moments import moment, moment_text
from tocsin.deploy.output import Output, console, show

HOUR_MS: Final = 3_600_000
DAY: Final = timedelta(days=1)
PARTICULARS_AT: Final = 4


def exact(millis: int) -> str:
    """A time to the millisecond, in UTC: `2026-11-23T15:00:00.123+00:00`."""
    return moment(millis).isoformat(timespec="milliseconds")


def print_rows(rows: Sequence[Mapping[str, Any]], output: Output, *, title: str) -> None:
    """One JSON object a line, or a table in which nothing is taken for markup."""
    if output is Output.JSON or not rows:
        show(rows, output, title=title)
        return
    table = Table(title=Text(title), title_justify="left")
    for column in rows[0]:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_said(value)) for value in row.values()))
    console.print(table)


def print_timeline(rows: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """For people: an event a line, as `trace_lines` gives them, and what is particular to it beneath."""
    console.print(Text(title, style="bold"))
    revision = None
    for row in rows:
        time, what, of, member, particulars = row.values()
        said = f"{time}  {what}" + (f" {member}" if member else "")
        if of is not None and of != revision:
            said, revision = f"{said}  (revision {of})", of
        console.print(Text(said))
        if particulars:
            console.print(Padding(Text(particulars, style="dim"), (0, 0, 0, PARTICULARS_AT)))


def _said(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "; ".join(map(str, value))
    return "" if value is None else str(value)


# -- rows ------------------------------------------------------------------------------------------------------------


def trace_rows(found: Trace) -> list[dict[str, Any]]:
    """Each event, for programs."""
    return [{"lineage": found.lineage, **_event_row(event)} for event in found.events]


def _event_row(event: Event) -> dict[str, Any]:
    return {
        "at": exact(event.at_ms),
        "what": event.what,
        "lane": event.lane,
        "seq": event.seq,
        "revision": event.revision,
        "member": event.member,
        "reason": event.reason,
        "rule": event.rule,
        **_why_row(event.why),
        "note": event.note,
        "alert_id": event.alert_id,
        "place": event.place,
    }


def _why_row(why: Why | None) -> dict[str, Any]:
    return {
        "why": None if why is None else list(why.reasons),
        "since": None if why is None else moment_text(why.at_ms),
        "by": None if why is None else why.by,
    }


def trace_lines(found: Trace) -> list[dict[str, Any]]:
    """Each event, for people: one column says all that is particular to it."""
    return [
        {
            "time (UTC)": exact(event.at_ms).removesuffix("+00:00").replace("T", " "),
            "what": event.what.lower(),
            "revision": event.revision,
            "member": event.member,
            "": _particulars(event),
        }
        for event in found.events
    ]


def _particulars(event: Event) -> str:
    parts = [event.reason, event.note]
    if event.what == "PUBLISHED":
        parts += [f"at {event.place}", event.alert_id and f"alert {event.alert_id}"]
    if event.rule is not None:
        parts += [event.rule, why_text(event.why)]
    return "\n".join(part for part in parts if part)


def why_text(why: Why | None) -> str:
    """Why an ACL was there, for people."""
    if why is None:
        return "why this ACL was there is not on record here"
    reasons = "; ".join(why.reasons) or "without a reason on record"
    return f"{reasons} (since {moment_text(why.at_ms)}, by {why.by})"


def seen_rows(found: Iterable[Seen]) -> list[dict[str, Any]]:
    """Each copy that was given."""
    return [
        {
            "lineage": one.lineage,
            "member": one.copy.member,
            "revision": one.copy.by.revision,
            "given": exact(one.copy.by.decided_at),
            "kind": one.copy.by.kind,
            "place": one.copy.by.place,
            "rule": one.copy.rule,
            **_why_row(one.why),
            "state": one.copy.state,
            "erased": _erased_at(one.copy),
            "lane": one.copy.by.lane,
            "seq": one.copy.by.seq,
        }
        for one in found
    ]


def seen_lines(found: Iterable[Seen], *, by_lineage: bool) -> list[dict[str, Any]]:
    """The same for people: of one lineage, or of one member."""
    return [
        {
            **({"lineage": one.lineage} if by_lineage else {"member": one.copy.member}),
            "rev.": one.copy.by.revision,
            "given": moment_text(one.copy.by.decided_at),
            "under": f"{one.copy.rule}\n{why_text(one.why)}",
            "since": one.copy.state if one.copy.erased is None else f"{one.copy.state} {_erased_at(one.copy)}",
        }
        for one in found
    ]


def _erased_at(copy: Copy) -> str | None:
    return None if copy.erased is None else exact(copy.erased.decided_at)


def refusal_rows(found: Iterable[Refusal]) -> list[dict[str, Any]]:
    """Each record that was rejected, and each member that was refused one."""
    return [
        {
            "at": exact(one.decided.decided_at),
            "lane": one.decided.lane,
            "seq": one.decided.seq,
            "what": one.what,
            "member": one.member,
            "reason": one.reason,
            "detail": one.decided.detail,
            "lineage": one.decided.lineage,
            "revision": one.decided.revision,
            "place": one.decided.place,
        }
        for one in found
    ]


def overdue_rows(found: Iterable[Withdrawn], now_ms: int, after_ms: int) -> list[dict[str, Any]]:
    """Each member that has not acknowledged what it was told longer ago than `after_ms`."""
    return [
        {
            "lane": one.decided.lane,
            "lineage": one.lineage,
            "member": one.member,
            "withdrawn": exact(one.decided.decided_at),
            "hours": round((now_ms - one.decided.decided_at) / HOUR_MS, 1),
            "kind": one.decided.kind,
            "status": one.decided.status,
        }
        for one in found
        if one.acknowledged_ms is None and not one.left and now_ms - one.decided.decided_at > after_ms
    ]


# -- times -----------------------------------------------------------------------------------------------------------


def checked_moment(text: str | None, option: str, otherwise: int) -> int:
    """A date, or a date and time, in milliseconds since 1970; in UTC unless it says more. A date as --to is its end.

    Raises:
        typer.BadParameter: it is none.
    """
    if text is None:
        return otherwise
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not a date or a time: 2026-11-30, 2026-11-30T12:00", param_hint=option
        ) from error
    if option == "--to" and "T" not in text and " " not in text:
        found += DAY
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1_000)
