"""`tocsin audit receipts`: what members say came into their inboxes, compared with what was decided."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer

from tocsin.consumers.audit.receipts import Coverage, Found, compare
from tocsin.consumers.audit.report import Table
from tocsin.consumers.receipts_reader import ReceiptsReader
from tocsin.deploy.commands.checks import checked_member
from tocsin.deploy.moments import moment_text
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, busy, log_beside_output, show
from tocsin.deploy.policy.rows import AUDITOR
from tocsin.schemas.bundle import Bundle

FOUND = 3
COLUMNS = ("given", "came", "replaced", "covered", "receipts", "told_at")


def receipts(
    member: Annotated[list[str] | None, typer.Option(help="Only this member's inbox; may be given again.")] = None,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare what members say came into their inboxes with what was decided.

    MISSING: decided, and it never came. UNDECIDED: it came, and no decision gave it. DIFFERENT: another value or rule
    than was decided. Members that send no receipts are named: nothing can be said about their inboxes.

    Exit codes: 0 nothing was found, 3 something was, 1 failed, 2 usage.
    """
    log_beside_output()
    asked = [checked_member(name, "--member") for name in member or ()]
    with busy("reading receipts and decisions"), ReceiptsReader(Bundle.load(home / "services" / AUDITOR)) as reader:
        decisions, told = reader.read()
        found, coverage = compare(decisions, told)
    unknown = sorted({*asked} - {one.member for one in coverage})
    if unknown:
        raise typer.BadParameter(f"nothing was given to {', '.join(unknown)}, and no receipt is theirs")
    found = [one for one in found if not asked or one.member in asked]
    coverage = [one for one in coverage if not asked or one.member in asked]
    if output is Output.JSON:
        show([*map(_found_row, found), *map(_coverage_row, coverage)], output)
    else:
        show([*map(_found_row, found)], output, title="what differs")
        show([*map(_coverage_row, coverage)], output, title="how far it can be told")
    if found:
        raise typer.Exit(FOUND)


def coverage_table(bundle: Bundle) -> Table:
    """How far the receipts of each member go, up to now; `bundle` is the auditor's."""
    with ReceiptsReader(bundle) as reader:
        found, coverage = compare(*reader.read())
    rows = [_coverage_row(one) for one in coverage]
    faults = Counter(one.member for one in found)
    return Table(
        "receipts",
        "Whether what was decided came",
        ("member", *COLUMNS, "findings"),
        tuple((one["member"], *(one[column] for column in COLUMNS), faults[one["member"]]) for one in rows),
        "By members' signed receipts, of all time. `tocsin audit receipts` names what differs.",
    )


def _found_row(one: Found) -> dict[str, Any]:
    return {
        "finding": one.finding.value,
        "member": one.member,
        "place": one.place,
        "lane": one.lane,
        "decision": one.seq,
        "inbox_offset": one.inbox_offset,
        "detail": one.detail,
    }


def _coverage_row(one: Coverage) -> dict[str, Any]:
    told = one.came + one.replaced
    return {
        "member": one.member,
        "given": one.given,
        "came": one.came,
        "replaced": one.replaced,
        "covered": "no receipts" if one.told_ms is None else f"{told / one.given:.1%}" if one.given else "100.0%",
        "receipts": one.receipts,
        "told_at": None if one.told_ms is None else moment_text(one.told_ms),
    }
