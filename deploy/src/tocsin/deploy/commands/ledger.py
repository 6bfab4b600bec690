"""`tocsin ledger`: whether the ledger of a lane is what the record and the copies say."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from tocsin.consumers.rebuild.ledgers import Comparison, Difference
from tocsin.consumers.rebuild.reader import LaneReader, Said
from tocsin.consumers.rebuild.writer import write_ledger
from tocsin.consumers.withdrawals_reader import lanes
from tocsin.deploy.cluster.local import LocalCluster
from tocsin.deploy.commands.checks import checked_lanes
from tocsin.deploy.output import HOME, HomeOption, Output, OutputOption, busy, log_beside_output, show
from tocsin.schemas.bundle import Bundle

DIFFERENT = 3
READINGS = 3
"""A lane that works on may be met between two of its changes: what differs is read again."""

ledger_app = typer.Typer(
    help="The ledgers of the lanes: what was given to whom, and what is owed.", no_args_is_help=True
)


@ledger_app.callback()
def _group() -> None:
    """The ledgers of the lanes: what was given to whom, and what is owed."""


@ledger_app.command()
def rebuild(
    asked: Annotated[
        list[str] | None, typer.Argument(metavar="[LANE]...", help="Jurisdictions; by default all.")
    ] = None,
    *,
    check: Annotated[bool, typer.Option("--check", help="Change nothing: only compare.")] = False,
    home: HomeOption = HOME,
    output: OutputOption = Output.TABLE,
) -> None:
    """For the operator: work a ledger out again from the record and the copies, and write it where there is none.

    With --check, show in what the kept one differs; never content. Exit codes: 0 equal, or written, 3 different, 1
    failed, 2 usage.
    """
    log_beside_output()
    bundle = LocalCluster(home).admin()
    of_lanes = checked_lanes(asked, lanes(bundle), "LANE")
    if not check:
        for lane in of_lanes:
            _write(bundle, lane)
        return
    rows: list[dict[str, Any]] = []
    for lane in of_lanes:
        with busy("reading") as status:
            found, summary = _compare(bundle, lane, lambda what: status.update(f"reading {what} ..."))
        rows += [{"lane": lane, **one._asdict()} for one in found]
        _say(summary)
    show(rows, output, title="differences")
    if rows:
        raise typer.Exit(DIFFERENT)


def _write(bundle: Bundle, lane: str) -> None:
    with busy("reading") as status:
        lineages = write_ledger(bundle, lane, lambda what: status.update(f"reading {what} ..."))
    _say(f"{lane}: {lineages} lineages are written; start the fan-out")


def _say(what: str) -> None:
    print(f"tocsin: {what}", file=sys.stderr)  # noqa: T201  # beside what is printed for the next program


def _compare(bundle: Bundle, lane: str, said: Said) -> tuple[list[Difference], str]:
    """What differs in the last of up to `READINGS` readings, and a summary; one that finds nothing is enough."""
    found: list[Difference] = []
    summary = ""
    for _ in range(READINGS):
        with LaneReader(bundle) as reader:
            compared = reader.read(lane, said)
            found, summary = list(compared.differences()), _summary(lane, compared)
        if not found:
            break
    return found, f"{summary}; {len(found)} differences" if found else f"{summary}; equal"


def _summary(lane: str, compared: Comparison) -> str:
    only_here = compared.only_here()
    lost = f", of {only_here} the content is nowhere but in the ledger" if only_here else ""
    return f"{lane}: {len(compared.fold.lineages)} lineages up to decision {compared.fold.seq}{lost}"
