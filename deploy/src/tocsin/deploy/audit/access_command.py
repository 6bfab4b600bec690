"""`tocsin audit access`: who touched the topics, as the brokers' own logs have it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from tocsin.consumers.audit.access_reader import search
from tocsin.consumers.audit.access_search import Asked, Found, Search
from tocsin.consumers.audit.questions import FOREVER
from tocsin.consumers.errors import NotOnRecord
from tocsin.deploy.audit.answers import HOUR_MS, checked_moment, exact, print_rows, print_timeline
from tocsin.deploy.commands.checks import checked_member
from tocsin.deploy.moments import moment_text
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, console, log_beside_output
from tocsin.deploy.policy.rows import AUDITOR
from tocsin.schemas.bundle import Bundle

DEFAULT_MS: Final = 7 * 24 * HOUR_MS
STALE_MS: Final = 120_000
"""A shipper that runs is never so far behind."""


def access(
    principal: Annotated[str | None, typer.Option(help="Only this login: `bank-fr.reader`, or `User:bank-fr`.")] = None,
    member: Annotated[str | None, typer.Option(help="Only this member's logins.")] = None,
    topic: Annotated[str | None, typer.Option(help="Only this topic; a `*` at the end stands for any rest.")] = None,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Then or later, UTC; seven days ago if not given.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Before then; a date is meant with all of its day.")
    ] = None,
    *,
    denied: Annotated[
        bool | None, typer.Option("--denied/--allowed", help="Only what was denied, or what was allowed.")
    ] = None,
    direct: Annotated[
        bool, typer.Option("--direct", help="Only reads of alert topics past the exchange, which decided none of them.")
    ] = False,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show who touched the topics, from where, by the brokers' own logs: all that was denied, and what was allowed.

    With the login `auditor`. What was allowed is told of topics that hold alerts, copies or the record, and of what
    changes ACLs, passwords or settings; not of what the exchange's services do all the time, nor of members at their
    inboxes (docs/access.md). The last lines say of what time each broker's log is on record: of any other time, silence
    says nothing. Exit codes: 0 answered, 1 failed or nothing on record of that time, 2 usage.
    """
    log_beside_output()
    now_ms = time.time_ns() // 1_000_000
    asked = Asked(
        from_ms=checked_moment(begin, "--from", now_ms - DEFAULT_MS),
        to_ms=checked_moment(end, "--to", FOREVER),
        principal=principal,
        member=checked_member(member, "--member") if member is not None else None,
        topic=topic,
        verdict=None if denied is None else "DENIED" if denied else "ALLOWED",
        direct=direct,
    )
    if asked.from_ms >= asked.to_ms:
        raise typer.BadParameter("not after --from", param_hint="--to")
    found = search(Bundle.load(home / "services" / AUDITOR), asked)
    if not found.covered:
        raise NotOnRecord(
            "no broker's log of that time is on record, so silence says nothing; does `tocsin audit ship` run?"
        )
    if output is Output.JSON:
        print_rows([*_rows(found)], output, title="")
    else:
        _print(found, now_ms)


def _rows(found: Search) -> Iterator[dict[str, Any]]:
    for one in found.found:
        said = {name: value for name, value in one.access.items() if name not in ("first_at", "last_at")}
        times = {"first": exact(one.access["first_at"]), "last": exact(one.access["last_at"])}
        whose = {"member": one.member, "direct": one.direct}
        yield {"kind": "access", **times, **said, **whose, "source": one.source, "offset": one.offset}
    for unread in found.unread:
        yield {"kind": "unread", "by": exact(unread.log_to), "text": unread.line["text"], "source": unread.source}
    for gap in found.gaps:
        yield {"kind": "gap", "from": exact(gap.from_ms), "to": exact(gap.to_ms), "source": gap.source}
    for source, covered in sorted(found.covered.items()):
        yield {"kind": "source", "from": exact(covered.from_ms), "to": exact(covered.to_ms), "source": source}


def _print(found: Search, now_ms: int) -> None:
    if found.found:
        print_timeline([*map(_line, found.found)], title="who touched the topics")
    else:
        console.print("nothing of that")
    if found.unread:
        console.print(f"{len(found.unread)} lines could not be understood; --output json shows them")
    for gap in found.gaps:
        times = f"{moment_text(gap.from_ms)} to {moment_text(gap.to_ms)}"
        console.print(f"{escape(gap.source)}: nothing is on record from {times}", soft_wrap=True)
    for source, covered in sorted(found.covered.items()):
        times = f"{moment_text(covered.from_ms)} to {moment_text(covered.to_ms)}"
        late = "; not shipped since: does `tocsin audit ship` run?" if covered.to_ms < now_ms - STALE_MS else ""
        console.print(f"{escape(source)}: on record from {times}{late}", soft_wrap=True)


def _line(one: Found) -> dict[str, Any]:
    said = one.access
    name = said["resource"] if said["resource"] is not None else "of many names"
    what = name if said["resource_type"] == "TOPIC" else f"{said['resource_type'].lower()} {name}"
    who = f"{said['principal'].removeprefix('User:')} from {said['host']}"
    return {
        "time": moment_text(said["first_at"]).removesuffix("+00:00").replace("T", " "),
        "what": f"{said['verdict'].lower()} {said['operation']}",
        "revision": None,
        "member": f"{what} to {who}",
        "": _particulars(one),
    }


def _particulars(one: Found) -> str:
    said = one.access
    parts = [said["request"] or "the line was cut"]
    if said["count"] > 1:
        parts.append(f"{said['count']} times until {moment_text(said['last_at'])}")
    if one.direct:
        parts.append(f"READ DIRECTLY by the member {one.member}" if one.member else "READ DIRECTLY")
    return ", ".join(parts)
